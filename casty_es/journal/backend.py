"""What ``SqlJournal`` asks of a database: append, read, write. What differs between databases is here."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from casty_es.journal.port import Append
from casty_es.journal.sqlite_connection import OpenFiles
from casty_es.journal.statements import Statements


class Backend(Protocol):
    """One database, opened by ``open``."""

    statements: Statements

    async def open(self) -> None:
        """Connect, and refuse settings that could lose acknowledged commits."""

    async def open_files(self) -> OpenFiles | None:
        """Return the files that are open, after looking whether they are those at the path; ``None`` for a server."""

    async def close(self) -> None:
        """Close every connection."""

    async def append(self, append: Append) -> None:
        """Write an append: see ``EventJournal.append``."""

    async def read(self, statement: str, *parameters: object) -> Sequence[Sequence[Any]]:
        """Run a query over committed records, with no transaction left open."""

    async def write(self, statement: str, *parameters: object) -> Sequence[Sequence[Any]]:
        """Run a statement other than an append and commit it."""

    async def maintain(self, steps: Sequence[tuple[str, tuple[Any, ...]]]) -> list[Sequence[Sequence[Any]]]:
        """Run statements in one transaction in which events may be changed and deleted; return the rows of each."""

    def alone(self) -> AbstractAsyncContextManager[bool]:
        """Yield whether this is now the one process that maintains the database."""

    async def vacuum(self, *, full: bool) -> None:
        """Give back the space of what was deleted or replaced; ``full`` wipes its last byte, and locks the tables."""

    def abandon_after_fork(self) -> None:
        """In a forked child: let go of what was inherited, without a word to anybody."""
