"""The structures on every kind of journal, the log as a caller of SQL sees it, and processes that can be killed."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import textwrap
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from casty_es import ClusteredActorSystem, Distributed, Settings, connect

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

ROOT = Path(__file__).parents[2]

KINDS = ["sqlite", "postgres", "memory", "application"]

_LOG = """
    SELECT e.type FROM casty_events e JOIN casty_entities n ON n.id = e.entity
    WHERE n.kind = '{kind}' AND n.name = '{name}' ORDER BY e.entity, e.sequence
"""


class Child:
    """A Python process of our own that answers line by line.

    Parameters
    ----------
    program : str
        Its source. ``say(text)`` writes a line to us, ``await hear()`` reads one from us.
    arguments : str
        Its ``sys.argv[1:]``.
    """

    PRELUDE = """
        import asyncio, os, sys
        import casty_es
        from casty_es import Settings, connect

        def say(*words):
            print(*words, flush=True)

        async def hear():
            return (await asyncio.to_thread(sys.stdin.readline)).strip()
    """

    def __init__(self, program: str, *arguments: str) -> None:
        source = textwrap.dedent(self.PRELUDE) + textwrap.dedent(program)
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", source, *arguments],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    async def line(self) -> str:
        """Wait for its next line."""
        assert self.process.stdout is not None
        text = await asyncio.to_thread(self.process.stdout.readline)
        assert text, f"the process ended with {await asyncio.to_thread(self.process.wait)} instead of a line"
        return text.strip()

    async def tell(self, text: str) -> None:
        """Send it a line."""
        assert self.process.stdin is not None
        self.process.stdin.write(text + "\n")
        self.process.stdin.flush()

    async def kill(self) -> None:
        """End it as ``kill -9`` does."""
        self.process.kill()
        await self.ended()

    async def ended(self) -> int:
        """Wait for its end, and return its exit code."""
        return await asyncio.to_thread(self.process.wait)

    def clean_up(self) -> None:
        """Leave nothing behind."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                stream.close()


@pytest.fixture
def child() -> Iterator[Callable[..., Child]]:
    """``child(program, *arguments)``: start a process that ends with the test at the latest."""
    children: list[Child] = []

    def start(program: str, *arguments: str) -> Child:
        children.append(Child(program, *arguments))
        return children[-1]

    yield start
    for one in children:
        one.clean_up()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test on a journal of each kind; those of the structures on Postgres by least privilege, too."""
    if "d_url" in metafunc.fixturenames:
        of_structures = metafunc.module.__name__.rpartition(".")[2].startswith(("test_structures_", "test_waiting"))
        metafunc.parametrize("d_url", KINDS if of_structures else KINDS[:3], indirect=True)


@pytest.fixture
def d_url(request: pytest.FixtureRequest) -> str | None:
    """A migrated journal of each kind; ``None`` stands for memory."""
    if request.param == "memory":
        return None
    return str(request.getfixturevalue(f"{request.param}_journal_url"))


@asynccontextmanager
async def opened(url: str | None, **settings: Any) -> AsyncIterator[Distributed]:
    """Yield the structures of a journal, or volatile ones."""
    if url is None:
        async with ClusteredActorSystem(settings=Settings(**settings)) as system:
            yield system.distributed()
    else:
        async with connect(url, settings=Settings(**settings)) as d:
            yield d


@pytest.fixture
def open_d(d_url: str | None) -> Callable[..., AbstractAsyncContextManager[Distributed]]:
    """``open_d(lease_seconds=…)``: the structures of one journal of each kind, with these settings."""
    return lambda **settings: opened(d_url, **settings)


@pytest.fixture
def reopen(journal_url: str) -> Callable[..., AbstractAsyncContextManager[Distributed]]:
    """``reopen(lease_seconds=…)``: the structures of one durable journal, each time opened anew."""
    return lambda **settings: opened(journal_url, **settings)


@pytest_asyncio.fixture
async def d(d_url: str | None) -> AsyncIterator[Distributed]:
    """The structures of a journal of each kind."""
    async with opened(d_url) as distributed:
        yield distributed


@pytest.fixture
def rows(sql: Callable[..., list[tuple[Any, ...]]]) -> Callable[..., Awaitable[list[tuple[Any, ...]]]]:
    """``await rows(url, *statements)``: run statements beside the event loop and give the rows of the last."""
    return lambda url, *statements: asyncio.to_thread(sql, url, *statements)


@pytest.fixture
def log(rows: Callable[..., Awaitable[list[tuple[Any, ...]]]]) -> Callable[..., Awaitable[list[str]]]:
    """``await log(url, kind, name)``: the types of a structure's events, in order."""

    async def read(url: str, kind: str, name: str) -> list[str]:
        return [row[0] for row in await rows(url, _LOG.format(kind=kind, name=name))]

    return read


@pytest.fixture
def until() -> Callable[..., Awaitable[Any]]:
    """``await until(check)``: ask an async function again and again until it gives something true, and return that."""

    async def wait(check: Callable[[], Awaitable[Any]]) -> Any:
        while not (answer := await check()):  # noqa: ASYNC110 - what is asked is a database, and it sets no event
            await asyncio.sleep(0.01)
        return answer

    return wait


@pytest.fixture
def in_line(
    log: Callable[..., Awaitable[list[str]]], until: Callable[..., Awaitable[Any]]
) -> Callable[..., Awaitable[None]]:
    """``await in_line(url, kind, name, n)``: wait until the structure's log has ``n`` requests."""

    async def wait(url: str, kind: str, name: str, requests: int) -> None:
        async def there() -> bool:
            types = await log(url, kind, name)
            return sum(one.endswith((".requested", ".arrived")) for one in types) >= requests

        await until(there)

    return wait


@pytest_asyncio.fixture
async def volatile() -> AsyncIterator[Distributed]:
    """Structures in memory, for what is refused as a handle is made: no journal hears of it, so one shows it."""
    async with ClusteredActorSystem() as system:
        yield system.distributed()
