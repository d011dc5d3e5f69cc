"""The tables of the page about the format are what the code writes: whoever changes the one has to change the other."""

from __future__ import annotations

import json
import re
import struct
from hashlib import sha256
from typing import Any, Final

import msgspec
import pytest
from alembic.script import ScriptDirectory
from msgspec import inspect

from casty_es.audit import lines
from casty_es.audit.anchor import Anchor, AnchoredSlot, take_anchor
from casty_es.audit.seals import packed
from casty_es.audit.signing import new_key
from casty_es.context import Recorded
from casty_es.domain.catalog import CATALOG
from casty_es.format.chain import RECORD, UNSALTED, digest, link
from casty_es.format.codec import encode_state
from casty_es.format.upcasting import CLASSES, VERSIONS
from casty_es.journal.memory import InMemoryJournal
from casty_es.journal.port import SealRow, StoredSnapshot
from casty_es.journal.schema import migrations_path
from casty_es.replay import binding_said
from tests.tables import TABLES, Column

from .documents import ROOT

TEXT: Final = (ROOT / "docs" / "reference" / "format.md").read_text()


def rows(heading: str) -> list[list[str]]:
    """Give the cells of all tables under a heading, without their heads, and without what is below later headings."""
    [section] = re.findall(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#|\Z)", TEXT, flags=re.MULTILINE | re.DOTALL)
    found = []
    for table in re.findall(r"(?:^\|.*\n)+", section, flags=re.MULTILINE):
        found += [[cell.strip() for cell in line.strip("|\n").split("|")] for line in table.splitlines()[2:]]
    return found


def bare(cell: str) -> str:
    """Give what stands in a cell as code."""
    return cell.strip("`")


# Tables


def _type(column: Column) -> str:
    if column.type == "bytea":
        return "16 bytes" if column.name in {"salt", "command_id"} else "32 bytes"
    return column.type if column.type in {"text", "boolean"} else "integer"


TOLD: Final = re.findall(r"^### `(casty_\w+)`$", TEXT, flags=re.MULTILINE)


@pytest.mark.parametrize("table", TOLD)
def test_columns(table: str) -> None:
    """Each column is a row, in order, with its type and whether it may be null."""
    told = [(bare(name), type_, null) for name, type_, null, _ in rows(f"`{table}`")]
    columns = TABLES[table].columns.values()

    assert told == [(one.name, _type(one), "yes" if one.nullable else "no") for one in columns]


def test_every_table_is_told() -> None:
    """Tables without a section are named as those from which nothing follows."""
    assert {name for name in TABLES if f"`{name}`" not in TEXT} == set()


def test_every_migration_is_told() -> None:
    """The last migration is on the page, so that whoever writes the next one thinks of it."""
    head = ScriptDirectory(str(migrations_path())).get_current_head()

    assert f"`{head}`" in TEXT


# The chain


def _fields() -> list[tuple[str, str, str, str]]:
    return [(offset, size, what, how) for offset, size, what, how in rows("The hash of a record")[:15]]


def test_the_hash_is_packed_as_told() -> None:
    """Offsets, widths and order of the fields are the code's."""
    codes = {("1", "unsigned"): "B", ("4", "signed"): "i", ("8", "signed"): "q"}
    offset, packing = 0, ">"
    *fixed, tail = _fields()
    for at, size, _, how in fixed:
        assert int(at) == offset
        packing += f"{size}s" if how == "bytes" else codes[size, how]
        offset += int(size)

    assert packing == RECORD.format
    assert (int(tail[0]), offset) == (offset, RECORD.size)


def test_the_fields_are_those_that_are_told() -> None:
    """A record that is packed by the page's table, field for field, has the hash that the code gives it."""
    name = ("map", "users", "s:alice")
    record: dict[str, Any] = {
        "slot": 3,
        "position": 2,
        "epoch": 1,
        "entity": (3 << 32) + 1,
        "sequence": 1,
        "recorded_at": 1_700_000_000_000_000,
        "version": 1,
        "command_id": bytes(range(16)),
    }
    told = [bare(what) for _, _, what, _ in _fields()]
    bits = [int(bit) for bit, _ in rows("The hash of a record")[15:]]
    assert bits == [1, 2, 4, 8]
    payload, noted, previous = digest(b"salt", "{}"), digest(b"salt", '{"actor":"é"}'), bytes(range(32))
    type_, key = b"map.put", "schlüssel".encode()
    special: list[Any] = [previous, sum(bits)]
    values = special + [record[one] for one in told[2:10]] + [payload, noted, len(type_), len(key)]
    hashed = sha256(struct.pack(RECORD.format, *values) + type_ + key + "\0".join(name).encode()).digest()

    assert hashed == link(
        previous,
        *(record[one] for one in ("slot", "position", "epoch", "entity", "sequence", "recorded_at")),
        ("map.put", 1),
        record["command_id"],
        key.decode(),
        payload,
        noted,
        name,
    )


def test_types_without_a_salt() -> None:
    """The types that are digested with an empty key are those that are told."""
    told = rows("Digests and salts")[0][0]

    assert set(re.findall(r"`([\w.]+)`", told)) == UNSALTED


def test_seal_rows_are_packed_as_told() -> None:
    """A row of a cut enters its digest as the page says."""
    [told] = [what for must, what in rows("Cuts") if must == "its `rows`"]
    numbers = re.findall(r"`(first|last|entity|previous_hash|hash)`", told.partition("packed as")[2])
    row = SealRow(2, 9, 77, bytes(range(32)), bytes(range(1, 33)), 5)

    parts = [getattr(row, name) for name in numbers]
    made = b"".join(part if isinstance(part, bytes) else part.to_bytes(8, "big", signed=True) for part in parts)
    assert made == packed(row)


# Events and states


_NAMES: Final[dict[type[inspect.Type], str]] = {
    inspect.IntType: "integer",
    inspect.StrType: "string",
    inspect.BoolType: "boolean",
    inspect.RawType: "value",
    inspect.VarTupleType: "array",
}


def _json(type_: inspect.Type) -> str:
    if isinstance(type_, inspect.UnionType):
        names = [_json(one) for one in type_.types if not isinstance(one, inspect.NoneType)]
        return names[0] + (" or null" if len(names) < len(type_.types) else "")
    return _NAMES.get(type(type_), "object")


def _members(shape: Any) -> list[tuple[str, str, bool]]:
    """Give the fields of a shape: name, JSON type, and whether a field may be absent."""
    info: Any = inspect.type_info(shape)
    leaves_out = shape.__struct_config__.omit_defaults
    return [(one.encode_name, _json(one.type), leaves_out and not one.required) for one in info.fields]


def _shapes(table: list[list[str]]) -> dict[tuple[str, int], list[tuple[str, str, bool]]]:
    """Give the fields of each name and version in a table; the name stands in the first row of each."""
    found: dict[tuple[str, int], list[tuple[str, str, bool]]] = {}
    key = ("", 0)
    for name, version, field, type_, absent, *_ in table:
        if name:
            key = (bare(name), int(version))
            found[key] = []
        if field:
            found[key].append((bare(field), type_, absent != "never"))
    return found


def test_events() -> None:
    """Every event has its rows: each field of the version that is written, in its order, with its type."""
    sections = (
        "Counter",
        "Flag",
        "Key of a map",
        "Set",
        "Queue",
        "Lock",
        "Semaphore",
        "Barrier",
        "Events of any entity",
    )
    told = _shapes([row for section in sections for row in rows(section)])

    assert told.keys() >= {(name, version) for name in CLASSES for version in range(1, VERSIONS[name] + 1)}
    assert {name for name, _ in told} == CLASSES.keys()
    for name, shape in CLASSES.items():
        assert (name, told[name, VERSIONS[name]]) == (name, _members(shape))


def test_states() -> None:
    """Every kind's state has its rows, and its first state is the one that is told."""
    table = [row for row in rows("Snapshots") if len(row) == 6]
    told = _shapes(table)

    assert {name for name, _ in told} == CATALOG.keys()
    firsts = {bare(row[0]): bare(row[5]) for row in table if row[0]}
    for name, kind in CATALOG.items():
        assert (name, told[name, kind.state_version]) == (name, _members(kind.snapshot))
        assert firsts[name] == encode_state(kind, kind.initial)


def test_lease_records() -> None:
    """The fields of a lease record are those of the ones in the example's journal."""
    told = [bare(field) for _, field, *_ in rows("Lease records")]
    journal = (ROOT / "docs" / "examples" / "incident" / "journal.jsonl").read_text().splitlines()
    leases = [line for line in map(json.loads, journal) if line.get("type") == "lease.acquired"]

    assert leases
    assert all([*json.loads(line["payload"])] == told for line in leases)
    assert all(line["epoch"] == line["position"] for line in leases)


def test_metadata() -> None:
    """The members of metadata, and what an event says of a snapshot, are those that are told, in order."""
    told = [bare(field) for field, *_ in rows("Metadata")]
    assert told == [*Recorded.__struct_fields__, "snapshot"]

    said = json.loads(f"{{{binding_said(StoredSnapshot(7, '{}', 1), bytes(32), b'salt')}}}")["snapshot"]
    how = rows("Snapshots")[0][1]
    assert re.findall(r"`(\w+)` \(|and `(\w+)`", how)[:1] == [("sequence", "")]
    assert all(f"`{name}`" in how for name in said)
    assert said["state"] == digest(b"salt", "{}").hex()


def test_reply_tags() -> None:
    """Each tag of a reply is named."""
    from casty_es.format.codec import _REPLY_DECODERS

    [told] = re.findall(r"The tag of a reply is (.*?)\n\n", TEXT, flags=re.DOTALL)
    assert set(re.findall(r"`(\w)`", told)) == set(map(chr, _REPLY_DECODERS))


# Files


def test_lines_of_an_export() -> None:
    """Each line has its row: its members in order, with their types."""
    classes = {name: part for name, part in vars(lines).items() if name.endswith("Line") and not name.startswith("_")}
    coded = {
        part.__struct_config__.tag: [f"`{name}` {type_}" for name, type_, _ in _members(part)]
        for part in classes.values()
        if isinstance(part, type)
    }
    told = {bare(row): members.split(", ") for row, members in rows("Exports")}

    assert told == coded


def test_anchors() -> None:
    """The members of an anchor are those that are told, and so is what its signature is over."""
    told = [(bare(name), type_) for name, type_, _ in rows("Anchors")]
    assert told == [(name, type_) for name, type_, _ in _members(Anchor)]
    assert AnchoredSlot.__struct_fields__ == ("slot", "records")


async def test_what_is_signed() -> None:
    """A signature is over the document as the page says that it is made."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    anchor = await take_anchor(InMemoryJournal(), key=new_key())
    document = json.loads(anchor.to_json())
    signature, document["signature"] = bytes.fromhex(document["signature"]), None
    signed = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()

    Ed25519PublicKey.from_public_bytes(bytes.fromhex(document["public_key"])).verify(signature, signed)
    assert msgspec.json.decode(signed, type=Anchor).signature is None
