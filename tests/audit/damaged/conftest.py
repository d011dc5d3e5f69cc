"""A journal with a row in every table, written once for each database and copied for each damage."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import pytest

from casty_es.cli.app import run
from casty_es.journal.migrating import upgrade
from casty_es.journal.urls import sqlite_file
from tests.conftest import postgres_database
from tests.emptied import Databases

from .journals import ARCHIVES, SLOTS, write_full_journal


class Journals(NamedTuple):
    """Copies of a journal, and what was kept of it: an anchor, an archive of what was cut, and a verification."""

    copied: Callable[[Path], AbstractContextManager[str]]
    anchor: Path
    archive: Path
    verified: Path


def _kept(url: str, folder: Path) -> tuple[Path, Path, Path]:
    upgrade(url, slots=SLOTS)
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        runner.run(write_full_journal(url, folder))
    anchor = folder / "anchor.json"
    assert run(["anchor", "--out", str(anchor), "--url", url]) == 0
    verified = folder / "verified.json"
    assert run(["verify", "--processes", "1", "--resume", str(verified), "--url", url]) == 0
    return anchor, next((folder / ARCHIVES).iterdir()), verified


@pytest.fixture(scope="session")
def full_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Journals:
    """Such a file."""
    folder = tmp_path_factory.mktemp("full-sqlite")
    url = f"sqlite:///{folder / 'full.db'}"
    kept = _kept(url, folder)

    @contextmanager
    def copied(to: Path) -> Iterator[str]:
        shutil.copyfile(sqlite_file(url), to / "damaged.db")
        yield f"sqlite:///{to / 'damaged.db'}"

    return Journals(copied, *kept)


@pytest.fixture(scope="session")
def full_postgres(
    postgres_server: str, postgres_copies: Databases, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Journals]:
    """Such a database."""
    folder = tmp_path_factory.mktemp("full-postgres")
    with postgres_database(postgres_server) as url:
        kept = _kept(url, folder)

        @contextmanager
        def copied(_: Path) -> Iterator[str]:
            with postgres_copies.copy_of(urlsplit(url).path.removeprefix("/")) as copy:
                yield copy

        yield Journals(copied, *kept)


@pytest.fixture
def journals(database_kind: str, request: pytest.FixtureRequest) -> Journals:
    """The journal of each database."""
    found: Journals = request.getfixturevalue(f"full_{database_kind}")
    return found


@pytest.fixture
def full_url(journals: Journals, tmp_path: Path) -> Iterator[str]:
    """A copy of it."""
    with journals.copied(tmp_path) as url:
        yield url
