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

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from casty_es.audit.archive import read_archive, rewrite_archive
from casty_es.audit.asking import ask_entity
from casty_es.audit.lines import EventLine
from casty_es.codec import encode_state
from casty_es.domain.catalog import CATALOG
from casty_es.domain.upkeep import SEALED, Redact, Sealed
from casty_es.errors import InvalidArgumentError, NotDoneError
from casty_es.gateway.port import EntityGateway
from casty_es.journal.chain import UNSALTED, digest
from casty_es.journal.maintenance import Maintenance, Value
from casty_es.journal.port import EntityName, RecordedEvent, RetiredSalt, StoredSnapshot
from casty_es.journal.sql import SqlJournal
from casty_es.names import check_text
from casty_es.redacted import redacted_digest, redacted_text
from casty_es.replay import events

__all__ = ["REDACTABLE", "Redaction", "finish_redactions", "redact", "redact_archive"]

REDACTABLE: Final = tuple(name for name, kind in CATALOG.items() if Redact in kind.commands)
"""The kinds that hold values of their users."""

_PAGE: Final = 500
_LONGEST_REASON: Final = 1_000


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
    check_text(reason, "reason", _LONGEST_REASON)
    [stored] = await journal.entities([name])
    if stored is None:
        raise InvalidArgumentError(f"The journal has nothing of {_called(name)}. Nothing was changed.")
    left = await _left(journal, stored.id, archives)
    if left and not without_archives:
        raise InvalidArgumentError(
            f"Events of {_called(name)} were cut, and these archives hold them: {', '.join(left)}. Nothing was "
            f"changed. Give the files, or say that they shall stay as they are."
        )
    await Maintenance(journal).rehearse()
    _, last = await journal.bounds(stored.id)
    if last != stored.salted_from and not await ask_entity(gateway, journal, name, Redact(reason), timeout=timeout):
        raise NotDoneError(f"The owner of {_called(name)} did not redact it. Nothing was changed.")
    return await _finish(journal, stored.id, archives, left)


async def finish_redactions(journal: SqlJournal, *, archives: Sequence[Path] = ()) -> list[Redaction]:
    """Finish what a crash left: every redaction whose values are not all gone.

    Examples
    --------
    >>> from casty_es.audit.redaction import finish_redactions
    >>> await finish_redactions(journal)
    []
    """
    return [
        await _finish(journal, entity, archives, await _left(journal, entity, archives))
        for entity in await Maintenance(journal).unfinished()
    ]


async def _finish(journal: SqlJournal, entity: int, archives: Sequence[Path], left: tuple[str, ...]) -> Redaction:
    maintenance = Maintenance(journal)
    [row] = await journal.entity_rows([entity])
    salts = await journal.retired_salts([entity])
    count, rewritten = 0, []
    if salts:
        through = salts[-1].through
        await maintenance.replace_states(entity, _nothing(row.kind, through), time.time_ns() // 1_000)
        values: list[Value] = []
        async for event in events(journal, entity, until=through):
            value = _forgotten(event, salts)
            if value is not None:
                values.append(value)
                count += 1
            if len(values) == _PAGE:
                await maintenance.replace_values(entity, values)
                values = []
        await maintenance.replace_values(entity, values)
        rewritten = [file.name for file in archives if redact_archive(file, entity, salts)]
        left = await _left(journal, entity, archives)  # retention may have written one meanwhile
        await maintenance.destroy_salts(entity, through)
    return Redaction(*row.entity_name, row.salted_from, count, tuple(rewritten), left)


def redact_archive(file: Path, entity: int, salts: Sequence[RetiredSalt]) -> int:
    """Replace an entity's values in an archive; give the number of events that were changed.

    Parameters
    ----------
    salts : Sequence[RetiredSalt]
        The entity's salts that were set aside, by sequence.
    """

    def change(line: EventLine) -> EventLine:
        value = _forgotten(RecordedEvent(*line.to_row()), salts) if line.entity == entity else None
        return line if value is None else msgspec.structs.replace(line, payload=value[1], metadata=value[2])

    return rewrite_archive(file, change)


def _forgotten(event: RecordedEvent, salts: Sequence[RetiredSalt]) -> Value | None:
    """Give what takes the place of an event's payload and metadata; ``None`` where they stay."""
    sequence = event.sequence or 0
    salt = next((salt.salt for salt in salts if sequence <= salt.through), None)
    if salt is None or event.type in UNSALTED:
        return None
    payload = _replaced(salt, event.payload)
    metadata = None if event.metadata is None else _replaced(salt, event.metadata)
    return None if (payload, metadata) == (event.payload, event.metadata) else (sequence, payload, metadata)


def _replaced(salt: bytes, text: str) -> str:
    return text if redacted_digest(text) is not None else redacted_text(digest(salt, text))


def _nothing(kind: str, sequence: int) -> StoredSnapshot:
    """Give the snapshot of an entity that holds nothing."""
    found: Any = CATALOG[kind]
    return StoredSnapshot(sequence, encode_state(found, found.initial), found.state_version)


async def _left(journal: SqlJournal, entity: int, archives: Sequence[Path]) -> tuple[str, ...]:
    """Give the names of the archives that hold events of an entity and were not given, from its seals.

    A seal may have been cut itself since; then it stands in a later archive.
    """
    sealed = [event.payload async for event in events(journal, entity) if event.type == SEALED]
    for file in archives:  # one that cannot be read is refused before anything is changed
        sealed += [event[7] for row, event in read_archive(file) if row.id == entity and event[5] == SEALED]
    named = {str(msgspec.json.decode(payload, type=Sealed).archive) for payload in sealed}
    return tuple(sorted(named - {file.name for file in archives}))


def _called(name: EntityName) -> str:
    return f"the {name.kind} {name.name!r}" + (f", key {name.key[2:]!r}" if name.key else "")
