"""What somebody was told is remembered: a log that does not reach it is closed, whoever opens it next."""

from __future__ import annotations

import asyncio
import contextlib
import time
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from casty_es import ClusteredActorSystem, Distributed, Settings
from casty_es.audit.retention import run_retention, set_retention
from casty_es.client import ClusterClient
from casty_es.cluster.outcome import CommandStatus
from casty_es.cluster.peers import Peers
from casty_es.cluster.topology import Topology
from casty_es.errors import JournalRegressedError, JournalUnavailableError, PeerError, Sent
from casty_es.journal.port import LEASE_ACQUIRED
from casty_es.journal.remembered import Mark, Remembered
from casty_es.journal.sql import SqlJournal
from casty_es.journal.urls import is_sqlite
from casty_es.leases import postgres_session
from casty_es.transport.wire import NodeEntry
from tests.cluster.nodes import named_for, secret_of, slot, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from casty_es.journal.port import Append

    from .loss import Loss

pytestmark = pytest.mark.timeout(120)

_SETTINGS = Settings(membership_seconds=0.2)


def node(url: str) -> ClusteredActorSystem:
    """Make a node, which is not started yet."""
    return ClusteredActorSystem(journal=SqlJournal(url), settings=_SETTINGS)


@asynccontextmanager
async def told_five(url: str, loss: Loss) -> AsyncIterator[tuple[ClusteredActorSystem, str]]:
    """Run a node that was told 5 by an owner which is gone since, over a database that went back to 3; give both."""
    async with node(url) as told:
        async with node(url) as owner:
            await told.wait_for(2)
            name = named_for(owner, [owner, told])
            assert await Distributed(owner).counter(name).increment(3) == 3
            await loss.keep()
            assert await Distributed(told).counter(name).increment(2) == 5
        await loss.strike()
        yield told, name


async def old_and_its_client(stack: AsyncExitStack, url: str) -> tuple[ClusteredActorSystem, ClusterClient]:
    """Run a node, and a client that knows where it is."""
    old = await stack.enter_async_context(node(url))
    host, port = old.self_node
    client = ClusterClient(contact_points=[(host, port)], secret=await secret_of(old))
    return old, await stack.enter_async_context(client)


async def refused(system: Any, name: str, *, first: str = "get") -> None:
    """Check that a counter neither tells a value nor takes one, whatever is tried first, and however often."""
    counter = Distributed(system).counter(name, timeout=20.0)
    uses = [counter.get, counter.increment] if first == "get" else [counter.increment, counter.get]
    for use in (*uses, *uses):
        with pytest.raises(JournalRegressedError, match="accept the loss"):
            await use()


@pytest.mark.parametrize("first", ["get", "increment"])
async def test_whoever_was_told_refuses(journal_url: str, loss: Loss, first: str) -> None:
    """Given a node that only asked, when the owner and its records are gone, then it neither reads nor writes."""
    async with told_five(journal_url, loss) as (told, name):
        await refused(told, name, first=first)


async def test_the_past_is_not_read_of_a_log_that_went_back(journal_url: str, loss: Loss) -> None:
    """Given records that are lost, when the history or the state of then is asked for, then it is refused too."""
    async with told_five(journal_url, loss) as (told, name):
        d = Distributed(told)
        with pytest.raises(JournalRegressedError):
            await d.counter(name).history().__anext__()
        with pytest.raises(JournalRegressedError):
            await d.at(datetime.now(UTC)).counter(name).get()


@pytest.mark.parametrize("first", ["get", "increment"])
async def test_a_fresh_node_asks_those_who_remember(journal_url: str, loss: Loss, first: str) -> None:
    """Given a node that remembers, when another one starts that knows nothing, then that one refuses too."""
    async with told_five(journal_url, loss) as (_, name), node(journal_url) as fresh:
        await refused(fresh, name, first=first)


async def test_who_is_listed_no_more_is_asked(journal_url: str) -> None:
    """Given a failover, which ends all sessions, when a node finds itself alone, then it asks those it knew."""
    async with node(journal_url) as told, node(journal_url) as first:
        await first.wait_for(2)
        remembers, asks = told._node, first._node
        assert remembers is not None
        assert asks is not None
        mark = Mark.of(1, 5, bytes(32))
        remembers.remembered.note(1, mark)
        asks.peers.listed(Topology())
        assert (await asks.peers.recall([1]))[1] == {mark}


async def test_whom_only_another_one_saw_listed_is_asked(journal_url: str) -> None:
    """Given a node that came just before a failover, when it asks one who saw more nodes listed, then it asks those.

    Who does not answer keeps nobody from it.
    """
    dialled: list[asyncio.StreamWriter] = []
    frozen = await asyncio.start_server(lambda _, writer: dialled.append(writer), "127.0.0.1", 0)
    async with frozen, node(journal_url) as told, node(journal_url) as saw, node(journal_url) as came:
        await asyncio.gather(saw.wait_for(3), came.wait_for(3))
        remembers, knows, asks = told._node, saw._node, came._node
        assert remembers is not None
        assert knows is not None
        assert asks is not None
        mark = Mark.of(1, 5, bytes(32))
        remembers.remembered.note(1, mark)
        # given that the list goes with the sessions, and that one of them has never seen the first node in it
        knows.membership._listed = lambda _: None
        knows.peers.listed(Topology())
        only = {name: one for name, one in asks.membership.topology.nodes.items() if name == saw.node_id}
        host, port = frozen.sockets[0].getsockname()[:2]
        silent = NodeEntry("frozen", f"{host}:{port}", host, 1, 0)
        fresh = Peers(asks.dialer, Remembered(), node_id=came.node_id)
        fresh.listed(Topology(nodes={"frozen": silent, **only}))

        assert (await fresh.recall([1])).get(1) == {mark}
        await fresh.close()
        assert dialled
        for writer in dialled:
            writer.close()
            await writer.wait_closed()


async def test_those_who_ask_at_once_are_all_told(journal_url: str) -> None:
    """Given a node that is being asked of one slot, when another slot is asked about, then that is asked, too."""
    async with node(journal_url) as told, node(journal_url) as first:
        await asyncio.gather(told.wait_for(2), first.wait_for(2))
        remembers, asks = told._node, first._node
        assert remembers is not None
        assert asks is not None
        marks = [Mark.of(1, 5, bytes(32)), Mark.of(1, 7, bytes(32))]
        for number, mark in enumerate(marks, 1):
            remembers.remembered.note(number, mark)
        answers = await asyncio.gather(*(asks.peers.recall([number]) for number in (1, 2)))
        assert [answer.get(number) for number, answer in enumerate(answers, 1)] == [{mark} for mark in marks]


async def test_what_was_told_after_the_slot_was_lost_is_remembered(journal_url: str, loss: Loss) -> None:
    """Given an append that is committed while its slot is lost, when it is lost afterwards, then that is noticed."""
    async with node(journal_url) as system:
        assert system._node is not None
        hits, owner = Distributed(system).counter("hits", timeout=20.0), system._node.owner
        assert await hits.increment(3) == 3
        await loss.keep()
        # given an append that is on its way while the slot is lost
        append = system.journal.append

        async def slowly(batch: Append) -> None:
            await append(batch)
            owner.lose_all()

        system.journal.append = slowly  # type: ignore[method-assign]
        assert await hits.increment(2) == 5
        system.journal.append = append  # type: ignore[method-assign]
        # when what was acknowledged is gone, then it is not contradicted
        await loss.strike()
        await refused(system, "hits")


async def test_what_was_read_of_the_past_is_remembered(journal_url: str, loss: Loss) -> None:
    """Given a node that read a history, when the end of it is lost, then it does not read another one."""
    async with node(journal_url) as system:
        await Distributed(system).counter("hits").increment(3)
        await loss.keep()
        await Distributed(system).counter("hits").increment(2)
    async with node(journal_url) as told:
        hits = Distributed(told).counter("hits", timeout=20.0)
        assert [event.payload["value"] async for event in hits.history()] == [3, 5]
        await loss.strike()
        with pytest.raises(JournalRegressedError):
            await hits.history().__anext__()
        await refused(told, "hits")


async def test_a_structure_whose_record_is_lost_has_a_past(journal_url: str, loss: Loss) -> None:
    """Given a node that wrote a structure, when not even its name is left, then its past is not said to be empty."""
    if not is_sqlite(journal_url):
        pytest.skip("its record is in another table, which goes back with the file")
    await loss.keep()
    async with node(journal_url) as told:
        hits = Distributed(told).counter("hits", timeout=20.0)
        assert await hits.increment(3) == 3
        await loss.strike()
        with pytest.raises(JournalRegressedError):
            await hits.history().__anext__()
        with pytest.raises(JournalRegressedError):
            await Distributed(told).at(datetime.now(UTC)).counter("hits").get()


@pytest.mark.parametrize("asked", ["node", "client"])
async def test_a_command_in_lost_records_is_not_denied(journal_url: str, loss: Loss, asked: str) -> None:
    """Given whoever was told more than there is, when the outcome of a command is asked, then nobody denies it."""
    async with AsyncExitStack() as stack:
        old, client = await old_and_its_client(stack, journal_url)
        port = old.self_node[1]
        hits = Distributed(client if asked == "client" else old).counter("hits", timeout=20.0)
        assert await hits.increment(3) == 3
        await loss.keep()
        # given a command that was executed, and somebody who was told so
        assert await hits.increment(2) == 5
        number = slot("counter", "hits")
        executed = (await old.journal.records(number, after=2, limit=1))[0]
        assert executed.command_id is not None
        sent = Sent("counter", number, 2, old._node.owner.slots[number].term)  # type: ignore[union-attr]
        await old.__aexit__(None, None, None)
        await loss.strike()
        # given a node that took the slot over a log that lacks it, and knew no better
        fresh = ClusteredActorSystem(journal=SqlJournal(journal_url), settings=_SETTINGS, port=port)
        await stack.enter_async_context(fresh)
        await Distributed(fresh).counter("hits").increment()
        # when whoever was told asks what became of it
        if asked == "node":
            await stack.enter_async_context(old)
        asker, id_ = client if asked == "client" else old, UUID(bytes=executed.command_id)

        async def asking() -> None:
            with contextlib.suppress(PeerError):  # a client that was cut off has to find the fresh node first
                assert (await asker.outcome(id_, sent=sent)).status is CommandStatus.UNKNOWN

        with pytest.raises(JournalRegressedError):
            await until(asking)


@pytest.mark.parametrize("asked", ["another node", "somebody who asks"])
async def test_a_higher_mark_does_not_speak_for_a_lower_one(journal_url: str, loss: Loss, asked: str) -> None:
    """Given a node that was told, when others remember the log that grew instead, then both are compared."""
    told, number = node(journal_url), slot("counter", "hits")
    async with told:
        await Distributed(told).counter("hits").increment(3)
        await loss.keep()
        await Distributed(told).counter("hits").increment(2)
    await loss.strike()
    async with node(journal_url) as fresh:
        for _ in range(5):
            await Distributed(fresh).counter("hits").increment()
        assert fresh._node is not None
        mark = fresh._node.remembered.of(number)
        if asked == "another node":
            async with told:
                assert told._node is not None
                await told._node.owner.comparing.compare(await told._node.owner.comparing.recollect([number]))
                assert told._node.owner.comparing.closed(number)
    if asked != "another node":
        async with told:
            assert told._node is not None
            with pytest.raises(JournalRegressedError):
                await told._node.owner.locate(told._node.owner.slots[number], mark)


async def test_a_closed_slot_stays_closed_for_whoever_comes(journal_url: str, loss: Loss) -> None:
    """Given a slot that was closed, when everybody who remembers is gone, then it is closed, until it is accepted."""
    async with told_five(journal_url, loss) as (told, name):
        await refused(told, name)
    async with node(journal_url) as fresh:
        await refused(fresh, name)
        # when the loss is accepted
        await fresh.journal.raise_incarnation()
        # then it goes on from what is there
        assert await Distributed(fresh).counter(name).increment() == 4
        assert (await fresh.journal.closed_slots()) == (2, [])


@pytest.mark.parametrize("kind", ["lock", "semaphore"])
async def test_a_token_is_of_the_incarnation_of_its_grant(journal_url: str, kind: str) -> None:
    """Given a node whose view of the cluster is older than its owner's, when a loss is accepted, then tokens grow."""
    async with node(journal_url) as alone:
        assert alone._node is not None
        membership, d = alone._node.membership, Distributed(alone)

        async def older() -> Topology:
            return membership.topology

        await membership.refresh()
        membership.refresh = older  # type: ignore[method-assign] - a reading that began before
        await alone.journal.raise_incarnation()
        held: Any = d.lock("x", timeout=20.0) if kind == "lock" else d.semaphore("x", 1, timeout=20.0)
        async with held:
            assert (alone.incarnation, held.token >> 44) == (1, 2)


@pytest.mark.parametrize("first", ["get", "increment"])
async def test_a_client_refuses_what_contradicts_it(journal_url: str, loss: Loss, first: str) -> None:
    """Given a client, when all nodes are gone and fresh ones work on a log that went back, then it gets no answer."""
    async with AsyncExitStack() as stack:
        old, client = await old_and_its_client(stack, journal_url)
        port = old.self_node[1]
        counter = Distributed(client).counter("hits", timeout=20.0)
        assert await counter.increment(3) == 3
        await loss.keep()
        assert await counter.increment(2) == 5
        await old.__aexit__(None, None, None)
        await loss.strike()
        # given a fresh node where the old one was
        fresh = ClusteredActorSystem(journal=SqlJournal(journal_url), settings=_SETTINGS, port=port)
        await stack.enter_async_context(fresh)
        # when the client goes on, then it is told, and so is everybody from then on
        await refused(client, "hits", first=first)
        await refused(fresh, "hits")


async def test_a_log_that_has_grown_past_what_was_told_is_no_better(journal_url: str, loss: Loss) -> None:
    """Given a loss that nobody present knew of, when more was written than was lost, then whoever was told notices."""
    told = node(journal_url)
    async with told:
        await Distributed(told).counter("hits").increment(3)
        await loss.keep()
        await Distributed(told).counter("hits").increment(2)
    await loss.strike()
    # given a process that could not know better
    async with node(journal_url) as fresh:
        for _ in range(10):
            await Distributed(fresh).counter("hits").increment()
        # when the one that was told comes back
        async with told:
            # then the position that it remembers is there, and another record stands at it
            await refused(told, "hits")
            await refused(fresh, "hits")


async def test_an_older_log_that_is_whole_is_not_closed(journal_url: str) -> None:
    """Given slots that change hands again and again, when nothing is lost, then nobody refuses anything."""
    async with node(journal_url) as one:
        names = [f"c{number}" for number in range(8)]
        for _ in range(3):
            async with node(journal_url) as other:
                await asyncio.gather(one.wait_for(2), other.wait_for(2))
                for name in names:
                    for system in (one, other, one):
                        await Distributed(system).counter(name).increment()
        assert [await Distributed(one).counter(name).get() for name in names] == [9] * len(names)
        assert (await one.journal.closed_slots())[1] == []


async def test_a_record_that_retention_cut_is_not_lost(journal_url: str, tmp_path: Path) -> None:
    """Given a process that remembers a record, when it was cut since, then its seal is enough."""
    told = node(journal_url)
    async with told:
        for _ in range(5):
            await Distributed(told).counter("hits").increment()
    async with node(journal_url) as other:
        for _ in range(10):
            await Distributed(other).counter("hits").increment()
        assert isinstance(other.journal, SqlJournal)
        await set_retention(other.journal, "counter", "hits", 2)
        done = await run_retention(other, other.journal, tmp_path, pace=0)
        assert done.events > 5
    async with told:
        assert await Distributed(told).counter("hits").increment() == 16


async def test_restored_records_open_the_slot_again(journal_url: str, loss: Loss) -> None:
    """Given a closed slot, when the lost records are put back, then it opens by itself, also for running nodes."""
    if not is_sqlite(journal_url):
        pytest.skip("putting records back is the same there, and longer to write down")
    async with told_five(journal_url, loss) as (told, name):
        await refused(told, name)
        await loss.restore()
        assert await Distributed(told).counter(name).increment() == 6


async def test_a_note_that_cannot_be_written_is_said(
    journal_url: str, loss: Loss, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Given a database that takes no note, when a slot is closed, then it is closed in memory, and the log says so."""

    async def full(_journal: SqlJournal, _closed: object) -> None:
        raise JournalUnavailableError("the disk is full")

    monkeypatch.setattr(SqlJournal, "close_slot", full)
    async with told_five(journal_url, loss) as (told, name):
        await refused(told, name)
    assert "could not be written down" in caplog.text
    assert "the disk is full" in caplog.text


@pytest.mark.parametrize("use", ["increment", "get"])
async def test_a_process_that_stood_still_takes_its_slots_anew(
    postgres_journal_url: str, monkeypatch: pytest.MonkeyPatch, use: str
) -> None:
    """Given a process that was stopped for long, when it goes on, then it does nothing under its old lease record."""
    async with node(postgres_journal_url) as system:
        hits = Distributed(system).counter("hits")
        await hits.increment()
        # given a clock that tells of a minute that the process did not see
        monkeypatch.setattr(postgres_session, "runtime", SimpleNamespace(steady=_after_a_minute))
        # when it is used, before it has heard of anything
        await getattr(hits, use)()
        # then there is another lease record, which the answer stands on
        records = await system.journal.records(slot("counter", "hits"))
        assert [record.type == LEASE_ACQUIRED for record in records] == [True, False, True, False][: 4 - (use == "get")]


def _after_a_minute() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME) + 60
