"""Folders of Parquet files, one folder in them for each kind of row, compressed with zstd.

The columns are the members of the lines (``lines.py``); an event's ``recorded_at`` is a timestamp. A chunk of an export
is one file for each kind of row that it has; all files of a chunk have its number.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

from casty_es.audit.lines import (
    DamagedLine,
    EndLine,
    EntityLine,
    EventLine,
    JournalLine,
    Line,
    SaltLine,
    SealLine,
    SlotLine,
    SnapshotLine,
    StructureLine,
)
from casty_es.audit.transfer.export_state import sync_folder
from casty_es.errors import ConfigurationError, InvalidValueError
from casty_es.journal.port import ENTITY_NUMBER_BITS
from casty_es.private_files import create_anew, make_folder

_ROWS: Final = 50_000  # of a file: some 30 MiB in memory
_BYTES: Final = 64 * 1024 * 1024
_BATCH: Final = 2_000
_LARGEST_GROUP: Final = 192 * 1024 * 1024  # bytes; ours have half of it, or one state
_PIECE: Final = 4 * 1024 * 1024  # bytes of text that are made lines at once

_TABLES: Final[dict[str, type[msgspec.Struct]]] = {
    "journal": JournalLine,
    "structures": StructureLine,
    "slots": SlotLine,
    "entities": EntityLine,
    "salts": SaltLine,
    "seals": SealLine,
    "events": EventLine,
    "snapshots": SnapshotLine,
    "damaged": DamagedLine,
    "end": EndLine,
}
_NAMES: Final = {type_: name for name, type_ in _TABLES.items()}
_NULLABLE: Final = {"keep", "salt", "metadata", "command_id", "idempotency_key"}
_TEXTS: Final = {
    *("format", "digest", "kind", "name", "key", "keep", "salt", "previous_hash", "hash"),
    *("type", "payload", "metadata", "command_id", "idempotency_key", "state"),
    *("of", "why"),
}


def _arrow() -> Any:
    try:
        import pyarrow as pa  # noqa: PLC0415 - an extra, and slow to load
        import pyarrow.compute  # noqa: PLC0415 - likewise
        import pyarrow.parquet  # noqa: PLC0415 - likewise
    except ImportError as error:
        raise ConfigurationError(
            "Parquet takes the package pyarrow. Nothing was done. Install it: pip install 'casty-es[parquet]'."
        ) from error
    return pa, pyarrow.parquet


def _schema(pa: Any, table: str, *, text: Any = None) -> Any:
    fields = []
    for name in _TABLES[table].__struct_fields__:
        type_ = (text or pa.string()) if name in _TEXTS else pa.bool_() if name == "alive" else pa.int64()
        if table == "events" and name == "recorded_at":
            type_ = pa.timestamp("us", tz="UTC")
        nullable = name in _NULLABLE or (table == "events" and name in {"entity", "sequence"})
        fields.append(pa.field(name, type_, nullable=nullable))
    return pa.schema(fields)


class ParquetWriter:
    """Writes the folder ``NAME.part``, and gives it its name in the end."""

    def __init__(self, target: Path) -> None:
        self._pa, self._parquet = _arrow()
        self._target = target
        self._part = target.with_name(target.name + ".part")
        self._rows: list[Line] = []
        self._bytes = 0
        self._size = 0

    def open(self, size: int) -> None:
        """Begin behind so many chunks that are there; the files of later ones are removed."""
        self._rows, self._bytes, self._size = [], 0, size
        make_folder(self._part)
        for file in self._part.glob("*/*.parquet"):
            if not file.stem.isdecimal() or int(file.stem) >= size:
                file.unlink()

    @property
    def there(self) -> int:
        """How many chunks are there of an interrupted export."""
        return max((int(file.stem) + 1 for file in self._part.glob("*/*.parquet")), default=0)

    @property
    def due(self) -> bool:
        """Whether there is enough for a chunk."""
        return len(self._rows) >= _ROWS or self._bytes >= _BYTES

    def add(self, lines: list[Line]) -> None:
        """Take lines for the next chunk."""
        self._rows += lines
        for line in lines:
            if isinstance(line, EventLine):
                self._bytes += len(line.payload)
            elif isinstance(line, SnapshotLine):
                self._bytes += len(line.state)

    def take(self) -> list[Line]:
        """Return the lines taken so far, and begin the next chunk."""
        rows, self._rows, self._bytes = self._rows, [], 0
        return rows

    def write(self, chunk: list[Line]) -> int:
        """Write a chunk for good; return how many there are."""
        by_table: dict[str, list[Line]] = {}
        for line in chunk:
            by_table.setdefault(_NAMES[type(line)], []).append(line)
        for table, lines in by_table.items():
            self._write_table(table, lines)
        self._size += bool(chunk)
        return self._size

    def _write_table(self, table: str, lines: list[Line]) -> None:
        schema = _schema(self._pa, table)
        # The fields of a line stand in the order of the schema.
        values = zip(*map(msgspec.structs.astuple, lines), strict=True)
        columns = [self._pa.array(column, type=field.type) for column, field in zip(values, schema, strict=True)]
        folder = self._part / table
        make_folder(folder)
        file = folder / f"{self._size:06}.parquet"
        rows = self._pa.Table.from_arrays(columns, schema=schema)
        with create_anew(file) as stream:
            self._parquet.write_table(rows, stream, compression="zstd")
            stream.flush()
            os.fsync(stream.fileno())
        sync_folder(folder)
        sync_folder(self._part)

    def finish(self) -> None:
        """Give the folder its name."""
        if self._target.exists():  # an empty folder would be replaced, and nobody asked for that
            shutil.rmtree(self._target)
        self._part.replace(self._target)
        sync_folder(self._target.parent)


def read_parquet(folder: Path) -> Iterator[tuple[int, Line]]:
    """Yield the rows of a folder as lines with numbers, in the order of an export.

    Raises ``InvalidValueError`` for a file that cannot be read or has other columns, and for a row that does not
    belong there.
    """
    tables = {name: _Rows(folder, name) for name in _TABLES}
    yield from enumerate(_in_order(tables), 1)
    for name, rows in tables.items():
        if rows.peek() is not None:
            raise InvalidValueError(
                f"{folder / name} has rows that belong nowhere, or that stand in another order. What came before was "
                f"read."
            )


def _in_order(tables: dict[str, _Rows]) -> Iterator[Line]:
    yield from tables["journal"].while_(lambda _: True)
    yield from tables["structures"].while_(lambda _: True)
    for head in tables["slots"].while_(lambda _: True):
        yield head
        slot = head.slot

        def mine(line: Any, slot: int = slot) -> bool:
            return bool(line.slot == slot)

        for entity in tables["entities"].while_(mine):
            yield entity
            yield from tables["salts"].while_(lambda line, id_=entity.id: line.entity == id_)
        yield from tables["seals"].while_(mine)
        yield from tables["events"].while_(mine)
        yield from tables["snapshots"].while_(lambda line, slot=slot: line.entity >> ENTITY_NUMBER_BITS == slot)
    yield from tables["end"].while_(lambda _: True)


class _Rows:
    """The rows of one table, one after the other."""

    def __init__(self, folder: Path, table: str) -> None:
        self._table = table
        self._folder = folder / table
        self._iterator = self._read()
        self._next: Any = None

    def peek(self) -> Any:
        if self._next is None:
            self._next = next(self._iterator, None)
        return self._next

    def while_(self, belongs: Any) -> Iterator[Any]:
        while (line := self.peek()) is not None and belongs(line):
            self._next = None
            yield line

    def _read(self) -> Iterator[Any]:
        pa, parquet = _arrow()
        type_ = _TABLES[self._table]
        schema = _schema(pa, self._table, text=pa.dictionary(pa.int32(), pa.string()))
        texts = [name for name in type_.__struct_fields__ if name in _TEXTS]
        for path in sorted(self._folder.glob("*.parquet")):
            try:
                # As dictionaries: a file has a text once that stands in a thousand rows.
                with parquet.ParquetFile(path, read_dictionary=texts) as file:
                    if not file.schema_arrow.equals(schema):
                        raise InvalidValueError(f"{path} has other columns than an export. It was not read.")
                    groups = range(file.metadata.num_row_groups)
                    if any(file.metadata.row_group(group).total_byte_size > _LARGEST_GROUP for group in groups):
                        raise InvalidValueError(f"{path} has more in one piece than an export. It was not read.")
                    for batch in file.iter_batches(batch_size=_BATCH):
                        for piece in _pieces(pa, batch):
                            yield from self._lines(pa, piece, type_)
            except (pa.ArrowException, OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
                raise InvalidValueError(f"{path} cannot be read: {error}. What came before was read.") from error

    def _lines(self, pa: Any, batch: Any, type_: type[msgspec.Struct]) -> Iterator[Any]:
        names = type_.__struct_fields__
        columns = [
            (column.cast(pa.int64()) if pa.types.is_timestamp(column.type) else column).to_pylist()
            for column in batch.columns
        ]
        tag = type_.__struct_config__.tag
        for values in zip(*columns, strict=True):
            # Not made directly, so that what a file says is checked as a line would be.
            yield msgspec.convert({"row": tag, **dict(zip(names, values, strict=True))}, type_)


def _pieces(pa: Any, batch: Any) -> Iterator[Any]:
    """Yield a batch in pieces whose texts fit into memory, however often each of them stands in the file."""
    size = 0
    for column in batch.columns:
        if pa.types.is_dictionary(column.type):
            lengths = pa.compute.take(pa.compute.binary_length(column.dictionary), column.indices)
            size += pa.compute.sum(lengths).as_py() or 0
    if size <= _PIECE or batch.num_rows == 1:
        yield batch
        return
    half = batch.num_rows // 2
    yield from _pieces(pa, batch.slice(0, half))
    yield from _pieces(pa, batch.slice(half))
