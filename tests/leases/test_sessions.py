"""What every kind of lease keeps: a slot has one holder, a name one session, and what is given back can be taken."""

from __future__ import annotations

import asyncio

import pytest

from casty_es.errors import JournalUnavailableError, NodeInUseError
from tests.leases.conftest import Cluster


async def test_a_slot_has_one_holder(cluster: Cluster) -> None:
    """Given slots held by a node, when another asks for them and more, then it gets what is left."""
    a, b = await cluster.open("a"), await cluster.open("b")

    assert await a.acquire([1, 2]) == {1, 2}
    assert await b.acquire([2, 3]) == {3}
    assert await a.acquire([1, 2, 3, 4]) == {1, 2, 4}


async def test_nothing_is_acquired(cluster: Cluster) -> None:
    """Given a session, when no slot is asked for or given back, then none is held."""
    a = await cluster.open("a")

    assert await a.acquire([]) == set()
    await a.release([])
    await a.release([7])


async def test_what_is_released_is_free(cluster: Cluster) -> None:
    """Given a slot that was acquired three times, when it is released once, then another node gets it."""
    a, b = await cluster.open("a"), await cluster.open("b")
    for _ in range(3):
        await a.acquire([1, 2])

    await a.release([1])

    assert await b.acquire([1, 2]) == {1}
    assert await a.acquire([1, 2]) == {2}


async def test_only_the_holder_releases(cluster: Cluster) -> None:
    """Given a slot of one node, when another releases it, then the first still holds it."""
    a, b = await cluster.open("a"), await cluster.open("b")
    await a.acquire([1])

    await b.release([1])

    assert await b.acquire([1]) == set()


async def test_all_slots_at_once(cluster: Cluster) -> None:
    """Given 256 slots of which another node holds ten, when they are asked for at once, then 246 are given."""
    a, b = await cluster.open("a"), await cluster.open("b")
    await b.acquire(range(100, 110))

    assert await a.acquire(range(256)) == set(range(256)) - set(range(100, 110))


async def test_many_nodes_ask_at_once(cluster: Cluster) -> None:
    """Given ten nodes, when all ask for all slots at once, then every slot is given to one of them."""
    sessions = [await cluster.open(f"n{number}") for number in range(10)]

    answers = await asyncio.gather(*[session.acquire(range(64)) for session in sessions])

    assert sorted(slot for answer in answers for slot in answer) == list(range(64))


async def test_one_node_asks_twice_at_once(cluster: Cluster) -> None:
    """Given a node, when it asks for overlapping slots at once and releases them once, then they are free."""
    a, b = await cluster.open("a"), await cluster.open("b")

    answers = await asyncio.gather(*[a.acquire([1, 2, 3]) for _ in range(5)])
    await a.release([1, 2, 3])

    assert answers == [{1, 2, 3}] * 5
    assert await b.acquire([1, 2, 3]) == {1, 2, 3}


async def test_close_gives_everything_back(cluster: Cluster) -> None:
    """Given a node with slots, when its session is closed, then it is not living and its slots are free."""
    a, b = await cluster.open("a"), await cluster.open("b")
    await a.acquire([1, 2])

    await a.close()

    assert await b.living(["a", "b"]) == {"b"}
    assert await b.acquire([1, 2]) == {1, 2}
    assert await cluster.journal.slot_rows() == [] or {row.node_id for row in await cluster.journal.slot_rows()} == {
        "b"
    }


async def test_closing_twice(cluster: Cluster) -> None:
    """Given a closed session, when it is closed again, then its successor keeps its own."""
    first = await cluster.open("a")
    await first.close()
    successor = await cluster.open("a")
    await successor.acquire([1])

    await first.close()

    other = await cluster.open("b")
    assert await other.living(["a"]) == {"a"}
    assert await other.acquire([1]) == set()


async def test_a_closed_session_takes_nothing(cluster: Cluster) -> None:
    """Given a closed session, when it is asked for a slot, then the error says so."""
    a = await cluster.open("a")
    await a.close()

    with pytest.raises(JournalUnavailableError, match="session"):
        await a.acquire([1])


async def test_one_session_per_name(cluster: Cluster) -> None:
    """Given a living node, when its name is used again, then that is refused and nothing ends."""
    a = await cluster.open("a")

    with pytest.raises(NodeInUseError, match=r"'a'.*another node_id"):
        await cluster.open("a")

    assert await (await cluster.open("b")).living(["a"]) == {"a"}
    assert not a.lost.done()


async def test_a_process_lives_under_its_id_and_its_successor_under_another(cluster: Cluster) -> None:
    """Given a node, when the next process has its name, then the name lives, and of the two ids only the second."""
    witness = await cluster.open("b", "process-b")
    first = await cluster.open("a", "process-1")
    assert await witness.living(["a", "process-1", "process-2", "process-b"]) == {"a", "process-1", "process-b"}

    await first.close()
    assert await witness.living(["a", "process-1"]) == set()
    await cluster.open("a", "process-2")

    assert await witness.living(["a", "process-1", "process-2"]) == {"a", "process-2"}


async def test_living(cluster: Cluster) -> None:
    """Given two nodes, when one asks who lives, then it is told of both, and of nobody else."""
    a, _ = await cluster.open("a"), await cluster.open("b")

    assert await a.living(["a", "b", "c", ""]) == {"a", "b"}
    assert await a.living([]) == set()


async def test_living_is_asked_by_many_at_once(cluster: Cluster) -> None:
    """Given a dead node, when many ask at once whether it lives, then none of them takes another asker for it."""
    nodes = [await cluster.open(f"n{number}") for number in range(5)]
    dead = await cluster.open("dead")
    await dead.close()

    for _ in range(10):
        assert await asyncio.gather(*[node.living(["dead", "n0"]) for node in nodes]) == [{"n0"}] * 5


async def test_a_closed_session_is_not_reported_as_lost(cluster: Cluster) -> None:
    """Given whoever listens for a loss, when the session is closed, then the future is cancelled and has no reason."""
    a = await cluster.open("a")

    await a.close()

    assert a.lost.cancelled()
