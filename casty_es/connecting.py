"""``connect``: a node for a program that wants nothing but the structures of a journal."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager
from ssl import SSLContext
from types import TracebackType
from typing import NoReturn

from casty_es.config import Settings
from casty_es.errors import UsageError
from casty_es.handles.distributed import Distributed
from casty_es.journal import schema
from casty_es.journal.sql import SqlJournal
from casty_es.node import ClusteredActorSystem

__all__ = ["connect"]


def connect(
    url: str,
    *,
    host: str | None = None,
    port: int | None = None,
    advertise: str | tuple[str, int] | None = None,
    ssl: tuple[SSLContext, SSLContext] | None = None,
    settings: Settings | None = None,
    unsafe_durability: bool = False,
) -> AbstractAsyncContextManager[Distributed]:
    """Open a journal and return the structures recorded in it, with ``async with``.

    An SQLite file is made and migrated when it needs to be. On Postgres nothing is ever created: run
    ``casty-es db upgrade`` or ``alembic upgrade head`` once.

    The process is a node, which others have to reach. Where nothing is said of it, it listens at the address of this
    host that the connection to Postgres shows, or beside the SQLite file.

    Parameters
    ----------
    url : str
        ``sqlite:///casty.db`` or ``postgresql://user:password@host/database``.
    host, port : str | None, int | None
        Where this process listens for other nodes; ``CASTY_ES_HOST`` and ``CASTY_ES_PORT`` when they are not given, and
        else as said above, at a free port. ``"127.0.0.1"`` for processes of one host alone.
    advertise : str | tuple[str, int] | None
        The host, or host and port, at which others reach it, when that is another; ``CASTY_ES_ADVERTISE`` when it is
        not given. As a text, ``HOST`` or ``HOST:PORT``.
    ssl : tuple[SSLContext, SSLContext] | None
        TLS contexts for the connections that come in and for those that go out.
    settings : Settings | None
        How the system behaves.
    unsafe_durability : bool
        Accept a database that may lose what it acknowledged.

    Raises
    ------
    InvalidTypeError, InvalidArgumentError
        The URL, or an address, cannot be used.
    ConfigurationError
        Nobody can listen there, or nobody could reach it there.
    JournalUnavailableError
        The database cannot be reached or the file not be opened.
    SchemaError
        The journal's tables are missing, too old, or newer than this code.
    UnsafeDurabilityError
        The database may lose what it acknowledged.

    Examples
    --------
    >>> import asyncio, tempfile
    >>> async def main(folder: str) -> int:
    ...     async with connect(f"sqlite:///{folder}/casty.db") as d:
    ...         return await d.counter("page-views").increment(5)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     asyncio.run(main(folder))
    5
    """
    journal = SqlJournal(url, unsafe_durability=unsafe_durability)
    return _Connection(
        journal,
        ClusteredActorSystem(journal=journal, host=host, port=port, advertise=advertise, ssl=ssl, settings=settings),
    )


class _Connection(AbstractAsyncContextManager[Distributed]):
    """A system that is opened when it is entered, and gives its structures."""

    def __init__(self, journal: SqlJournal, system: ClusteredActorSystem) -> None:
        self._journal = journal
        self._system = system

    async def __aenter__(self) -> Distributed:
        if self._journal.file is not None:
            await asyncio.to_thread(_migrate_file, self._journal.url)
        await self._system.__aenter__()
        return self._system.distributed()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._system.__aexit__(kind, error, traceback)

    def __getattr__(self, name: str) -> NoReturn:
        """Tell who has forgotten to enter it; whoever only looks for a name is answered as always."""
        if name.startswith("_") or not hasattr(Distributed, name):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}", name=name, obj=self)
        raise UsageError(
            f"The journal is not open, so {name} cannot be used. Nothing was done. Write "
            f"`async with connect(url) as d:` and use d inside."
        )


def _migrate_file(url: str) -> None:
    if schema.current(url) != schema.EXPECTED_REVISION:
        from casty_es.journal import migrating  # noqa: PLC0415 - alembic is slow to import, and rarely needed

        migrating.upgrade(url)  # refuses a file that is newer than this code
