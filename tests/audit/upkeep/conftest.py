"""What the tests of retention and redaction share: a node on a journal, and steps that may be the last."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from casty_es import ClusteredActorSystem, SqlJournal
from casty_es.audit.verify import verify
from casty_es.journal.maintenance import Maintenance

CHANGES = (
    "seal",
    "cut",
    "drop_snapshots",
    "replace_states",
    "replace_values",
    "destroy_salts",
)


class CrashError(Exception):
    """The process ended here."""


class Crashing:
    """Lets a number of changes of the journal happen, and ends the process before or after the next one."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch
        self._left = -1
        self._after = False
        for name in CHANGES:
            self._wrap(name)

    def in_(self, changes: int, *, after: bool) -> None:
        """Crash around the change of this number, counted from now."""
        self._left, self._after = changes, after

    def never(self) -> None:
        """Crash no more."""
        self._left = -1

    def _wrap(self, name: str) -> None:
        real = getattr(Maintenance, name)

        async def step(maintenance: Maintenance, entity: int, *given: object, **named: object) -> object:
            if entity < 0:  # only rehearsed
                return await real(maintenance, entity, *given, **named)
            self._left -= 1
            if self._left == 0 and not self._after:
                raise CrashError(name)
            result = await real(maintenance, entity, *given, **named)
            if self._left == 0:
                raise CrashError(name)
            return result

        self._monkeypatch.setattr(Maintenance, name, step)


@pytest.fixture
def crashing(monkeypatch: pytest.MonkeyPatch) -> Crashing:
    """Something that ends the process where a test wants."""
    return Crashing(monkeypatch)


@pytest.fixture
def journal_url(small_url: str) -> str:
    """A journal with few slots: most tests here verify all of it, and some again and again."""
    return small_url


@pytest_asyncio.fixture
async def system(journal_url: str) -> AsyncIterator[ClusteredActorSystem]:
    """A node."""
    async with ClusteredActorSystem(journal=SqlJournal(journal_url)) as system:
        yield system


@pytest_asyncio.fixture
async def journal(journal_url: str) -> AsyncIterator[SqlJournal]:
    """The same journal, over connections of its own."""
    journal = SqlJournal(journal_url)
    await journal.open()
    yield journal
    await journal.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty folder for archives."""
    folder = tmp_path / "archives"
    folder.mkdir()
    return folder


async def findings(url: str) -> list[tuple[object, ...]]:
    """Verify, and return what is wrong."""
    return [(one.slot, one.position, one.wrong, one.text) for one in (await verify(url)).findings]
