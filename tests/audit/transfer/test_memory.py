"""An import takes a bounded part of memory, whatever the file becomes, and so does an export, whatever is stored."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from casty_es.audit.lines import (
    EntityLine,
    EventLine,
    JournalLine,
    Line,
    SaltLine,
    SealLine,
    SlotLine,
    SnapshotLine,
    StructureLine,
    after_line,
    encode_line,
)
from casty_es.audit.transfer import parquet
from casty_es.audit.transfer.places import FORMAT
from casty_es.journal.urls import is_sqlite

MIB = 1024 * 1024

# Beside what a program with everything loaded takes: a few batches.
BOUND = 160 * MIB

CHILD = """
import asyncio, json, os, sys
from pathlib import Path
from casty_es.audit.transfer import export_journal, import_journal
from casty_es.journal import migrating
from tests.memory import most_memory

if sys.argv[2].endswith(".parquet"):
    import pyarrow.compute, pyarrow.parquet
before = most_memory(os.getpid())
what, source, target = sys.argv[1:]
try:
    if what == "import":
        asyncio.run(import_journal(Path(source), target))
    else:
        asyncio.run(export_journal(source, Path(target)))
    said = ""
except Exception as error:
    said = f"{type(error).__name__}: {error}"[:300]
print(json.dumps({"said": said, "peak": most_memory(os.getpid()) - before}))
"""


def in_child(what: str, source: object, target: object) -> tuple[str, int]:
    """Return what a process said in the end, and how much memory it had taken."""
    process = subprocess.run(
        [sys.executable, "-c", CHILD, what, str(source), str(target)], check=True, capture_output=True, text=True
    )
    answer = json.loads(process.stdout.splitlines()[-1])
    return answer["said"], answer["peak"]


def beginning(*structures: Line) -> list[Line]:
    """Return the lines of an export up to its first slot."""
    lines: list[Line] = [JournalLine(FORMAT, 256, 1, 1), *structures]
    digest = bytes(32)
    for line in lines:
        digest = after_line(digest, line)
    return [*lines, SlotLine(0, 1 << 40, "00" * 32, digest.hex())]


def snapshots() -> Iterator[Line]:
    yield from beginning()
    yield EntityLine(1, 0, "counter", "x", "", True, None, 0)
    for number in range(220):
        yield SnapshotLine(1, number + 1, "s" * MIB, 1, 1)


def names() -> Iterator[Line]:
    yield from beginning()
    for number in range(220):
        yield EntityLine(number + 1, 0, "counter", "n" * MIB, "", True, None, 0)


def structures() -> Iterator[Line]:
    yield JournalLine(FORMAT, 256, 1, 1)
    for number in range(220):
        yield StructureLine("counter", f"{number:06}" + "n" * MIB, 1, None)


def metadata() -> Iterator[Line]:
    yield from beginning()
    for number in range(220):
        yield EventLine(0, number + 1, 1, None, None, "t", 1, "{}", "m" * MIB, None, None, 1, "00" * 32)


def seals() -> Iterator[Line]:
    yield from beginning()
    yield EntityLine(1, 0, "counter", "x", "", True, None, 0)
    for number in range(1, 50_000):
        yield SealLine(0, 2 * number, 2 * number, 1, "00" * 32, "00" * 32, 1)


def salts() -> Iterator[Line]:
    yield from beginning()
    yield EntityLine(1, 0, "counter", "x", "", True, None, 0)
    for number in range(50_000):
        yield SaltLine(1, number, "00" * 16)


def long_line() -> Iterator[Line]:
    yield from beginning()
    yield EntityLine(1, 0, "counter", "x", "", True, None, 0)
    for number in range(2):
        yield SnapshotLine(1, number + 1, "s" * (40 * MIB), 1, 1)


def long_record() -> Iterator[Line]:
    yield from beginning()
    yield EventLine(0, 1, 1, None, None, "t", 1, "p" * (60 * MIB), None, None, None, 1, "00" * 32)


def nested() -> Iterator[bytes]:
    yield encode_line(JournalLine(FORMAT, 256, 1, 1))
    yield b'{"row":"structure","kind":' + b"[" * (30 * MIB) + b"]" * (30 * MIB) + b"}\n"


BOMBS: list[tuple[Callable[[], Iterator[Line | bytes]], int]] = [
    (snapshots, BOUND),
    (long_record, 64 * MIB),  # it is not read to its end
    (nested, 64 * MIB),
]
CI_BOMBS: list[tuple[Callable[[], Iterator[Line | bytes]], int]] = [
    (seals, BOUND),
    (long_line, BOUND + 48 * MIB),  # SQLite has a state twice more while it writes it
    (names, BOUND),
    (structures, BOUND),
    (metadata, BOUND),
    (salts, BOUND),
]


@pytest.mark.parametrize(
    ("bomb", "bound"),
    [
        *(pytest.param(*bomb, id=bomb[0].__name__) for bomb in BOMBS),
        *(pytest.param(*bomb, id=bomb[0].__name__, marks=pytest.mark.ci) for bomb in CI_BOMBS),
    ],
)
def test_an_import_is_bounded(
    bomb: Callable[[], Iterator[Line | bytes]], bound: int, sqlite_journal_url: str, tmp_path: Path
) -> None:
    """Given a small file that becomes much, when it is imported, then it is refused, and took bounded memory."""
    # given
    file = tmp_path / "bomb.jsonl.gz"
    with gzip.open(file, "wb", compresslevel=1) as stream:
        for line in bomb():
            stream.write(line if isinstance(line, bytes) else encode_line(line))
    assert file.stat().st_size < 16 * MIB

    # when
    said, peak = in_child("import", file, sqlite_journal_url)

    # then
    assert said.startswith("InvalidValueError: "), said
    assert peak < bound, f"{peak / MIB:.0f} MiB"


@pytest.mark.ci
def test_an_import_of_parquet_is_bounded(sqlite_journal_url: str, tmp_path: Path) -> None:
    """Given a file that has one state in hundreds of rows, then they are not all in memory at once."""
    # given
    folder = tmp_path / "bomb.parquet"
    writer = parquet.ParquetWriter(folder)
    writer.open(0)
    writer.add([*beginning(), EntityLine(1, 0, "counter", "x", "", True, None, 0)])
    writer.write(writer.take())
    state = "s" * MIB
    writer.add([SnapshotLine(1, number + 1, state, 1, 1) for number in range(220)])
    writer.write(writer.take())
    writer.finish()
    assert sum(file.stat().st_size for file in folder.rglob("*.parquet")) < MIB

    # when
    said, peak = in_child("import", folder, sqlite_journal_url)

    # then
    assert said.startswith("InvalidValueError: "), said
    assert peak < BOUND, f"{peak / MIB:.0f} MiB"


@pytest.mark.parametrize(
    ("database", "what"),
    [
        ("sqlite", "events"),
        ("postgres", "snapshots"),
        pytest.param("sqlite", "snapshots", marks=pytest.mark.ci),
        pytest.param("postgres", "events", marks=pytest.mark.ci),
    ],
)
def test_an_export_is_bounded(
    database: str, what: str, request: pytest.FixtureRequest, tmp_path: Path, sql: Callable[..., object]
) -> None:
    """Given large states, or large events, when they are exported, then not all of them are in memory at once."""
    # given
    journal_url = request.getfixturevalue(f"{database}_journal_url")
    sqlite = is_sqlite(journal_url)
    text = "replace(hex(zeroblob(524288)), '0', 's')" if sqlite else "repeat('s', 1048576)"
    payload = text if what == "events" else "'{}'"
    states = "n.i > 0" if what == "snapshots" else "n.i = 1"
    hash_, alive = ("zeroblob(32)", "1") if sqlite else ("decode(repeat('00', 32), 'hex')", "true")
    numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 250) "
    event = "slot, position, epoch, entity, sequence, type, version, payload, recorded_at, hash"
    sql(
        journal_url,
        f"INSERT INTO casty_entities (id, slot, kind, name, key, alive) VALUES (1, 0, 'counter', 'x', '', {alive})",
        f"{numbers} INSERT INTO casty_events ({event}) SELECT 0, i, 1, 1, i, 't', 1, {payload}, 1, {hash_} FROM n",
        f"{numbers} INSERT INTO casty_snapshots (entity, sequence, state, version, recorded_at) "
        f"SELECT 1, i, {text}, 1, 1 FROM n WHERE {states}",
    )

    # when
    said, peak = in_child("export", journal_url, tmp_path / "out.jsonl.gz")

    # then
    assert said == ""
    assert peak < BOUND, f"{peak / MIB:.0f} MiB"
    with gzip.open(tmp_path / "out.jsonl.gz", "rb") as stream:
        assert sum(1 for _ in stream) > 250
