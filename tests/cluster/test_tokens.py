"""Tokens from end to end: what their holders may do at two nodes, until when, and what the journal says of them."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, TypeAlias
from uuid import UUID

import pytest

from casty_es import (
    CastyError,
    ClusterClient,
    ClusteredActorSystem,
    ConfigurationError,
    InvalidArgumentError,
    InvalidTypeError,
    NotAllowedError,
    SqlJournal,
    audit_context,
)
from casty_es.access import EVERYTHING, Grant, Pattern, Scopes, Token
from casty_es.audit.redaction import redact
from casty_es.errors import PeerLostError, PeerRefusedError, Sent
from casty_es.hashes import keyed_command_id
from casty_es.journal.access_tables import AccessTables
from casty_es.journal.port import EntityName

from .nodes import PATIENT, client, named_for, secret_of, until

Rows: TypeAlias = Callable[..., Awaitable[list[tuple[Any, ...]]]]
Change: TypeAlias = Callable[[AccessTables], Awaitable[Any]]

READ = Scopes(read=(EVERYTHING,))
WRITE = Scopes(write=(EVERYTHING,))


async def change(url: str, work: Change) -> Any:
    """Do something to the tables as an operator does, beside the nodes."""
    journal = SqlJournal(url)
    await journal.open()
    try:
        return await work(AccessTables(journal))
    finally:
        await journal.close()


async def made(url: str, name: str, scopes: Scopes, *, ends_in: float | None = None) -> Token:
    """Make a token, valid for so many seconds."""
    token, now = Token.make(), time.time_ns() // 1_000
    grant = token.grant(name, scopes, created_at=now, ends_at=None if ends_in is None else now + int(ends_in * 1e6))
    await change(url, lambda tables: tables.add(grant))
    return token


@asynccontextmanager
async def holder(token: Token, *systems: ClusteredActorSystem) -> AsyncIterator[ClusterClient]:
    """Connect a client by a token."""
    points = [tuple(one.self_node) for one in systems]
    async with ClusterClient(contact_points=points, token=token.text) as connected:
        yield connected


async def refused(work: Awaitable[Any]) -> NotAllowedError:
    """Return how something was refused."""
    with pytest.raises(NotAllowedError, match="did not happen") as error:
        await work
    return error.value


async def until_refused(work: Callable[[], Awaitable[Any]], why: str) -> CastyError:
    """Do something again and again until it ends in an error, within a bound that is above what the docs say."""

    async def on_and_on() -> None:
        while True:
            with contextlib.suppress(PeerLostError):  # its connection was closed; the next one is refused
                await work()

    async with asyncio.timeout(5.0):
        with pytest.raises(CastyError, match=why) as error:
            await on_and_on()
    return error.value


async def test_a_reader_reads_and_nothing_else(two: list[ClusteredActorSystem], journal_url: str, rows: Rows) -> None:
    """Given a token that reads, when its holder tries everything at both nodes, then it reads and changes nothing."""
    token = await made(journal_url, "dashboard", READ)
    names = [named_for(one, two) for one in two]
    for name in names:
        await two[0].distributed().counter(name).increment(7)
    await two[0].distributed().map[str, int]("m").put("k", 1)
    before = await rows("SELECT count(*) FROM casty_events WHERE entity IS NOT NULL")

    async with holder(token, two[0]) as connected:
        d = connected.distributed()
        assert [await d.counter(name, timeout=PATIENT).get() for name in names] == [7, 7]
        assert await d.map[str, int]("m").get("k") == 1
        assert [event.payload["value"] async for event in d.counter(names[0]).history()] == [7]
        assert len((await connected.topology()).nodes) == 2
        for name in names:
            error = await refused(d.counter(name, timeout=PATIENT).increment())
            assert "'dashboard'" in str(error)
            assert "read */*" in str(error)
            await refused(d.counter(name).decrement())
            await refused(d.counter(name).destroy())
        await refused(d.counter(names[0]).increment(idempotency_key="once"))
        await refused(d.map[str, int]("m").put("k", 2))
        await refused(d.map[str, int]("m").delete("k"))
        await refused(d.set[int]("s").add(1))
        await refused(d.queue[int]("q").enqueue(1))
        await refused(d.queue[int]("q").dequeue())
        await refused(d.lock("l").acquire())
        await refused(d.semaphore("s", permits=1).acquire())
        await refused(d.barrier("b", node_id="x").arrive(1))
        journal = SqlJournal(journal_url)
        await journal.open()
        await refused(redact(connected, journal, EntityName("map", "m", "s:k"), reason="x", without_archives=True))
        await journal.close()

    assert await rows("SELECT count(*) FROM casty_events WHERE entity IS NOT NULL") == before
    assert [await two[1].distributed().counter(name).get() for name in names] == [7, 7]


async def test_a_query_with_a_key_is_no_reading(two: list[ClusteredActorSystem], journal_url: str, rows: Rows) -> None:
    """Given a token that reads, when a query comes with an idempotency key, which is recorded, then it is refused."""
    from casty_es.domain import counter
    from casty_es.gateway import ShardEnvelope, StructureFactory

    token = await made(journal_url, "dashboard", READ)
    await two[0].distributed().counter("c").increment()
    before = await rows("SELECT count(*) FROM casty_events WHERE entity IS NOT NULL")
    async with holder(token, *two) as connected:
        ref = connected.region_ref("c", StructureFactory("counter"), num_shards=1)
        envelope = ShardEnvelope("", counter.Get(), idempotency_key="k")
        await refused(connected.entity_ask(ref, lambda _: envelope, timeout=PATIENT))
    assert await rows("SELECT count(*) FROM casty_events WHERE entity IS NOT NULL") == before


async def test_a_writer_writes_what_its_patterns_name(two: list[ClusteredActorSystem], journal_url: str) -> None:
    """Given a token for some names of a kind, when its holder uses others or other kinds, then those are refused."""
    scopes = Scopes(read=(Pattern.parse("map/*"),), write=(Pattern.parse("counter/page-*"),))
    token = await made(journal_url, "importer", scopes)
    await two[0].distributed().map[str, int]("m").put("k", 1)
    async with holder(token, *two) as connected:
        d = connected.distributed()
        assert await d.counter("page-1", timeout=PATIENT).increment() == 1
        assert await d.counter("page-1").get() == 1
        assert await d.map[str, int]("m").get("k") == 1
        await refused(d.map[str, int]("m").put("k", 2))
        await refused(d.counter("orders").increment())
        await refused(d.counter("orders").get())
        await refused(d.set[int]("page-1").contains(1))
        await refused(anext(d.counter("orders").history()))


async def test_outcomes_are_told_of_what_may_be_read(
    two: list[ClusteredActorSystem], journal_url: str, rows: Rows
) -> None:
    """Given a command that a key names, when who may not read its structure asks for its outcome, then it is refused.

    Its id can be computed by whoever guesses the key, and its reply is an item of the queue.
    """
    queue = two[0].distributed().queue[str]("vault", timeout=PATIENT)
    await queue.enqueue("treasure")
    assert await queue.dequeue(idempotency_key="once") == "treasure"
    [(slot,)] = await rows("SELECT DISTINCT slot FROM casty_events WHERE entity IS NOT NULL")
    command_id, sent = UUID(bytes=keyed_command_id("queue", "vault", "", "once")), Sent("queue", slot, 0, 1)
    for pattern in ("queue/mine", "queue/vault"):
        token = await made(journal_url, pattern.replace("/", "-"), Scopes(read=(Pattern.parse(pattern),)))
        async with holder(token, *two) as connected:
            if pattern == "queue/mine":
                await refused(connected.outcome(command_id, sent=sent))
            else:
                assert (await connected.outcome(command_id, sent=sent)).reply == "treasure"


async def test_maintenance_is_a_scope_of_its_own(two: list[ClusteredActorSystem], journal_url: str) -> None:
    """Given a token that writes, when its holder redacts, then it is refused; one for maintenance does nothing else."""
    await two[0].distributed().map[str, int]("m").put("k", 1)
    writer, keeper = await made(journal_url, "w", WRITE), await made(journal_url, "k", Scopes(maintain=True))
    name, journal = EntityName("map", "m", "s:k"), SqlJournal(journal_url)
    await journal.open()
    try:
        async with holder(writer, *two) as connected:
            await refused(redact(connected, journal, name, reason="asked for", without_archives=True))
        async with holder(keeper, *two) as connected:
            await refused(connected.distributed().map[str, int]("m").get("k"))
            await redact(connected, journal, name, reason="asked for", without_archives=True)
    finally:
        await journal.close()
    assert await two[0].distributed().map[str, int]("m").get("k") is None


async def test_hosts_are_told_to_operators(two: list[ClusteredActorSystem], journal_url: str) -> None:
    """Given tokens with and without ``operate``, then only one of them is told hosts and processes."""
    for scopes, told in ((READ, False), (Scopes(operate=True), True)):
        async with holder(await made(journal_url, "t", scopes), *two) as connected:
            nodes = (await connected.topology()).nodes.values()
            assert {bool(node.pid and node.host and node.started_at) for node in nodes} == {told}
            assert all(node.address for node in nodes)


async def test_a_revoked_token_ends_open_connections(two: list[ClusteredActorSystem], journal_url: str) -> None:
    """Given a holder at work, when its token is revoked, then soon nothing is done for it, and it is told why."""
    token = await made(journal_url, "worker", WRITE)
    other = await made(journal_url, "other", WRITE)
    async with holder(token, *two) as connected, holder(other, *two) as untouched:
        d = connected.distributed()
        assert await d.counter("c", timeout=PATIENT).increment() == 1
        assert await untouched.distributed().counter("c", timeout=PATIENT).increment() == 2
        [grant] = await change(journal_url, lambda tables: tables.revoke("worker", time.time_ns() // 1_000))
        assert grant.id == token.id
        await until_refused(d.counter("c", timeout=PATIENT).increment, "revoked")
        done = await two[0].distributed().counter("c").get()

        async def come_again() -> None:
            async with holder(token, *two):
                pass

        # Each node looks for itself, so the other one may let the holder in a moment longer.
        assert isinstance(await until_refused(come_again, "revoked"), PeerRefusedError)
        assert await untouched.distributed().counter("c").increment() == done + 1


async def test_a_token_ends_in_time(two: list[ClusteredActorSystem], journal_url: str) -> None:
    """Given a token with an end, when that has come, then open connections end, and no new one is made."""
    token = await made(journal_url, "guest", READ, ends_in=1.5)
    async with holder(token, *two) as connected:
        assert await connected.distributed().counter("c", timeout=PATIENT).get() == 0
        await until_refused(connected.distributed().counter("c", timeout=PATIENT).get, "ended")


async def test_what_is_no_token_is_refused(two: list[ClusteredActorSystem], journal_url: str) -> None:
    """A token of another cluster, or with another key under a known id, is refused; what has no such form at once."""
    token = await made(journal_url, "t", READ)
    for false in (Token.make(), Token(token.id, Token.make().key)):
        with pytest.raises(PeerRefusedError, match="not one of this cluster"):
            async with holder(false, *two):
                pass
    points = [tuple(two[0].self_node)]
    for text in ("", "ces_", token.text[:-1], f"{token.text}x", token.text.upper()):
        with pytest.raises(InvalidArgumentError, match="token create"):
            ClusterClient(contact_points=points, token=text)
    with pytest.raises(InvalidTypeError):
        ClusterClient(contact_points=points, token=token.text.encode())  # type: ignore[arg-type]
    for given in ({}, {"secret": await secret_of(two[0]), "token": token.text}):
        with pytest.raises(ConfigurationError, match="not both"):
            ClusterClient(contact_points=points, **given)


async def test_a_holder_pushes_out_nobody(two: list[ClusteredActorSystem], journal_url: str) -> None:
    """Given a holder that takes a node's process id for its own, when it connects, then the node keeps its link."""
    from casty_es.transport.identity import Identity
    from casty_es.transport.websocket import WebSocketDialer
    from casty_es.transport.wire import GetTopology, Topology

    token = await made(journal_url, "t", READ)
    name = named_for(two[1], two)
    await two[0].distributed().counter(name, timeout=PATIENT).increment()
    node = two[0]._node
    assert node is not None
    link = node.dialer.open_link(two[1].address, two[1].node_id)
    assert link is not None
    thief = WebSocketDialer(
        Identity(system="casty", node_id="x", role="client", process_id=node.identity.process_id), token
    )
    try:
        there = await thief.link("{}:{}".format(*two[1].self_node))
        assert isinstance(await there.request(GetTopology()), Topology)
        assert not link.closed
    finally:
        await thief.close()


async def test_a_row_that_is_no_token_lets_nobody_in(
    two: list[ClusteredActorSystem], journal_url: str, rows: Rows
) -> None:
    """Given a row that somebody wrote by hand, when tokens are read, then it is left out, and the others are valid."""
    token = await made(journal_url, "t", READ)
    digest = "zeroblob(32)" if journal_url.startswith("sqlite") else "decode(repeat('00', 32), 'hex')"
    await rows(f"INSERT INTO casty_tokens VALUES ('x', 'x', '{{\"write\": 5}}', {digest}, {digest}, 1, NULL, NULL)")
    async with holder(token, *two) as connected:
        assert await connected.distributed().counter("c", timeout=PATIENT).get() == 0
    grants: list[Grant] = await change(journal_url, lambda tables: tables.grants())
    assert [grant.id for grant in grants] == [token.id]


async def test_the_journal_says_who_it_was(two: list[ClusteredActorSystem], journal_url: str, rows: Rows) -> None:
    """Events say who was proven to have caused them, beside what was said; the node's own program adds nothing."""
    token = await made(journal_url, "checkout", WRITE)
    name = named_for(two[1], two)
    async with AsyncExitStack() as stack:
        by_token = await stack.enter_async_context(holder(token, *two))
        by_secret = await stack.enter_async_context(client(*two))
        with audit_context(actor="root"):
            await by_token.distributed().counter(name, timeout=PATIENT).increment()
        await by_token.distributed().counter(name).increment(idempotency_key="k")
        await by_secret.distributed().counter(name, timeout=PATIENT).increment()
        await two[0].distributed().counter(name, timeout=PATIENT).increment()
        with audit_context(actor="alice"):
            await two[1].distributed().counter(name).increment()
        await two[1].distributed().counter(name).increment()
        told = [(event.actor, event.principal) async for event in by_token.distributed().counter(name).history()]

    expected = [
        ("root", "token:checkout"),
        (None, "token:checkout"),
        (None, "secret"),
        (None, f"node:{two[0].node_id}"),
        ("alice", None),
        (None, None),
    ]
    assert told == expected
    view = await rows(f"SELECT actor, principal FROM casty_counter_history WHERE name = '{name}' ORDER BY sequence")
    assert [tuple(row) for row in view] == expected
    [(metadata,)] = await rows(
        f"SELECT e.metadata FROM casty_events e JOIN casty_entities n ON n.id = e.entity WHERE n.name = '{name}' "
        f"AND e.sequence = 6"
    )
    assert metadata is None


async def test_nobody_says_himself_who_it_was(two: list[ClusteredActorSystem], journal_url: str) -> None:
    """Given a client that puts a principal into what it says of itself, when it sends that, then it is refused."""
    from casty_es.domain import counter
    from casty_es.format.codec import decode_error, encode_command
    from casty_es.transport.identity import Identity
    from casty_es.transport.websocket import WebSocketDialer
    from casty_es.transport.wire import Ask, Failed

    token = await made(journal_url, "t", WRITE)
    dialer = WebSocketDialer(Identity(system="casty", node_id="x", role="client"), token)
    try:
        link = await dialer.link("{}:{}".format(*two[0].self_node))
        said = '{"actor":"a","principal":"token:other"}'
        command, body = encode_command(counter.Increment(1))
        ask = Ask(1, 1, "counter", "c", "", 1, command, body, bytes(16), 5.0, metadata=said)
        answer = await link.request(ask)
        assert isinstance(answer, Failed)
        assert isinstance(decode_error(answer.error, answer.message), InvalidArgumentError)
    finally:
        await dialer.close()


async def test_a_token_is_not_taken_while_the_journal_does_not_answer(
    two: list[ClusteredActorSystem], journal_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a node whose question who was revoked is not answered, then it does not wait to hang up on holders."""
    monkeypatch.setattr("casty_es.cluster.credentials._BLIND_SECONDS", 0.5)
    token = await made(journal_url, "t", READ)

    class Silent(AccessTables):
        async def secrets(self) -> tuple[bytes, ...]:
            await asyncio.Event().wait()
            raise AssertionError

    async with holder(token, two[0]) as connected:
        await connected.topology()
        link = connected._dialer.open_link("{}:{}".format(*two[0].self_node))  # type: ignore[union-attr]
        assert link is not None
        node = two[0]._node
        assert node is not None
        assert node.credentials is not None
        monkeypatch.setattr(node.credentials, "_tables", Silent(SqlJournal(journal_url)))

        async def hung_up() -> bool:
            return link.closed

        assert await until(hung_up)


async def test_a_token_is_not_taken_while_the_journal_cannot_tell(
    two: list[ClusteredActorSystem], journal_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a node that cannot read for long who was revoked, then it serves holders no more, and members as before."""
    monkeypatch.setattr("casty_es.cluster.credentials._BLIND_SECONDS", 0.5)
    token = await made(journal_url, "t", READ)
    async with holder(token, two[0]) as connected:
        await connected.topology()
        for one in two:
            node = one._node
            assert node is not None
            assert node.credentials is not None
            monkeypatch.setattr(node.credentials, "_tables", AccessTables(SqlJournal(journal_url)))  # it is not open
        await until_refused(connected.topology, "not one of this cluster")
    assert await two[0].distributed().counter("c", timeout=PATIENT).increment() == 1
