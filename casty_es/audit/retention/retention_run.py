"""A run of retention: archive first, then cut behind a snapshot, beside live traffic.

The order of the steps, each of which may be the last before a crash (docs/decisions/0017-seals.md):

1. The events of many entities are checked by the chain, and go into one archive, which is brought to the disk and read
   back. Until the last of them
   is cut its name ends in ``.open``; what a crash leaves so is put right by the next run (``settling.py``).
2. For each entity, a snapshot stands at the last event that goes.
3. Its owner appends ``entity.sealed``. A seal that nothing names changes nothing: after a crash here the next run
   makes an archive and a seal anew.
4. The rows of ``casty_seals`` are written, all in one transaction.
5. The older snapshots are deleted, then the events, some hundred at a time. After a crash here the next run goes on.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Final, cast

import msgspec

from casty_es.audit.archive import ArchiveWriter, opened, read_archive
from casty_es.audit.lines import event_line
from casty_es.audit.links import linked_events
from casty_es.audit.orders import ask_entity
from casty_es.audit.retention.cut_state import Folded, wrong_snapshot
from casty_es.audit.retention.cutting import Cut, Runs, plan_cut, sealed_rows
from casty_es.audit.retention.policy import Keep, policies
from casty_es.audit.retention.proving import unfinished_cut
from casty_es.audit.retention.settling import settle_archives
from casty_es.audit.seals import decode_sealed, state_digest
from casty_es.domain.catalog import kind_of
from casty_es.domain.upkeep import SEALED, Seal
from casty_es.errors import InvalidArgumentError, InvalidValueError, JournalCorruptError
from casty_es.format.codec import encode_state
from casty_es.gateway.port import EntityGateway
from casty_es.journal.database_clock import database_clock
from casty_es.journal.maintenance import Maintenance
from casty_es.journal.port import DirectoryRow, EventRow, StoredSnapshot
from casty_es.journal.sql import SqlJournal
from casty_es.replay import entities_of, read_event, refuse_damaged, slots_ahead, state_at, told_ahead

_PAGE: Final = 1_000
_EVENTS_PER_ARCHIVE: Final = 50_000
_DELETED_AT_A_TIME: Final = 500
_SEAL_SECONDS: Final = 30.0


class Retained(msgspec.Struct):
    """What a run did.

    Attributes
    ----------
    entities, events : int
        Of how many entities it cut how many events.
    archives : list[str]
        The archives that it wrote.
    notes : list[str]
        What it kept although it may be old enough to go, and why.
    """

    entities: int = 0
    events: int = 0
    archives: list[str] = []
    notes: list[str] = []


async def run_retention(
    gateway: EntityGateway,
    journal: SqlJournal,
    folder: Path,
    *,
    pace: float = 1.0,
    now: datetime | None = None,
    progress: Callable[[int], None] | None = None,
) -> Retained:
    """Archive and cut what the policies of the structures do not keep.

    Parameters
    ----------
    gateway : EntityGateway
        Reaches the owners: a running system, or a client.
    journal : SqlJournal
        The journal, open, with a role that may change events.
    folder : Path
        Where the archives go. Without them the history behind a cut is gone: keep them.
    pace : float
        How long to rest after each transaction, in times of what it took: 1 leaves live traffic every other moment, 0
        goes on at once.
    now : datetime | None
        What ages are counted from. When it is not given, this host's clock or the database's, whichever is behind.
    progress : Callable[[int], None] | None
        Is told how many events were cut since it was told last.

    Raises
    ------
    InvalidArgumentError
        The folder is none.
    InvalidValueError
        An archive could not be written. Nothing of it was cut.
    JournalCorruptError
        What is to be cut is not what was written there; the error names the first such position. Nothing of that
        archive was cut.
    NotDoneError, OutcomeUnknownError
        An owner did not answer. What was cut is cut; run it again.

    Examples
    --------
    >>> import tempfile
    >>> from casty_es.audit.retention import run_retention, set_retention
    >>> for _ in range(5):
    ...     _ = await d.counter("clicks").increment()
    >>> await set_retention(journal, "counter", "clicks", 2)
    >>> done = await run_retention(system, journal, Path(tempfile.mkdtemp()))
    >>> done.events, await d.counter("clicks").get()
    (3, 5)
    """
    if not await asyncio.to_thread(folder.is_dir):
        raise InvalidArgumentError(f"{folder} is not a folder. Nothing was cut. Make it, or name another.")
    if now is None:  # of two clocks, the one that cuts less
        moment = min(time.time_ns() // 1_000, await database_clock(journal))
    else:
        moment = round(now.timestamp() * 1_000_000)
    run = _Run(gateway, journal, folder, pace, moment, progress)
    async with journal.alone():
        await Maintenance(journal).rehearse()
        await settle_archives(journal, folder)
        batch: list[tuple[Cut, Keep]] = []
        events = 0
        async for entity, keep in _entities(journal):
            await run.finish(entity)
            cut = await plan_cut(journal, entity, keep, moment)
            if cut is not None:
                batch.append((cut, keep))
                events += cut.events
            if events >= _EVENTS_PER_ARCHIVE:
                await run.cut_all(batch)
                batch, events = [], 0
        await run.cut_all(batch)
    run.retained.notes += await _kept(journal)
    return run.retained


async def _kept(journal: SqlJournal) -> list[str]:
    """Return what is kept for a time that has not come yet."""
    if not any(isinstance(keep, timedelta) for keep in (await policies(journal)).values()):
        return []
    ahead = await slots_ahead(journal, range((await journal.open()).slots))
    why = (
        "What is kept by its age is kept there until those have come and gone by. Keep a number of events instead, if "
        "that is too long."
    )
    return [f"{told_ahead(ahead)}. {why}"] if ahead else []


async def _entities(journal: SqlJournal) -> AsyncIterator[tuple[DirectoryRow, Keep]]:
    """Yield the entities of all structures that have a policy."""
    for (kind, name), keep in (await policies(journal)).items():
        async for page in entities_of(journal, kind, name):
            for row in page:
                yield row, keep


def _hashes_in(file: Path) -> bytes:
    """Return a digest over the hashes of an archive's events."""
    whole = sha256()
    for _, row in read_archive(file):
        whole.update(row[12])
    return whole.digest()


class _Run:
    """The run, and what it has done."""

    def __init__(
        self,
        gateway: EntityGateway,
        journal: SqlJournal,
        folder: Path,
        pace: float,
        now: int,
        progress: Callable[[int], None] | None,
    ) -> None:
        self._gateway = gateway
        self._journal = journal
        self._maintenance = Maintenance(journal)
        self._folder = folder
        self._pace = pace
        self._now = now
        self._progress = progress
        self.retained = Retained()

    async def finish(self, entity: DirectoryRow) -> None:
        """Delete what an interrupted run had sealed and not deleted."""
        if through := await unfinished_cut(self._journal, entity):
            await self._delete(entity, through)

    async def cut_all(self, batch: list[tuple[Cut, Keep]]) -> None:
        """Make these cuts, and those that are left of entities of which one seal does not cover all."""
        while batch:
            await self._archive_and_cut([cut for cut, _ in batch])
            more = [
                (await plan_cut(self._journal, cut.entity, keep, self._now), keep) for cut, keep in batch if cut.limited
            ]
            batch = [(cut, keep) for cut, keep in more if cut is not None]

    async def _archive_and_cut(self, cuts: list[Cut]) -> None:
        file = self._folder / f"casty-{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}.jsonl.gz"
        digest = await self._archive(file, cuts)
        self.retained.archives.append(file.name)
        for cut in cuts:
            await self._cut(cut, file.name, digest)
            self.retained.entities += 1
            self.retained.events += cut.events
            if self._progress is not None:
                self._progress(cut.events)
        await asyncio.to_thread(opened(file).rename, file)

    async def _archive(self, file: Path, cuts: list[Cut]) -> str:
        """Write the events that go, note where they stood, and read the archive back."""
        writer = ArchiveWriter(opened(file), await self._journal.open())
        written = sha256()
        try:
            for cut in cuts:
                writer.entity(cut.entity)
                runs, folded = Runs(cut.entity), await Folded.begin(self._journal, cut)
                async for event, before in linked_events(
                    self._journal, cut.entity.id, after=cut.first - 1, until=cut.through
                ):
                    refuse_damaged(event, "this cut")
                    writer.line(event_line(cast("EventRow", msgspec.structs.astuple(event))))
                    written.update(event.hash)
                    runs.add(event, before)
                    await folded.add(event)
                cut.rows, cut.state = runs.rows, folded.digest(cut.through)
            digest = await asyncio.to_thread(writer.finish)
        except BaseException:
            writer.abandon()
            raise
        if await asyncio.to_thread(_hashes_in, opened(file)) != written.digest():
            raise InvalidValueError(f"The archive {file} does not hold what was written into it. Nothing was cut.")
        return digest

    async def _cut(self, cut: Cut, archive: str, archive_sha256: str) -> None:
        entity, through = cut.entity, cut.through
        base = await self._base(cut)
        everything, rows = await sealed_rows(self._journal, cut)
        state = state_digest(entity.salt or b"", base.state)
        seal = Seal(through, cut.events, rows, state, archive, archive_sha256)
        salt = entity.salt or b""
        await ask_entity(self._gateway, self._journal, entity.entity_name, seal, salt, timeout=_SEAL_SECONDS)
        sequence = await self._sealed(cut, seal)
        named = [row._replace(sealed_by=sequence) for row in cut.rows]
        await self._maintenance.seal(entity.slot, named, sealed_by=sequence if everything else None)
        await self._delete(entity, through)

    async def _base(self, cut: Cut) -> StoredSnapshot:
        """Have a snapshot stand at the last event that goes."""
        entity, kind = cut.entity, kind_of(cut.entity.kind)
        if cut.through == entity.salted_from:
            base = StoredSnapshot(cut.through, encode_state(kind, kind.initial), kind.state_version)
        else:
            # From the event before, so that a snapshot that stands here is not believed but compared.
            state = await state_at(self._journal, entity.id, kind, cut.through - 1)
            page = await self._journal.history(entity.id, after=cut.through - 1, limit=1)
            for last in page:
                state = kind.evolve(state, read_event(last))
            text = encode_state(kind, state)
            base = StoredSnapshot(cut.through, text, kind.state_version)
            if sha256(text.encode()).digest() != cut.state:
                raise wrong_snapshot(entity, cut.through)
            await self._journal.save_snapshot(entity.id, base, cut.rows[-1].hash, time.time_ns() // 1_000)
        there = await self._journal.snapshot_before(entity.id, cut.through)
        if there != base:
            raise wrong_snapshot(entity, cut.through)
        return base

    async def _sealed(self, cut: Cut, seal: Seal) -> int:
        """Find the seal's event: the newest one of the entity that says what was asked for."""
        _, last = await self._journal.bounds(cut.entity.id)
        wanted = seal.sealed()
        while last > cut.through:
            page = await self._journal.history(cut.entity.id, after=max(cut.through, last - _PAGE), limit=_PAGE)
            for event in reversed(page):
                if event.type == SEALED and decode_sealed(event.payload) == wanted:
                    return event.sequence or 0
            last -= _PAGE
        raise JournalCorruptError(
            f"The seal of the {cut.entity.kind} {cut.entity.name!r} is not in its log, although its owner confirmed "
            f"it. Nothing was cut. Verify the journal with `casty-es verify`."
        )

    async def _delete(self, entity: DirectoryRow, through: int) -> None:
        await self._maintenance.drop_snapshots(entity.id, through)  # before the events that they stand for
        while True:
            begin = time.perf_counter()
            deleted = await self._maintenance.cut(entity.id, through, limit=_DELETED_AT_A_TIME)
            await asyncio.sleep((time.perf_counter() - begin) * self._pace)
            if deleted < _DELETED_AT_A_TIME:
                break
