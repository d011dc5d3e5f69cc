"""Every way into a cluster: from each of its nodes, or through clients, on both databases."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
import pytest_asyncio

from casty_es import ClusteredActorSystem, Distributed

from .nodes import client, nodes, structures, until

# With three nodes there is an owner, another one, and one that is neither; `-m long` has clusters of two and five, too.
CLUSTERS = [
    ("nodes", 3),
    ("clients", 3),
    *(pytest.param(("nodes", number), marks=pytest.mark.long) for number in (2, 5)),
]

_LOG = """
    SELECT e.type FROM casty_events e JOIN casty_entities n ON n.id = e.entity
    WHERE n.kind = '{kind}' AND n.name = '{name}' ORDER BY e.entity, e.sequence
"""


@pytest_asyncio.fixture(params=CLUSTERS, ids=lambda one: f"{one[1]}-{one[0]}")
async def everywhere(request: pytest.FixtureRequest, journal_url: str) -> AsyncIterator[list[Distributed]]:
    """The structures as each node of a cluster sees them, or as three clients with a contact point each do."""
    way, number = request.param
    async with AsyncExitStack() as stack:
        systems = await stack.enter_async_context(nodes(journal_url, number))
        if way == "nodes":
            yield structures(systems)
        else:
            yield structures([await stack.enter_async_context(client(system)) for system in systems])


@pytest_asyncio.fixture
async def two(journal_url: str) -> AsyncIterator[list[ClusteredActorSystem]]:
    """Two nodes."""
    async with nodes(journal_url, 2) as systems:
        yield systems


@pytest_asyncio.fixture
async def three(journal_url: str) -> AsyncIterator[list[ClusteredActorSystem]]:
    """Three nodes."""
    async with nodes(journal_url, 3) as systems:
        yield systems


@pytest.fixture
def rows(
    sql: Callable[..., list[tuple[Any, ...]]], journal_url: str
) -> Callable[..., Awaitable[list[tuple[Any, ...]]]]:
    """``await rows(*statements)``: run statements beside the event loop and give the rows of the last."""
    return lambda *statements: asyncio.to_thread(sql, journal_url, *statements)


@pytest.fixture
def log(rows: Callable[..., Awaitable[list[tuple[Any, ...]]]]) -> Callable[..., Awaitable[list[str]]]:
    """``await log(kind, name)``: the types of a structure's events, in order."""

    async def read(kind: str, name: str) -> list[str]:
        return [row[0] for row in await rows(_LOG.format(kind=kind, name=name))]

    return read


@pytest.fixture
def in_line(log: Callable[..., Awaitable[list[str]]]) -> Callable[..., Awaitable[None]]:
    """``await in_line(kind, name, n)``: wait until the structure's log has ``n`` requests."""

    async def wait(kind: str, name: str, requests: int) -> None:
        async def there() -> bool:
            types = await log(kind, name)
            return sum(one.endswith((".requested", ".arrived")) for one in types) >= requests

        await until(there)

    return wait
