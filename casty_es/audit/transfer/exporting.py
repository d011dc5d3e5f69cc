"""Writing a journal into a file or a folder, so that a crash loses a chunk at most and leaves no half file behind."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeAlias

from casty_es.audit.opening import opened
from casty_es.audit.transfer.export_state import Progress, State, Written
from casty_es.audit.transfer.jsonl import JsonLinesWriter
from casty_es.audit.transfer.parquet import ParquetWriter
from casty_es.audit.transfer.places import Filter, Place
from casty_es.audit.transfer.report import TransferReport
from casty_es.audit.transfer.source import MovedError, Source, take_cut
from casty_es.background import looked_at
from casty_es.errors import InvalidArgumentError, InvalidValueError, JournalUnavailableError
from casty_es.journal.port import EventJournal, Meta

_TRIES: Final = 8  # of one slot, while retention or redaction goes on in it


_Writer: TypeAlias = JsonLinesWriter | ParquetWriter


async def export_journal(
    journal: str | EventJournal,
    target: Path,
    *,
    wanted: Filter | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> TransferReport:
    """Write a journal into a file of JSON Lines or a folder of Parquet files.

    The program may go on: the export is of the moment when it began. A slot in which something was cut or redacted
    meanwhile goes up to that. If it is interrupted, the same call goes on, and the result is the same to the last byte.
    Until it is complete it is called ``NAME.part``.

    Parameters
    ----------
    journal : str | EventJournal
        A URL, or a journal; a journal that is not open yet is opened, and stays open.
    target : Path
        What to write: ``.jsonl``, ``.jsonl.gz``, or ``.parquet``, which will be a folder and takes the package pyarrow
        (``pip install 'casty-es[parquet]'``). It must not be there.
    wanted : Filter | None
        Only these events, without salts and snapshots: to be looked at, and not to be imported.
    progress : Callable[[int, int], None] | None
        Is told how many records are written, and how many positions there are.

    Raises
    ------
    ConfigurationError
        The interrupted export at this place is of another journal, or pyarrow is not installed.
    InvalidArgumentError
        The target is there, or its name says nothing about its format.
    JournalUnavailableError
        The database cannot be read.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import mkdtemp
    >>> from casty_es.audit.transfer import export_journal
    >>> import asyncio
    >>> from casty_es import InMemoryJournal
    >>> asyncio.run(export_journal(InMemoryJournal(), Path(mkdtemp()) / "empty.jsonl")).records
    0
    """
    started = time.perf_counter()
    writer = _writer(target)
    async with opened(journal) as (source, meta):
        export = _Export(source, writer, Progress(target), progress)
        try:
            report = await export.run(meta, target.suffix, wanted)
        except OSError as error:
            raise InvalidValueError(
                f"{target} cannot be written: {error}. What was written is kept as {target}.part: mend the cause, and "
                f"the same command goes on."
            ) from error
    report.seconds = time.perf_counter() - started
    return report


def _writer(target: Path) -> _Writer:
    if target.exists():
        raise InvalidArgumentError(f"{target} is there already. Nothing was written. Export to another name.")
    if not target.parent.is_dir():
        raise InvalidArgumentError(f"There is no folder {target.parent}. Nothing was written.")
    if target.suffix == ".parquet":
        return ParquetWriter(target)
    if target.name.endswith((".jsonl", ".jsonl.gz")):
        return JsonLinesWriter(target)
    raise InvalidArgumentError(
        f"The name {target.name!r} does not say what to write. Nothing was written. End it with .jsonl, .jsonl.gz or "
        f".parquet."
    )


class _Export:
    """One export."""

    def __init__(
        self, journal: EventJournal, writer: _Writer, progress: Progress, tell: Callable[[int, int], None] | None
    ) -> None:
        self._journal = journal
        self._writer = writer
        self._progress = progress
        self._tell = tell
        self._flushing: asyncio.Task[None] | None = None

    async def run(self, meta: Meta, output: str, wanted: Filter | None) -> TransferReport:
        state = self._progress.load(meta, output, wanted)
        resumed = state is not None
        if state is None or self._writer.there < state.written.size:
            state = State(await take_cut(self._journal, wanted), output)
            self._progress.save(state)
        self._writer.open(state.written.size)
        source, tries = Source(self._journal, state.cut), Counter[int]()
        while True:
            try:
                await self._write(source, state)
                break
            except MovedError as moved:
                await self._settle()
                tries[moved.slot] += 1
                if tries[moved.slot] >= _TRIES:
                    raise JournalUnavailableError(
                        f"Something was cut or redacted in slot {moved.slot} each of {_TRIES} times that it was read. "
                        f"The export is not complete; the same command goes on. Let retention and redaction rest until "
                        f"it has."
                    ) from moved
                await source.extend(moved.slot)
                state.cut, state.written = source.cut, state.before
                self._progress.save(state)
                self._writer.open(state.written.size)
            finally:
                await self._settle()
        await asyncio.to_thread(self._writer.finish)
        self._progress.remove()
        place = state.written.place
        counts = place.slots, place.records, place.entities, place.snapshots, place.seals
        return TransferReport(*counts, resumed=resumed, damaged=place.damaged)

    async def _write(self, source: Source, state: State) -> None:
        slot, place = state.written.place.slot, state.written.place
        async with contextlib.aclosing(source.pages(place)) as pages:
            async for page in pages:
                if page.place.slot != slot:
                    await self._settle()
                    slot, state.before = page.place.slot, state.written
                self._writer.add(page.lines)
                place = page.place
                if self._writer.due:
                    await self._flush(state, place)
                if self._tell is not None:
                    self._tell(place.records, source.cut.records)
        await self._flush(state, place)
        await self._settle()

    async def _flush(self, state: State, place: Place) -> None:
        """Have what was taken so far written in a thread, while the next pages are read."""
        await self._settle()
        chunk: Any = self._writer.take()  # what its own write takes

        def write() -> None:
            state.written = Written(self._writer.write(chunk), place)
            self._progress.save(state)

        self._flushing = asyncio.create_task(asyncio.to_thread(write), name="casty-export-write")
        self._flushing.add_done_callback(looked_at)  # an export that fails elsewhere does not wait for it

    async def _settle(self) -> None:
        """Wait until what was handed to the thread is written."""
        flushing, self._flushing = self._flushing, None
        if flushing is not None:
            await flushing
