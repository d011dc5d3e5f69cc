"""Making a journal of an export, and of another journal without a file between them."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Final

from casty_es.audit.lines import Line, size_of
from casty_es.audit.opening import opened
from casty_es.audit.transfer.filling import Filling, first_line
from casty_es.audit.transfer.jsonl import read_json_lines
from casty_es.audit.transfer.parquet import read_parquet
from casty_es.audit.transfer.places import Place
from casty_es.audit.transfer.report import TransferReport
from casty_es.audit.transfer.source import MovedError, Source, take_cut
from casty_es.errors import InvalidArgumentError, InvalidValueError, JournalCorruptError, JournalUnavailableError
from casty_es.journal import migrating, schema
from casty_es.journal.port import EventJournal, Meta
from casty_es.journal.restoring import Restoring, restoring

_LINES: Final = 2_000  # between two looks at the event loop
_BYTES: Final = 16 * 1024 * 1024  # likewise; one line may be longer


async def import_journal(
    source: Path, url: str, *, migrate: bool = True, progress: Callable[[int], None] | None = None
) -> TransferReport:
    """Make a journal of what :func:`export_journal` wrote.

    Each record's hash is checked before the record is written. Until the last line is written nothing opens the
    database: if the import is interrupted, the same call goes on. Nobody may use the database meanwhile.

    Parameters
    ----------
    source : Path
        A file of JSON Lines, plain or gzip, or a folder of Parquet files.
    url : str
        Where to: a database that has no records.
    migrate : bool
        Make the tables where there are none, with the number of slots that the journal has.
    progress : Callable[[int], None] | None
        Is told how many records are written.

    Raises
    ------
    InvalidValueError
        The export was changed, is not whole, or is none. The message names the line.
    ConfigurationError
        The database has records, another number of slots, or a part of another import.
    ConflictError
        Another program writes into the database.
    SchemaError
        It has no tables, and ``migrate`` is false.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import mkdtemp
    >>> from casty_es.audit.transfer import export_journal, import_journal
    >>> import asyncio
    >>> from casty_es import InMemoryJournal
    >>> folder = Path(mkdtemp())
    >>> asyncio.run(export_journal(InMemoryJournal(slots=16), folder / "empty.jsonl")).slots
    0
    >>> asyncio.run(import_journal(folder / "empty.jsonl", f"sqlite:///{folder}/copy.db")).records
    0
    """
    started = time.perf_counter()
    lines = await asyncio.to_thread(_lines, source)
    first = await asyncio.to_thread(next, lines, None)
    meta = first_line(None if first is None else first[1])
    assert first is not None  # noqa: S101 - looked at above
    async with _target(url, meta, migrate=migrate) as (database, resumed):
        filling = Filling(database, meta)
        await filling.take(*first)
        while page := await asyncio.to_thread(_page, lines):
            for number, line in page:
                await filling.take(number, line)
            del page, line  # before the next ones are read
            if progress is not None:
                progress(filling.report.records)
        await filling.end()
    filling.report.resumed = resumed
    filling.report.seconds = time.perf_counter() - started
    return filling.report


def _lines(source: Path) -> Iterator[tuple[int, Line]]:
    if not source.exists():
        raise InvalidArgumentError(f"There is no {source}. Nothing was written.")
    return read_parquet(source) if source.is_dir() else read_json_lines(source)


def _page(lines: Iterator[tuple[int, Line]]) -> list[tuple[int, Line]]:
    page, size = [], 0
    for number, line in itertools.islice(lines, _LINES):
        page.append((number, line))
        size += size_of(line)
        if size >= _BYTES:
            break
    return page


async def copy_journal(
    source: str | EventJournal, url: str, *, migrate: bool = True, progress: Callable[[int, int], None] | None = None
) -> TransferReport:
    """Copy a journal, with its whole history, into another database.

    The program may go on, and what it does after the copy began is not copied: end it first if it is to go on with the
    copy. If it is interrupted, the same call goes on.

    Parameters
    ----------
    source : str | EventJournal
        A URL, or a journal; a journal that is not open yet is opened, and stays open.
    url : str
        Where to: a database that has no records.
    migrate : bool
        Make the tables where there are none, with the number of slots that the journal has.
    progress : Callable[[int, int], None] | None
        Is told how many records are written, and how many positions there are.

    Raises
    ------
    ConfigurationError
        The target has records, another number of slots, or a part of another import.
    ConflictError
        Another program writes into the target.
    JournalCorruptError
        The journal was changed by hand, so its chain is broken, or a row of it cannot be read.
    JournalUnavailableError
        A database cannot be reached, or something was cut or redacted while it was copied.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import mkdtemp
    >>> from casty_es.audit.transfer import copy_journal
    >>> import asyncio
    >>> from casty_es import InMemoryJournal
    >>> asyncio.run(copy_journal(InMemoryJournal(), f"sqlite:///{mkdtemp()}/copy.db")).records
    0
    """
    started = time.perf_counter()
    async with opened(source) as (journal, _):
        cut = await take_cut(journal)
        meta = first_line(cut.journal)
        async with _target(url, meta, migrate=migrate) as (database, resumed):
            filling, number = Filling(database, meta), 0
            try:
                async with contextlib.aclosing(Source(journal, cut).pages(Place())) as pages:
                    async for page in pages:
                        for line in page.lines:
                            number += 1
                            await filling.take(number, line)
                        if progress is not None:
                            progress(filling.report.records, cut.records)
            except MovedError as moved:
                raise JournalUnavailableError(
                    f"Something was cut or redacted in slot {moved.slot} while it was copied, so the copy cannot be "
                    f"made complete. Copy again, into a new database, when retention and redaction rest."
                ) from moved
            except InvalidValueError as error:  # what is wrong with a file's line is wrong with the journal here
                raise JournalCorruptError(f"The journal that was to be copied is damaged. {error}") from error
            await filling.end()
    filling.report.resumed = resumed
    filling.report.seconds = time.perf_counter() - started
    return filling.report


@contextlib.asynccontextmanager
async def _target(url: str, meta: Meta, *, migrate: bool) -> AsyncIterator[tuple[Restoring, bool]]:
    """Make the database ready to be filled; tell whether an interrupted run had begun to."""
    if migrate and await asyncio.to_thread(schema.current, url) is None:
        await asyncio.to_thread(migrating.upgrade, url, slots=meta.slots)
    async with restoring(url) as database:
        resumed = await database.begin(meta)
        yield database, resumed
