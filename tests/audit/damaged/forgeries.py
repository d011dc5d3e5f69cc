"""What somebody does to a journal who knows its format: each as a function of who may do anything in it.

The journal is ``journals.py``'s. In slot 3 a queue stands alone; in slot 1 a counter of which 20 events are cut; in
slot 0 a redacted set, and what else there is.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec

from casty_es.format.chain import digest
from casty_es.format.redacted import redacted_text
from casty_es.journal.port import EntityName, RecordedEvent, record_hash
from tests.audit.verifying.tampering import Tamperer

__all__ = ["FORGERIES", "WITH_ANCHOR", "Forgery"]

Forgery = Callable[[Tamperer], Awaitable[Any]]

_ALICE: Final = "(SELECT id FROM casty_entities WHERE key = 's:alice')"
_TAGS: Final = "(SELECT id FROM casty_entities WHERE kind = 'set')"
_QUEUE: Final = "slot = 3 AND position"


def _sql(*statements: str) -> Forgery:
    async def forge(tamperer: Tamperer) -> None:
        await tamperer.run(*statements)

    return forge


def _anew(slot: int, position: int, **changes: Any) -> Forgery:
    """Change a record, and compute its hash and all later ones of the slot anew."""

    async def forge(tamperer: Tamperer) -> None:
        rows = await tamperer.run(f"SELECT * FROM casty_events WHERE slot = {slot} ORDER BY position")
        found = await tamperer.run("SELECT id, salt, kind, name, key FROM casty_entities")
        entities = {id_: (salt, EntityName(*name)) for id_, salt, *name in found}
        records = [RecordedEvent(*row) for row in rows]
        first = next(number for number, record in enumerate(records) if record.position == position)
        previous = records[first - 1].hash if first else bytes(32)
        statements = []
        for record in records[first:]:
            changed = msgspec.structs.replace(record, **changes) if record.position == position else record
            salt, name = entities.get(changed.entity or 0, (b"", None))
            previous = record_hash(previous, changed, salt, name)
            made = {**(changes if record.position == position else {}), "hash": previous}
            sets = ", ".join(f"{column} = {_literal(tamperer, value)}" for column, value in made.items())
            statements.append(f"UPDATE casty_events SET {sets} WHERE slot = {slot} AND position = {record.position}")
        await tamperer.run(*statements)

    return forge


def _literal(tamperer: Tamperer, value: Any) -> str:
    if isinstance(value, bytes):
        return tamperer.bytes_as(value.hex())
    return "NULL" if value is None else repr(value)


async def _hide(tamperer: Tamperer) -> None:
    """Replace a value by its right digest, as a redaction does: the chain holds."""
    [(salt, payload)] = await tamperer.run(
        f"SELECT n.salt, e.payload FROM casty_events e JOIN casty_entities n ON n.id = e.entity "
        f"WHERE e.entity = {_ALICE} AND e.sequence = 2"
    )
    text = redacted_text(digest(salt, payload))
    await tamperer.run(f"UPDATE casty_events SET payload = '{text}' WHERE entity = {_ALICE} AND sequence = 2")


async def _hide_and_explain(tamperer: Tamperer) -> None:
    """Do the same, and say in the directory that everything up to there was redacted."""
    await _hide(tamperer)
    await tamperer.run(
        f"DELETE FROM casty_events WHERE entity = {_ALICE} AND sequence < 0",
        f"INSERT INTO casty_retired_salts SELECT id, 2, salt FROM casty_entities WHERE id = {_ALICE}",
        f"UPDATE casty_entities SET salted_from = 2 WHERE id = {_ALICE}",
    )


FORGERIES: Final[dict[str, Forgery]] = {
    "a record deleted": _sql(f"DELETE FROM casty_events WHERE {_QUEUE} = 7"),
    "three records deleted": _sql(f"DELETE FROM casty_events WHERE {_QUEUE} BETWEEN 5 AND 7"),
    "a lease record deleted": _sql(f"DELETE FROM casty_events WHERE {_QUEUE} = 1"),
    "a record deleted and the gap closed": _sql(
        f"DELETE FROM casty_events WHERE {_QUEUE} = 7",
        f"UPDATE casty_events SET position = position + 1000 WHERE {_QUEUE} > 7",
        "UPDATE casty_events SET position = position - 1001 WHERE slot = 3 AND position > 1000",
    ),
    "a record inserted": _sql(
        "INSERT INTO casty_events SELECT slot, position + 1, epoch, entity, sequence + 1, type, version, payload, "
        f"metadata, command_id, NULL, recorded_at, hash FROM casty_events WHERE {_QUEUE} = 14"
    ),
    "a record inserted in the middle": _sql(
        f"UPDATE casty_events SET position = position + 1000 WHERE {_QUEUE} >= 7",
        "UPDATE casty_events SET position = position - 999 WHERE slot = 3 AND position > 1000",
        "INSERT INTO casty_events SELECT slot, 7, epoch, entity, 999, type, version, payload, metadata, command_id, "
        f"NULL, recorded_at, hash FROM casty_events WHERE {_QUEUE} = 6",
    ),
    "two records swapped": _sql(
        f"UPDATE casty_events SET position = 1000 WHERE {_QUEUE} = 6",
        f"UPDATE casty_events SET position = 6 WHERE {_QUEUE} = 7",
        f"UPDATE casty_events SET position = 7 WHERE {_QUEUE} = 1000",
    ),
    "two payloads swapped": _sql(
        "UPDATE casty_events SET payload = CASE position WHEN 6 THEN '{\"value\":5}' ELSE '{\"value\":4}' END "
        f"WHERE {_QUEUE} IN (6, 7)"
    ),
    "all times moved": _sql("UPDATE casty_events SET recorded_at = recorded_at - 1000000 WHERE slot = 3"),
    "a record given to another entity": _sql(
        f"UPDATE casty_events SET entity = {_ALICE}, sequence = 99 WHERE {_QUEUE} = 7"
    ),
    "two slots swapped": _sql(
        "UPDATE casty_events SET slot = 2 WHERE slot = 3",
        "UPDATE casty_events SET slot = 3 WHERE slot = 0",
        "UPDATE casty_events SET slot = 0 WHERE slot = 2",
    ),
    "two names swapped": _sql(
        "UPDATE casty_entities SET key = 's:nobody' WHERE key = 's:alice'",
        "UPDATE casty_entities SET key = 's:alice' WHERE key = 's:bob'",
        "UPDATE casty_entities SET key = 's:bob' WHERE key = 's:nobody'",
    ),
    "an entity taken out of the directory": _sql(f"DELETE FROM casty_entities WHERE id = {_ALICE}"),
    "a salt destroyed": _sql(f"UPDATE casty_entities SET salt = NULL WHERE id = {_ALICE}"),
    "a salt of another": _sql(
        f"UPDATE casty_entities SET salt = (SELECT n.salt FROM casty_entities n WHERE n.id = {_TAGS}) "
        f"WHERE id = {_ALICE}"
    ),
    "a sequence left out, computed anew": _anew(3, 14, sequence=99),
    "another epoch, computed anew": _anew(3, 7, epoch=2),
    "an older time, computed anew": _anew(3, 7, recorded_at=1_000_000),
    "a lease under another epoch, computed anew": _anew(0, 1, epoch=1, type="lease.given"),
    "an event without its entity, computed anew": _anew(3, 14, entity=None, sequence=None),
    "a value put back": _sql(
        f"""UPDATE casty_events SET payload = '{{"value":"tag-3"}}' WHERE entity = {_TAGS} AND sequence = 4"""
    ),
    "a redaction denied": _sql(f"UPDATE casty_entities SET salted_from = 0 WHERE id = {_TAGS}"),
    "a redaction moved": _sql(f"UPDATE casty_entities SET salted_from = 12 WHERE id = {_TAGS}"),
    "a redaction that says something else": _sql(
        "UPDATE casty_events SET type = 'entity.sealed' WHERE type = 'entity.redacted'"
    ),
    "a value hidden": _hide,
    "a value hidden and explained": _hide_and_explain,
    "a seal row deleted": _sql("DELETE FROM casty_seals"),
    "a seal row that names another seal": _sql("UPDATE casty_seals SET sealed_by = sealed_by - 1"),
    "a seal row with another hash before it": _sql("UPDATE casty_seals SET previous_hash = hash"),
    "a seal row with another hash": _sql("UPDATE casty_seals SET hash = previous_hash"),
    "a seal row that begins earlier": _sql("UPDATE casty_seals SET first = first - 1"),
    "a seal row that ends later": _sql("UPDATE casty_seals SET last = last + 1"),
    "a seal row of another entity": _sql(f"UPDATE casty_seals SET entity = {_ALICE}"),
    "a seal deleted": _sql("DELETE FROM casty_events WHERE type = 'entity.sealed'"),
    "a seal edited": _sql(
        "UPDATE casty_events SET payload = replace(payload, '\"events\":20', '\"events\":21') "
        "WHERE type = 'entity.sealed'"
    ),
    "a record behind a cut deleted": _sql("DELETE FROM casty_events WHERE slot = 1 AND position = 22"),
    "a record deleted under a forged seal row": _sql(
        "INSERT INTO casty_seals (slot, first, last, entity, previous_hash, hash, sealed_by) "
        "SELECT e.slot, e.position, e.position, e.entity, b.hash, e.hash, 13 FROM casty_events e "
        "JOIN casty_events b ON b.slot = e.slot AND b.position = e.position - 1 WHERE e.slot = 3 AND e.position = 7",
        f"DELETE FROM casty_events WHERE {_QUEUE} = 7",
    ),
    "the snapshot behind a cut deleted": _sql("DELETE FROM casty_snapshots WHERE sequence = 20"),
    "the snapshot behind a cut edited": _sql(
        "UPDATE casty_snapshots SET state = replace(state, '20', '21') WHERE sequence = 20"
    ),
    "nothing, but once more": _sql("UPDATE casty_events SET payload = payload WHERE slot = 3"),
}
"""By what was done: both verifiers find all of it but the last."""

WITH_ANCHOR: Final[dict[str, Forgery]] = {
    "the last records cut off": _sql(
        f"DELETE FROM casty_events WHERE {_QUEUE} >= 12",
        "DELETE FROM casty_snapshots WHERE entity = (SELECT id FROM casty_entities WHERE kind = 'queue') "
        "AND sequence > 10",
    ),
    "the chain computed anew": _anew(0, 22, payload='{"owner":"nobody","request":"r","token":1}'),
    "every trace of a slot deleted": _sql(
        "DELETE FROM casty_snapshots WHERE entity = (SELECT id FROM casty_entities WHERE kind = 'queue')",
        "DELETE FROM casty_events WHERE slot = 3",
        "DELETE FROM casty_entities WHERE kind = 'queue'",
    ),
    "another time of birth": _sql("UPDATE casty_meta SET created_at = created_at + 1"),
}
"""Only an anchor shows these, and with one both verifiers find them."""
