"""Clusters for tests: real nodes with connections, leases and ports of their own, in one event loop."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from casty_es import ClusteredActorSystem, Distributed, Settings, SqlJournal
from casty_es.client import ClusterClient
from casty_es.cluster.placement import ranking
from casty_es.hashes import shard_of, slot_of

SLOTS = 256
PATIENT = 60.0
"""Seconds for what must come about; long enough for any machine, and never waited out by a test that passes."""


def node(
    url: str, *, lease_seconds: float = 30.0, snapshot_events: int = 1_000, **options: Any
) -> ClusteredActorSystem:
    """Make a node that looks at the cluster every fifth of a second."""
    settings = Settings(membership_seconds=0.2, lease_seconds=lease_seconds, snapshot_events=snapshot_events)
    return ClusteredActorSystem(journal=SqlJournal(url), settings=settings, **options)


@asynccontextmanager
async def nodes(url: str, number: int, **options: Any) -> AsyncIterator[list[ClusteredActorSystem]]:
    """Run so many nodes on one database, each of which knows all the others."""
    async with AsyncExitStack() as stack:
        systems = [await stack.enter_async_context(node(url, **options)) for _ in range(number)]
        for system in systems:
            await system.wait_for(number)
        yield systems


@asynccontextmanager
async def client(*systems: ClusteredActorSystem, **options: Any) -> AsyncIterator[ClusterClient]:
    """Connect a client whose contact points are these nodes."""
    given = {"secret": await secret_of(systems[0]), "contact_points": [tuple(one.self_node) for one in systems]}
    async with ClusterClient(**(given | options)) as connected:
        yield connected


async def secret_of(system: ClusteredActorSystem) -> bytes:
    """Return the secret of a node's cluster."""
    return await system.journal.secret()


def structures(gateways: Sequence[ClusteredActorSystem | ClusterClient]) -> list[Distributed]:
    """Return the structures as each of these sees them."""
    return [Distributed(gateway) for gateway in gateways]


def slot(kind: str, name: str, key: str = "", *, shards: int = 100) -> int:
    """Return the slot of an entity."""
    return slot_of(kind, name, shard_of(kind, name, key, shards), SLOTS)


def best(number: int, systems: Iterable[ClusteredActorSystem]) -> str:
    """Return the node that should own a slot."""
    return ranking(number, [system.node_id for system in systems])[0]


def named_for(
    owner: ClusteredActorSystem, systems: Iterable[ClusteredActorSystem], *, kind: str = "counter", stem: str = "c"
) -> str:
    """Return a name that has this node among these as the owner of its structure."""
    everybody = list(systems)
    names = (f"{stem}-{number}" for number in itertools.count())
    return next(name for name in names if best(slot(kind, name), everybody) == owner.node_id)


async def until(check: Callable[[], Awaitable[Any]]) -> Any:
    """Ask an async function again and again until it gives something true, and return that."""
    async with asyncio.timeout(PATIENT):
        while not (answer := await check()):  # noqa: ASYNC110 - what is asked is a database, and it sets no event
            await asyncio.sleep(0.01)
    return answer


async def owners(system: ClusteredActorSystem) -> dict[int, str]:
    """Return the node that is written down for each slot."""
    return {row.slot: row.node_id for row in await system.journal.slot_rows()}


async def settled(systems: Sequence[ClusteredActorSystem], slots: Iterable[int]) -> dict[int, str]:
    """Wait until each of these slots is with the node that should own it, and return them."""
    wanted = {number: best(number, systems) for number in slots}

    async def everywhere() -> bool:
        held = await owners(systems[0])
        return all(held.get(number) == node_id for number, node_id in wanted.items())

    await until(everywhere)
    return wanted
