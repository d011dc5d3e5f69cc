"""Who may join, who is counted, and nodes that others cannot dial."""

from __future__ import annotations

import asyncio

import pytest

from casty_es import ClusteredActorSystem, NodeInUseError, NotDoneError, Settings, SqlJournal, UsageError
from casty_es.client import ClusterClient

from .nodes import PATIENT, client, named_for, node, nodes, settled, slot, structures, until


async def test_nodes_are_waited_for(journal_url: str) -> None:
    """``wait_for`` returns when so many nodes are alive, whether they came before or come afterwards."""
    async with node(journal_url) as first:
        await first.wait_for(1)
        waiting = asyncio.create_task(first.wait_for(3, timeout=PATIENT))
        async with node(journal_url) as second:
            await asyncio.gather(first.wait_for(2), second.wait_for(2))
            assert not waiting.done()
            async with node(journal_url):
                await waiting


async def test_a_node_that_comes_is_seen_at_once(journal_url: str) -> None:
    """Given nodes that seldom look at the list, when one comes, then the others look when it dials them."""
    settings = Settings(membership_seconds=600.0)
    systems = [ClusteredActorSystem(journal=SqlJournal(journal_url), settings=settings) for _ in range(2)]
    async with systems[0] as first, systems[1] as second:
        assert first._node is not None
        membership = first._node.membership

        async def seen() -> bool:
            return second.node_id in membership.topology.nodes

        assert await until(seen)


async def test_waiting_for_nodes_that_do_not_come_ends(journal_url: str) -> None:
    """After the timeout the error names how many there are, and how many were waited for."""
    async with nodes(journal_url, 2) as systems:
        with pytest.raises(NotDoneError, match="2 of 3 nodes"):
            await systems[0].wait_for(3, timeout=0.5)
        with pytest.raises(TimeoutError):
            await systems[1].wait_for(9, timeout=0.1)
        with pytest.raises(ValueError, match="nodes"):
            await systems[0].wait_for(0)


async def test_a_node_that_closed_is_not_counted(journal_url: str) -> None:
    """Those who stay see it gone, and cannot be told that it is still there."""
    async with node(journal_url) as first:
        async with node(journal_url) as second:
            await first.wait_for(2)
        with pytest.raises(UsageError):
            await second.wait_for(1)

        async def alone() -> bool:
            try:
                await first.wait_for(2, timeout=0.1)
            except NotDoneError:
                return True
            return False

        assert await until(alone)


async def test_a_name_belongs_to_one_living_node(journal_url: str) -> None:
    """A second node of the same name is refused while the first lives, which goes on; later the name is free."""
    async with node(journal_url, node_id="twin") as first:
        hits = first.distributed().counter("c")
        assert await hits.increment() == 1

        with pytest.raises(NodeInUseError, match="twin"):
            async with node(journal_url, node_id="twin"):
                pass

        assert await hits.increment() == 2
        async with node(journal_url) as other:  # which reads the list afresh
            await other.wait_for(2)
    async with node(journal_url, node_id="twin") as again:
        assert await again.distributed().counter("c", timeout=PATIENT).increment() == 3


async def test_a_living_node_that_is_not_listed_any_more_lists_itself_again(journal_url: str) -> None:
    """Whoever removes its row, by a mistake or by hand, does not hide it for long."""
    async with node(journal_url) as first:
        journal = SqlJournal(journal_url)
        await journal.open()
        try:
            await journal.forget_node(first.node_id)
        finally:
            await journal.close()
        async with node(journal_url) as other:
            await other.wait_for(2)


async def test_an_owner_that_cannot_be_dialled_is_an_error_in_time(journal_url: str) -> None:
    """Commands for its slots end in an error that names its address; reads go on, and so does everything after it."""
    async with node(journal_url) as first, node(journal_url, advertise=("127.0.0.1", 1)) as hidden:
        for system in (first, hidden):
            await system.wait_for(2)
        name = named_for(hidden, [first, hidden])
        mine, other = (d.counter(name, timeout=2.0) for d in structures([first, hidden]))
        assert await other.increment() == 1
        assert await settled([first, hidden], [slot("counter", name)]) == {slot("counter", name): hidden.node_id}

        with pytest.raises(NotDoneError, match=r"127\.0\.0\.1:1 "):
            await mine.increment()
        assert await mine.get() == 1
        assert await other.increment() == 2
        assert await mine.get() == 2
        reached = named_for(first, [first, hidden])
        assert [await d.counter(reached, timeout=PATIENT).increment() for d in structures([hidden, first])] == [1, 2]

        await hidden.__aexit__(None, None, None)
        assert await first.distributed().counter(name, timeout=PATIENT).increment() == 3


async def test_a_slot_that_nobody_can_be_asked_for_is_taken(journal_url: str) -> None:
    """A node that ranks first but cannot be dialled gets nothing; whoever needs the slot holds it."""
    async with node(journal_url) as first, node(journal_url, advertise=("127.0.0.1", 1)) as hidden:
        for system in (first, hidden):
            await system.wait_for(2)
        name = named_for(hidden, [first, hidden])

        assert await first.distributed().counter(name, timeout=PATIENT).increment() == 1
        assert await hidden.distributed().counter(name, timeout=PATIENT).increment() == 2
        assert await first.distributed().counter(name, timeout=PATIENT).increment() == 3


async def test_a_node_that_closed_leaves_nothing_behind(journal_url: str) -> None:
    """Asked who is alive while it closes, a node does not come back to life: its name is free, and nobody counts it."""
    async with node(journal_url) as staying:
        for _ in range(5):
            async with node(journal_url, node_id="named") as leaving, client(leaving) as connected:

                async def ask(asking: ClusterClient = connected) -> None:
                    while "named" in (await asking.topology()).nodes:
                        pass

                asking = [asyncio.create_task(ask()) for _ in range(20)]
                await leaving.__aexit__(None, None, None)
                await asyncio.gather(*asking)
                assert list((await connected.topology()).nodes) == [staying.node_id]


async def test_a_system_is_used_while_it_runs(two: list[ClusteredActorSystem]) -> None:
    """A node that was closed says so, and may be started again into the same cluster."""
    first, second = two
    hits = second.distributed().counter("c", timeout=PATIENT)
    assert await hits.increment() == 1

    await second.__aexit__(None, None, None)
    with pytest.raises(UsageError, match="closed"):
        await hits.increment()
    with pytest.raises(UsageError, match="closed"):
        await second.wait_for(1)
    await second.__aenter__()
    await second.wait_for(2)

    assert await hits.increment() == 2
    assert await first.distributed().counter("c", timeout=PATIENT).increment() == 3
