"""The right to be forgotten: replacing everything that an entity ever held by digests, which cannot be guessed.

The order of the steps, each of which may be the last before a crash (docs/decisions/0016-redaction.md):

1. The owner appends ``entity.redacted``: the entity is empty, and its later events have a fresh salt. The old salt is
   set aside by the same append; as long as it is there, the redaction is not done.
2. An empty snapshot takes the place of the older ones.
3. Payloads and metadata are replaced by their digests under the old salt, some hundred events at a time.
4. The same is done in the archives.
5. The old salt is destroyed.

Whatever is not done yet is found by the salts, and done by the next redaction or by :func:`finish_redactions`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from casty_es.audit.archive import Changeable, read_archive, rewrite_archive
from casty_es.audit.lines import EventLine
from casty_es.audit.links import linked_events
from casty_es.audit.orders import ask_entity
from casty_es.audit.retention.archive_check import refuse_changed_archive
from casty_es.audit.seals import decode_sealed
from casty_es.bounds import MAX_REASON_BYTES
from casty_es.domain.catalog import AnyKind, each_kind, kind_of
from casty_es.domain.upkeep import REDACTED, SEALED, Redact
from casty_es.errors import InvalidArgumentError, JournalCorruptError, NotDoneError
from casty_es.format.chain import UNSALTED, digest
from casty_es.format.codec import encode_state
from casty_es.format.redacted import UNPROVEN, redacted_digest, redacted_text
from casty_es.gateway.port import EntityGateway
from casty_es.journal.damaged import damage_of
from casty_es.journal.maintenance import Maintenance, Value
from casty_es.journal.port import DirectoryRow, EntityName, RecordedEvent, StoredSnapshot
from casty_es.journal.sql import SqlJournal
from casty_es.names import check_text
from casty_es.replay import events, refuse_damaged

__all__ = ["REDACTABLE", "Redaction", "finish_redactions", "redact"]

REDACTABLE: Final[list[str]] = []
"""The kinds that hold values of their users."""


@each_kind
def _take(kind: AnyKind) -> None:
    if Redact in kind.commands:
        REDACTABLE.append(kind.name)


_UPKEEP: Final = {SEALED, REDACTED}
_PAGE: Final = 500


class Redaction(msgspec.Struct, frozen=True):
    """What was done.

    Attributes
    ----------
    kind, name, key : str
        Of what; the key as the journal has it.
    sequence : int
        The event that says so.
    events : int
        How many events lost their values now; those of earlier redactions are not counted.
    archives : tuple[str, ...]
        The archives that were written anew.
    left : tuple[str, ...]
        Archives that were cut from this entity and not given: they still hold its values.
    """

    kind: str
    name: str
    key: str
    sequence: int
    events: int
    archives: tuple[str, ...] = ()
    left: tuple[str, ...] = ()


async def redact(
    gateway: EntityGateway,
    journal: SqlJournal,
    name: EntityName,
    *,
    reason: str,
    archives: Sequence[Path] = (),
    without_archives: bool = False,
    timeout: float = 30.0,  # noqa: ASYNC109 - the gateway's name for it
) -> Redaction:
    """Forget every value that a set, a queue or a key of a map ever held, and everything that its callers said.

    Beside live traffic. Called again after a crash it goes on where that one ended, and redacts nothing twice.

    Parameters
    ----------
    gateway : EntityGateway
        Reaches the owner: a running system, or a client.
    journal : SqlJournal
        The journal, open, with a role that may change events.
    name : EntityName
        The entity; ``EntityName("map", "users", encode_key("alice"))`` for a key of a map.
    reason : str
        Why; the journal keeps it.
    archives : Sequence[Path]
        The archives that have events of the entity; its log names them.
    without_archives : bool
        Leave archives that were not given as they are.
    timeout : float
        How long to wait for the owner, in seconds.

    Raises
    ------
    InvalidArgumentError
        The kind holds no values, the journal has nothing of the entity, or an archive is missing. Nothing was changed.
    JournalCorruptError
        An event of the entity, or one beside it, is not the one that was written, or one of it in an archive not the
        one that was cut; the error names the first such position. Nothing was changed.
    NotDoneError, OutcomeUnknownError
        The owner did not answer in time. Call it again.
    ConfigurationError
        The role may not change events. Nothing was changed.

    Examples
    --------
    >>> from casty_es.audit.redaction import redact
    >>> from casty_es.journal.port import EntityName
    >>> from casty_es.names import encode_key
    >>> people = d.map[str, str]("people")
    >>> await people.put("p-81", "Ann Example")
    >>> done = await redact(system, journal, EntityName("map", "people", encode_key("p-81")), reason="asked on 17 May")
    >>> done.events, await people.get("p-81")
    (1, None)
    """
    if name.kind not in REDACTABLE:
        raise InvalidArgumentError(
            f"A {name.kind} holds no values of its users, so there is nothing to redact. Nothing was changed. Values "
            f"are held by: {', '.join(REDACTABLE)}."
        )
    check_text(reason, "reason", MAX_REASON_BYTES)
    async with journal.alone():
        [stored] = await journal.entities([name])
        if stored is None:
            raise InvalidArgumentError(f"The journal has nothing of {_called(name)}. Nothing was changed.")
        await _refuse_changed(journal, stored.id, archives)
        log = await _Log.read(journal, stored.id, archives)
        log.refuse_missing(without_archives=without_archives)
        await Maintenance(journal).rehearse()
        _, last = await journal.bounds(stored.id)
        if last != stored.salted_from:
            salt = stored.salt or b""
            if not await ask_entity(gateway, journal, name, Redact(reason), salt, timeout=timeout):
                raise NotDoneError(f"The owner of {_called(name)} did not redact it. Nothing was changed.")
        return await _finish(journal, stored.id, archives, log)


async def finish_redactions(
    journal: SqlJournal, *, archives: Sequence[Path] = (), without_archives: bool = False
) -> list[Redaction]:
    """Finish what a crash left: every redaction whose values are not all gone.

    Raises
    ------
    InvalidArgumentError
        An archive is missing. Nothing was changed of the entity that it belongs to.
    JournalCorruptError
        An event is not the one that was written. Nothing was changed of its entity.

    Examples
    --------
    >>> from casty_es.audit.redaction import finish_redactions
    >>> await finish_redactions(journal)
    []
    """
    done: list[Redaction] = []
    async with journal.alone():
        for entity in await Maintenance(journal).unfinished():
            await _refuse_changed(journal, entity, archives)
            log = await _Log.read(journal, entity, archives)
            log.refuse_missing(without_archives=without_archives)
            done.append(await _finish(journal, entity, archives, log))
    return done


async def _refuse_changed(journal: SqlJournal, entity: int, archives: Sequence[Path]) -> None:
    """Refuse an entity with an event that is not the one that was written: afterwards nobody could see what it was."""
    async for _ in linked_events(journal, entity):
        pass
    for file in archives:
        await refuse_changed_archive(journal, file, {entity})


class _Log(msgspec.Struct):
    """What an entity's log, with the archives that were given, says of its redactions and cuts."""

    called: str
    redactions: list[int]  # the sequences of the redactions, in order
    left: tuple[str, ...]  # the archives that hold events of it and were not given

    @classmethod
    async def read(cls, journal: SqlJournal, entity: int, archives: Sequence[Path]) -> _Log:
        """Read both. A seal, or a redaction, may have been cut itself since; then it stands in a later archive."""
        told = [
            (event.type, event.sequence or 0, event.payload)
            async for event in events(journal, entity)
            if event.type in _UPKEEP
        ]
        for file in archives:  # one that cannot be read is refused before anything is changed
            told += await asyncio.to_thread(_told_in, file, entity)
        named = {decode_sealed(text).archive for type_, _, text in told if type_ == SEALED}
        row = await _row(journal, entity)
        redactions = sorted({sequence for type_, sequence, _ in told if type_ == REDACTED})
        return cls(_called(row.entity_name), redactions, tuple(sorted(named - {file.name for file in archives})))

    def refuse_missing(self, *, without_archives: bool) -> None:
        """Refuse to begin without all archives, unless that is wanted."""
        if self.left and not without_archives:
            raise InvalidArgumentError(
                f"Events of {self.called} were cut, and these archives hold them: {', '.join(self.left)}. Nothing was "
                f"changed. Give the files, or say that they shall stay as they are."
            )


def _told_in(file: Path, entity: int) -> list[tuple[str, int, str]]:
    return [
        (event[5], event[4] or 0, event[7])
        for row, event in read_archive(file)
        if row.id == entity and event[5] in _UPKEEP
    ]


async def _row(journal: SqlJournal, entity: int) -> DirectoryRow:
    """Return an entity's row in the directory."""
    for row in await journal.entity_rows([entity]):
        if damage_of(row) is None:
            return row
    raise JournalCorruptError(
        f"A salt was set aside for the entity {entity}, as a redaction does, and the directory has no such row, or one "
        f"that no program writes. Nothing was changed of it. `casty-es verify` says what is wrong."
    )


async def _finish(journal: SqlJournal, entity: int, archives: Sequence[Path], log: _Log) -> Redaction:
    maintenance = Maintenance(journal)
    row = await _row(journal, entity)
    salts = await journal.retired_salts([entity])
    forgetting = _Forgetting(entity, row.salted_from, {salt.through: salt.salt for salt in salts}, log.redactions)
    count = 0
    if salts:
        through = salts[-1].through
        await maintenance.replace_states(entity, _nothing(row.kind, through), time.time_ns() // 1_000)
        values: list[Value] = []
        async for event in events(journal, entity, until=through):
            refuse_damaged(event, "the rest of this redaction")
            value = forgetting.value(event)
            if value is not None:
                values.append(value)
                count += 1
            if len(values) == _PAGE:
                await maintenance.replace_values(entity, values)
                values = []
        await maintenance.replace_values(entity, values)
    rewritten = [file.name for file in archives if await asyncio.to_thread(rewrite_archive, file, forgetting.line)]
    if salts:
        await maintenance.destroy_salts(entity, salts[-1].through)
    return Redaction(*row.entity_name, row.salted_from, count, tuple(rewritten), log.left)


class _Forgetting:
    """Replaces what an entity held up to its last redaction."""

    def __init__(self, entity: int, through: int, salts: dict[int, bytes], redactions: list[int]) -> None:
        self._entity = entity
        self._through = through  # the sequence of that redaction
        self._salts = salts  # the salts that are not destroyed yet, by the redaction that set each aside
        self._redactions = sorted({*redactions, *salts})  # all redactions that are known of

    def line(self, line: Changeable) -> Changeable:
        """Return a line of an archive without the entity's values."""
        if not isinstance(line, EventLine) or line.entity != self._entity:
            return line
        value = self.value(RecordedEvent(*line.to_row()))
        return line if value is None else msgspec.structs.replace(line, payload=value[1], metadata=value[2])

    def value(self, event: RecordedEvent) -> Value | None:
        """Return what takes the place of an event's payload and metadata; ``None`` where they stay."""
        sequence = event.sequence or 0
        if sequence > self._through or event.type in UNSALTED:
            return None
        by = next((one for one in self._redactions if one >= sequence), 0)
        payload = self._replaced(by, event.payload)
        metadata = None if event.metadata is None else self._replaced(by, event.metadata)
        return None if (payload, metadata) == (event.payload, event.metadata) else (sequence, payload, metadata)

    def _replaced(self, by: int, text: str) -> str:
        """Return the digest under the salt that one redaction set aside; without that salt, one that proves nothing."""
        if redacted_digest(text) is not None:
            return text
        salt = self._salts.get(by)
        return redacted_text(UNPROVEN if salt is None else digest(salt, text))


def _nothing(kind: str, sequence: int) -> StoredSnapshot:
    """Return the snapshot of an entity that holds nothing."""
    found = kind_of(kind)
    return StoredSnapshot(sequence, encode_state(found, found.initial), found.state_version)


def _called(name: EntityName) -> str:
    return f"the {name.kind} {name.name!r}" + (f", key {name.key[2:]!r}" if name.key else "")
