"""Nodes that disagree about a structure's number of shards: what was recorded first holds for all."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from casty_es import ClusteredActorSystem

from .nodes import PATIENT, client, structures

Rows: TypeAlias = Callable[..., Awaitable[list[tuple[Any, ...]]]]

ENTITIES = "SELECT name, key, count(*) FROM casty_entities GROUP BY name, key"


async def test_the_first_recorded_number_holds_for_all(two: list[ClusteredActorSystem], rows: Rows) -> None:
    """Who opens it with another number is led to the same entity, and counts on."""
    first, second = structures(two)
    assert await first.counter("c", shards=1).increment() == 1

    assert await second.counter("c", shards=50, timeout=PATIENT).increment() == 2
    assert await first.counter("c", shards=7, timeout=PATIENT).increment() == 3

    assert await rows("SELECT shards FROM casty_structures") == [(1,)]
    assert await rows(ENTITIES) == [("c", "", 1)]


async def test_an_entity_never_lives_in_two_slots(two: list[ClusteredActorSystem], rows: Rows) -> None:
    """When two nodes are the first at once with different numbers, one of them wins and both count together."""
    names = [f"c-{number}" for number in range(20)]

    told = await asyncio.gather(
        *(
            d.counter(name, shards=shards, timeout=PATIENT).increment()
            for name in names
            for d, shards in zip(structures(two), (3, 64), strict=True)
        )
    )

    assert [sorted(told[at : at + 2]) for at in range(0, len(told), 2)] == [[1, 2]] * len(names)
    assert await rows("SELECT count(*) FROM casty_structures") == [(len(names),)]
    assert sorted(await rows(ENTITIES)) == sorted((name, "", 1) for name in names)


async def test_the_keys_of_a_map_agree_too(two: list[ClusteredActorSystem], rows: Rows) -> None:
    """A map that two nodes and a client open with three numbers has each key once, and all see every value."""
    async with client(two[0]) as connected:
        places = [*structures(two), connected.distributed()]
        maps = [
            d.map[int, int]("m", shards=shards, timeout=PATIENT) for d, shards in zip(places, (2, 9, 77), strict=True)
        ]

        await asyncio.gather(*(one.put(key, key) for one in maps for key in range(20)))

        for one in maps:
            assert await asyncio.gather(*(one.get(key) for key in range(20))) == list(range(20))
        assert sorted(await rows(ENTITIES)) == sorted(("m", f"i:{key}", 1) for key in range(20))
        assert len(await rows("SELECT shards FROM casty_structures")) == 1


async def test_keys_are_spread_over_the_nodes(three: list[ClusteredActorSystem], rows: Rows) -> None:
    """The keys of one map lie in many slots, and every node holds some of them."""
    maps = [d.map[int, int]("m", timeout=PATIENT) for d in structures(three)]

    await asyncio.gather(*(maps[key % 3].put(key, key) for key in range(60)))

    held = await rows(
        "SELECT s.node_id, count(*) FROM casty_entities e JOIN casty_slots s ON s.slot = e.slot GROUP BY s.node_id"
    )
    assert {node_id for node_id, _ in held} == {system.node_id for system in three}
    assert sum(number for _, number in held) == 60
    assert await asyncio.gather(*(maps[(key + 1) % 3].get(key) for key in range(60))) == list(range(60))
