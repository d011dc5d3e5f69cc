"""A journal with everything in it, written once for each database and copied for each test."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from casty_es.journal.urls import sqlite_file
from tests.emptied import Databases

from .journals import write_all_kinds
from .tampering import Tamperer


def _write(url: str) -> None:
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        runner.run(write_all_kinds(url))


@pytest.fixture(scope="session")
def written_sqlite(small_sqlite: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with everything in it."""
    file = tmp_path_factory.mktemp("written") / "casty.db"
    shutil.copyfile(small_sqlite, file)
    _write(f"sqlite:///{file}")
    return file


@pytest.fixture(scope="session")
def written_postgres(postgres_copies: Databases, small_postgres: str) -> Iterator[str]:
    """The name of a database with everything in it."""
    with postgres_copies.copy_of(small_postgres) as url:
        _write(url)
        yield urlsplit(url).path.removeprefix("/")


@pytest.fixture
def written_url(database_kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A journal of each kind with everything in it."""
    if database_kind == "sqlite":
        url = f"sqlite:///{tmp_path / 'written.db'}"
        shutil.copyfile(request.getfixturevalue("written_sqlite"), sqlite_file(url))
        yield url
        return
    copies: Databases = request.getfixturevalue("postgres_copies")
    with copies.copy_of(request.getfixturevalue("written_postgres")) as url:
        yield url


@pytest.fixture
def tamperer(written_url: str) -> Tamperer:
    """Somebody who may do anything in that journal."""
    return Tamperer(written_url)
