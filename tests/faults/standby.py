"""A Postgres server with an asynchronous standby, which takes over where it is when replication stalls."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from tests.faults.servers import Server, own_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Sql = Callable[..., list[tuple[object, ...]]]

_PATIENCE_SECONDS = 60.0


class Pair:
    """A primary, its standby, and one address at which clients find whoever is the primary.

    The address is a symbolic link to the folder of the primary's socket.
    """

    def __init__(self, first: Server, folder: Path, sql: Sql) -> None:
        self._server = first
        self._folder = folder
        self._sql = sql
        self._number = 0
        self._program = first.program
        self._primary = Path(first.data), first.socket_folder
        self._standby: tuple[Path, Path] | None = None
        self._point(first.socket_folder)

    def url(self, database: str = "postgres") -> str:
        """Return the URL at which the primary is found."""
        return self._url(self._folder / "current", database)

    def _url(self, folder: Path, database: str = "postgres") -> str:
        return urlsplit(self._server.uri)._replace(path=f"/{database}", query=f"host={quote(str(folder))}").geturl()

    def _point(self, folder: Path) -> None:
        link = self._folder / "next"
        link.symlink_to(folder)
        link.replace(self._folder / "current")

    def follow(self) -> None:
        """Make a standby, and wait until it has everything that the primary has."""
        self._number += 1
        data, sockets = self._folder / f"data-{self._number}", self._folder / f"s{self._number}"
        sockets.mkdir()
        sockets.chmod(0o777)
        self._run(
            "pg_basebackup", "-h", str(self._primary[1]), "-U", "postgres", "-D", str(data), "-R", "-c", "fast", "-N"
        )
        self._standby = data, sockets
        self._control(data, "-o", f'-h "" -k {sockets}', "start")
        self._until(
            self._primary[1],
            "SELECT count(*) FROM pg_stat_replication WHERE replay_lsn >= pg_current_wal_lsn()",
            1,
        )

    def caught_up(self) -> None:
        """Wait until the standby has everything that the primary has."""
        self._until(
            self._primary[1],
            "SELECT count(*) FROM pg_stat_replication WHERE replay_lsn >= pg_current_wal_lsn()",
            1,
        )

    def stall(self) -> None:
        """Let nothing more arrive at the standby."""
        assert self._standby is not None
        standby = self._url(self._standby[1])
        self._sql(standby, "ALTER SYSTEM SET primary_conninfo = ''", "SELECT pg_reload_conf()")
        self._until(self._primary[1], "SELECT count(*) FROM pg_stat_replication", 0)

    def promote(self) -> None:
        """Kill the primary, and let the standby take over, at the primary's address."""
        assert self._standby is not None
        old, self._primary, self._standby = self._primary, self._standby, None
        self._control(old[0], "stop", "-m", "immediate")
        self._point(self._primary[1])
        self._control(self._primary[0], "promote")
        if old[0].parent == self._folder:
            shutil.rmtree(old[0])

    def close(self) -> None:
        """Stop what runs."""
        for place in (self._primary, self._standby):
            if place is not None and place[0].parent == self._folder:
                self._control(place[0], "stop", "-m", "immediate")

    def _until(self, folder: Path, question: str, answer: int) -> None:
        give_up_at = time.monotonic() + _PATIENCE_SECONDS
        while self._sql(self._url(folder), question) != [(answer,)]:
            assert time.monotonic() < give_up_at, f"{question} does not become {answer}"
            time.sleep(0.02)  # what is asked is a server, and it sets no event

    def _control(self, data: Path, *arguments: str) -> None:
        self._run("pg_ctl", "-D", str(data), "-w", "-l", str(self._folder / "log"), *arguments)

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [self._program.with_name(program), *arguments],
            user=self._server.system_user,
            check=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=self._folder,
        )


@contextmanager
def pair(sql: Sql) -> Iterator[Pair]:
    """A primary that no other test uses; ``follow`` gives it a standby."""
    folder = Path(tempfile.mkdtemp(prefix="casty-pair-", dir="/tmp"))
    os.chmod(folder, 0o777)  # noqa: S103, PTH101 - the server runs as another user when we are root
    try:
        with own_server() as server:
            both = Pair(server, folder, sql)
            try:
                yield both
            finally:
                both.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
