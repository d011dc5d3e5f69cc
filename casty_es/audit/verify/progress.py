"""The file with which a verification is taken up again: which slots are done, and where each of them ended.

It is read as data and checked like any other input: what it says of slots that are done must fit the journal, or it is
refused. Whoever can write it can say that a slot was done, so keep it where the journal's writers cannot.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from pathlib import Path
from typing import Final

import msgspec

from casty_es.audit.verify.beside import Stand, look
from casty_es.audit.verify.findings import SlotResult
from casty_es.audit.verify.whole import digest_of
from casty_es.errors import ConfigurationError, JournalUnavailableError
from casty_es.journal.port import EMPTY_SLOT, EventJournal, Head, Meta
from casty_es.journal.sql import SqlJournal
from casty_es.printing import log_of
from casty_es.private_files import replace

_LOG: Final = log_of("casty_es.verify")

_FORMAT: Final = "casty_es verify 1"
_SAVE_SECONDS: Final = 1.0  # what an interrupted one walks again costs less than to write all down after each slot


class _State(msgspec.Struct, forbid_unknown_fields=True):
    format: str
    slots: int
    created_at: int
    complete: bool
    done: dict[int, SlotResult]
    structures: bytes = b""  # a digest, of when it was begun
    file: bytes = b""  # a digest of SQLite's file, in which nothing was wrong
    tables: bytes = b""  # a digest of what stands beside the records in Postgres, when nothing was wrong


class Progress:
    """What is done, in a file or nowhere."""

    def __init__(self, file: Path | None, meta: Meta) -> None:
        self._file = file
        self._state = _State(_FORMAT, meta.slots, meta.created_at, complete=False, done={})
        self.done: dict[int, SlotResult] = {}  # the slots that an interrupted verification had done
        # Where the slots of a complete one ended that had nothing wrong: only what came since is looked at.
        self.starts: dict[int, Head] = {}
        # Whether SQLite's file is, to the last byte, the one that a complete verification found in order.
        self.same_file = False
        self._file_now = b""
        self._walked = False
        self._earlier: dict[int, SlotResult] = {}  # what a complete one found, and what stood beside the records
        self._beside = Stand({}, b"")
        self._tables_now = b""
        self._saved_at = 0.0

    async def load(self, journal: EventJournal) -> None:
        """Read the file, if it is there, and begin the next one; refuse one of another journal, or that is none."""
        if self._file is None:
            return
        state = self._read() if self._file.exists() else None
        self._file_now = await _file_digest(journal)
        self.same_file = state is not None and state.complete and bool(self._file_now) and state.file == self._file_now
        if state is not None:
            await self._take_up(state, journal)

    def _read(self) -> _State:
        assert self._file is not None  # noqa: S101 - asked by load
        try:
            state = msgspec.json.decode(self._file.read_bytes(), type=_State)
        except msgspec.MsgspecError as error:
            raise self._refused(f"it is not what a verification writes ({error})") from error
        if state.format != _FORMAT:
            raise self._refused(f"its format is {state.format[:40]!r}, not {_FORMAT!r}")
        if (state.slots, state.created_at) != (self._state.slots, self._state.created_at):
            raise self._refused("it was written for another journal")
        return state

    async def _take_up(self, state: _State, journal: EventJournal) -> None:
        """Check that what a file says fits the journal, and begin there."""
        # The last record of each is still there, or it speaks of another journal, or of one that was changed since.
        ends = {
            (slot, result.position) for slot, result in state.done.items() if result.position and not result.findings
        }
        there = await journal.hashes(ends)
        for slot, result in state.done.items():
            if slot != result.slot or not 0 <= slot < state.slots:
                raise self._refused(f"it speaks of a slot {slot} that is not there")
            if (slot, result.position) in ends and there.get((slot, result.position)) != result.hash:
                raise self._refused(
                    f"slot {slot} has no record with that hash at position {result.position}: if retention did not cut "
                    f"it, somebody changed the journal"
                )
        if state.complete:
            self.starts = {
                slot: Head(result.position, result.hash, result.epoch, result.recorded_at)
                for slot, result in state.done.items()
                if not result.findings
            }
            beside = {slot: result.beside for slot, result in state.done.items()}
            self._earlier, self._beside = state.done, Stand(beside, state.structures, state.tables)
        else:
            self.done, self._state.structures = state.done, state.structures
            self._state.done.update(state.done)

    def start(self, slot: int) -> Head:
        """Return the record behind which a slot is to be verified."""
        return self.starts.get(slot, EMPTY_SLOT)

    async def unchanged(self, journal: EventJournal, slots: Collection[int]) -> list[SlotResult]:
        """Return what is known of the slots that are, with all beside them, as an earlier run found them."""
        if self._file is None or self.done:
            return []
        asked = sorted(self.starts.keys() & set(slots))
        heads = await journal.heads(asked) if asked else {}
        same = [self._earlier[slot] for slot, head in heads.items() if _as_it_was(self._earlier[slot], head)]
        now = self._beside
        if not self.same_file:
            there = await look(journal, [result.slot for result in same], now.tables)
            self._tables_now = there.tables
            now = there if not now.tables or there.tables != now.tables else now
        for result in same:
            if result.beside and result.beside != now.slots[result.slot]:
                # The records of before say what must stand beside them: they are walked once more.
                self.starts.pop(result.slot, None)
        self._state.structures = now.structures
        if now.structures != self._beside.structures:  # an entity may belong in another slot now
            return []
        found = [
            msgspec.structs.replace(result, records=0, snapshots=0, unread_snapshots=0, unbound_snapshots=0)
            for result in same
            if result.beside == now.slots[result.slot]
        ]
        self._state.done.update({result.slot: result for result in found})
        return found

    def finished(self, result: SlotResult) -> None:
        """Note a slot that is done."""
        self._state.done[result.slot] = result
        self._walked = True
        if time.monotonic() - self._saved_at > _SAVE_SECONDS:
            self._save()

    async def complete(self, journal: EventJournal, *, ok: bool) -> None:
        """Note that all slots are done, and whether all was well: whoever takes it up now begins where they end."""
        self._state.complete = True
        # What was written meanwhile was not looked at, or not by all checks; nor what an interrupted one had done.
        same = ok and not self.done and (not self._walked or await _file_digest(journal) == self._file_now)
        self._state.file = self._file_now if same else b""
        self._state.tables = await self._tables(journal) if ok and not self.done else b""
        self._save()

    async def _tables(self, journal: EventJournal) -> bytes:
        """Return a digest of the tables if they are known to hold what was looked at."""
        if not self._walked or not isinstance(journal, SqlJournal) or journal.file is not None:
            return self._tables_now
        if self._file is None or self.starts:  # what came since an earlier one is looked at by itself
            return b""
        try:
            now = await look(journal, self._state.done)
        except JournalUnavailableError as error:  # all was looked at, and is told
            _LOG.warning("The next verification that is taken up looks at all entities: %s", error)
            return b""
        beside = {slot: result.beside for slot, result in self._state.done.items()}
        return now.tables if (now.slots, now.structures) == (beside, self._state.structures) else b""

    def _save(self) -> None:
        if self._file is not None:
            replace(self._file, msgspec.json.encode(self._state))
            self._saved_at = time.monotonic()

    def _refused(self, why: str) -> ConfigurationError:
        return ConfigurationError(
            f"The file {self._file} cannot be taken up: {why}. Nothing was verified. Remove it, or name another, to "
            f"verify everything from the beginning."
        )


async def _file_digest(journal: EventJournal) -> bytes:
    file = journal.file if isinstance(journal, SqlJournal) else None
    return b"" if file is None else await digest_of(file)


def _as_it_was(earlier: SlotResult, head: Head) -> bool:
    """Return whether a slot ends where it did, and nothing that was under way then may have been finished since."""
    return (head.position, head.hash) == (earlier.position, earlier.hash) and not earlier.unfinished_redactions
