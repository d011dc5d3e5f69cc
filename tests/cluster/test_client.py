"""A process without the database: what a client needs, what it outlives, and what it is told."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import pytest

from casty_es import (
    ClusteredActorSystem,
    ConfigurationError,
    Distributed,
    InvalidArgumentError,
    InvalidTypeError,
    NotDoneError,
    PeerError,
    SqlJournal,
    UsageError,
)
from casty_es.client import ClusterClient
from casty_es.errors import PeerLostError, PeerRefusedError

from .nodes import PATIENT, client, named_for, node, nodes, secret_of, settled, slot, until

Rows: TypeAlias = Callable[..., Awaitable[list[tuple[Any, ...]]]]


async def test_a_client_goes_to_the_owners_and_owns_nothing(three: list[ClusteredActorSystem], rows: Rows) -> None:
    """Commands through one contact point reach the slots of all nodes; no slot and no node is the client's."""
    async with client(three[0]) as connected:
        for number in range(30):
            assert await connected.distributed().counter(f"c-{number}", timeout=PATIENT).increment() == 1
        await settled(three, [slot("counter", f"c-{number}") for number in range(30)])

        topology = await connected.topology()
        assert set(topology.nodes) == {system.node_id for system in three}
        assert {entry.node_id for entry in topology.owners.values()} <= set(topology.nodes)
        assert len(await rows("SELECT node_id FROM casty_nodes")) == 3


async def test_a_client_outlives_its_contact_point(journal_url: str) -> None:
    """Callers under way and callers to come are served by the nodes that are left, each command once."""
    async with nodes(journal_url, 3) as systems, client(systems[0]) as connected:
        leaving, *others = systems
        hits = connected.distributed().counter(named_for(leaving, systems), timeout=PATIENT)
        told = [await hits.increment()]
        stop = asyncio.Event()

        async def caller() -> None:
            while not stop.is_set():
                told.append(await hits.increment())

        callers = [asyncio.create_task(caller()) for _ in range(10)]
        await leaving.__aexit__(None, None, None)
        told += [await hits.increment() for _ in range(20)]
        stop.set()
        await asyncio.gather(*callers)

        assert sorted(told) == list(range(1, len(told) + 1))
        assert await others[1].distributed().counter(hits.name).get() == len(told)
        assert set((await connected.topology()).nodes) == {system.node_id for system in others}


async def test_a_client_learns_of_nodes_that_join(journal_url: str) -> None:
    """It goes on through a node that was not there when it connected, after all that were have gone."""
    async with node(journal_url) as first, client(first) as connected:
        hits = connected.distributed().counter("hits", timeout=PATIENT)
        assert await hits.increment() == 1
        async with node(journal_url) as second:

            async def learned() -> bool:
                return len((await connected.topology()).nodes) == 2

            await until(learned)
            await first.__aexit__(None, None, None)
            assert await hits.increment() == 2
            assert list((await connected.topology()).nodes) == [second.node_id]


async def test_a_client_keeps_what_it_holds(journal_url: str) -> None:
    """A client renews its lock in the background: it holds it for longer than its lease."""
    async with nodes(journal_url, 2, lease_seconds=1.0) as systems, client(*systems) as connected:
        lock = connected.distributed().lock("l", timeout=PATIENT)
        await lock.acquire()

        with pytest.raises(NotDoneError):
            await systems[1].distributed().lock("l", timeout=2.5).acquire()

        assert not lock.lost.is_set()
        assert await lock.release() is True


async def test_a_client_that_was_opened_late_keeps_what_it_holds(journal_url: str) -> None:
    """It renews as often as its cluster says, also when it was used before it was opened and knew its lease."""
    async with nodes(journal_url, 1, lease_seconds=1.0) as [owner]:
        contact_points = [tuple(owner.self_node)]
        connected = ClusterClient(contact_points=contact_points, secret=await secret_of(owner))
        lock = connected.distributed().lock("l", timeout=PATIENT)
        with pytest.raises(UsageError):
            await lock.acquire()
        async with connected:
            await lock.acquire()

            with pytest.raises(NotDoneError):
                await owner.distributed().lock("l", timeout=2.5).acquire()

            assert not lock.lost.is_set()
            assert await lock.release() is True


@pytest.mark.parametrize("how", ["cancelled", "unforeseen"])
async def test_a_client_that_cannot_renew_is_told_before_another_is_granted(
    journal_url: str, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a lock of a client, when its renewing ends or fails in any way, then it knows before its lease is over."""
    async with nodes(journal_url, 1, lease_seconds=2.0) as [owner], client(owner) as connected:
        lock = connected.distributed().lock("l", timeout=PATIENT)
        await lock.acquire()

        async def fail(*_: Any, **__: Any) -> Any:
            raise ZeroDivisionError

        if how == "cancelled":
            [renewing] = [task for task in asyncio.all_tasks() if task.get_name() == "casty-renewals"]
            renewing.cancel()
        else:
            monkeypatch.setattr(connected, "entity_ask", fail)
        other = asyncio.create_task(owner.distributed().lock("l", timeout=PATIENT).acquire())
        lost = asyncio.create_task(lock.lost.wait())
        done, _ = await asyncio.wait({other, lost}, return_when=asyncio.FIRST_COMPLETED)

        assert done == {lost}
        assert lock.token is None
        await other


async def test_what_a_closed_client_held_is_free_again(journal_url: str) -> None:
    """Nobody renews for a client that is gone, so its lock goes to the next in line with a higher token."""
    async with nodes(journal_url, 2, lease_seconds=1.0) as systems:
        async with client(*systems) as connected:
            gone = connected.distributed().lock("l", timeout=PATIENT)
            await gone.acquire()
            token = gone.token or 0
        after = systems[1].distributed().lock("l", timeout=PATIENT)
        await after.acquire()

        assert (after.token or 0) > token


async def test_a_barrier_of_a_client_needs_a_name(two: list[ClusteredActorSystem]) -> None:
    """A client has no address to stand for it at a barrier."""
    async with client(two[0]) as connected:
        with pytest.raises(ConfigurationError, match="node_id"):
            connected.distributed().barrier("b")


async def test_a_wrong_secret_is_refused(two: list[ClusteredActorSystem]) -> None:
    """The client is told that it is the secret, and the nodes go on."""
    with pytest.raises(PeerRefusedError, match="secret"):
        async with client(two[0], secret=b"guessed, all of it"):
            pass
    assert await two[1].distributed().counter("c").increment() == 1


async def test_another_systems_name_is_refused(two: list[ClusteredActorSystem]) -> None:
    """The client is told both names."""
    with pytest.raises(PeerRefusedError, match=r"(?s)warehouse.*casty|casty.*warehouse"):
        async with client(two[0], system_name="warehouse"):
            pass


async def test_a_contact_point_that_nobody_listens_at_is_named(two: list[ClusteredActorSystem]) -> None:
    """Alone it is an error that names it; beside a living one it does not matter."""
    with pytest.raises(PeerLostError, match=r"127\.0\.0\.1:1 "):
        async with client(two[0], contact_points=[("127.0.0.1", 1)]):
            pass
    async with client(two[0], contact_points=[("127.0.0.1", 1), tuple(two[1].self_node)]) as connected:
        assert await connected.distributed().counter("c", timeout=PATIENT).increment() == 1


@pytest.mark.parametrize(
    "points", [[], [("", 7400)], [("h", 0)], [("h", 65_536)], [("h", "7400")], ["h:7400"], [("h", True)]]
)
def test_contact_points_are_hosts_and_ports(points: list[Any]) -> None:
    """Anything else is refused when the client is made."""
    with pytest.raises(InvalidArgumentError):
        ClusterClient(contact_points=points, system_name="casty", secret=b"s" * 16)


@pytest.mark.parametrize("secret", [b"", b"sunshine7", b"fifteen bytes.."])
def test_a_secret_that_can_be_guessed_is_refused(secret: bytes, journal_url: str) -> None:
    """It is refused when the client or the node is made, with how long it must be."""
    with pytest.raises(InvalidArgumentError, match="at least 16"):
        ClusterClient(contact_points=[("h", 1)], system_name="casty", secret=secret)
    with pytest.raises(InvalidArgumentError, match="at least 16"):
        ClusteredActorSystem(journal=SqlJournal(journal_url), secret=secret)


@pytest.mark.parametrize("secret", ["6a1f" * 16, 4711, 3.5, bytearray(32)])
def test_a_secret_is_bytes(secret: Any, journal_url: str) -> None:
    """Text or a number is refused when the client or the node is made; of a text it is said how to make bytes of it."""
    hint = "fromhex" if isinstance(secret, str) else "must be bytes"
    with pytest.raises(InvalidTypeError, match=hint):
        ClusterClient(contact_points=[("h", 1)], system_name="casty", secret=secret)
    with pytest.raises(InvalidTypeError, match=hint):
        ClusteredActorSystem(journal=SqlJournal(journal_url), secret=secret)


async def test_a_client_that_is_not_running_says_so(two: list[ClusteredActorSystem]) -> None:
    """Before its start, after its close and from another event loop nothing is done."""
    idle = ClusterClient(contact_points=[tuple(two[0].self_node)], secret=await secret_of(two[0]))
    with pytest.raises(UsageError):
        await Distributed(idle).counter("c").increment()

    async with client(two[0]) as connected:
        hits = connected.distributed().counter("c", timeout=PATIENT)
        assert await hits.increment() == 1
        with pytest.raises(UsageError, match="event loop"):
            await asyncio.to_thread(lambda: asyncio.run(hits.increment()))
        with pytest.raises(UsageError, match="running already"):
            await connected.__aenter__()
    with pytest.raises(UsageError, match="not running"):
        await hits.increment()
    with pytest.raises(UsageError):
        await connected.topology()
    assert await two[1].distributed().counter("c").get() == 1


async def test_a_client_without_any_node_left_is_told_so(journal_url: str) -> None:
    """When every node has gone, a command ends in a clear error within its time, and certainly did not happen."""
    async with node(journal_url) as only, client(only) as connected:
        hits = connected.distributed().counter("c", timeout=2.0)
        assert await hits.increment() == 1
        await only.__aexit__(None, None, None)

        with pytest.raises((NotDoneError, PeerError), match=f"127.0.0.1:{only.self_node.port}"):
            await hits.increment()
    async with node(journal_url) as again:
        assert await again.distributed().counter("c").get() == 1
