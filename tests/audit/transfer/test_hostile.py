"""What somebody changed in an export, or made up, is refused, and nothing opens what was written of it."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from casty_es.audit.transfer import export_journal, import_journal, jsonl
from casty_es.errors import CastyError, InvalidValueError, SchemaError
from casty_es.journal.sql import SqlJournal
from tests.audit.verifying.journals import SLOTS


@pytest.fixture
async def lines(written_url: str, tmp_path: Path) -> list[dict[str, Any]]:
    """The lines of an export."""
    await export_journal(written_url, tmp_path / "whole.jsonl")
    return [msgspec.json.decode(line) for line in (tmp_path / "whole.jsonl").read_bytes().splitlines()]


async def refused(tmp_path: Path, lines: list[dict[str, Any]], *, numbered: bool = True) -> str:
    """Import lines that must be refused; return what is said, and see that the database is not usable."""
    file, url = tmp_path / "changed.jsonl", f"sqlite:///{tmp_path}/changed.db"
    file.write_bytes(b"".join(msgspec.json.encode(line) + b"\n" for line in lines))
    with pytest.raises(CastyError) as error:
        await import_journal(file, url)
    with pytest.raises(SchemaError):
        await SqlJournal(url).open()
    if numbered:
        assert "Line " in str(error.value)
    return str(error.value)


def _other(value: Any) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    if value is None:
        return "00" * 16
    return ("1" if value[:1] == "0" else "0") + value[1:]


@pytest.mark.parametrize("row", ["event", "entity", "snapshot", "structure", "slot", "end"])
async def test_every_field(lines: list[dict[str, Any]], tmp_path: Path, row: str) -> None:
    """Given an export, when any one field of any kind of line is changed, then it is refused and a line is named."""
    index = next(i for i, line in enumerate(lines) if line["row"] == row and line.get("sequence", 2) is not None)
    fields = [field for field in lines[index] if field != "row"]
    assert fields

    for field in fields:
        changed = [dict(line) for line in lines]
        changed[index][field] = _other(changed[index][field])
        (tmp_path / field).mkdir()

        assert await refused(tmp_path / field, changed)


@pytest.mark.parametrize("row", ["event", "entity", "snapshot", "structure", "slot", "end"])
async def test_lines_gone_doubled_and_moved(lines: list[dict[str, Any]], tmp_path: Path, row: str) -> None:
    """Given an export, when a line is taken out, stands twice or elsewhere, then it is refused."""
    at = [i for i, line in enumerate(lines) if line["row"] == row][-1]
    for name, changed in {
        "gone": lines[:at] + lines[at + 1 :],
        "twice": [*lines[: at + 1], lines[at], *lines[at + 1 :]],
        "early": [lines[0], lines[at], *lines[1:at], *lines[at + 1 :]],
    }.items():
        (tmp_path / name).mkdir()
        assert await refused(tmp_path / name, changed, numbered=False)


@pytest.mark.parametrize(
    ("name", "make", "said"),
    [
        ("x.jsonl", lambda _: b"", "not an export"),
        ("x.jsonl", lambda whole: whole[:-20], "ends within it"),
        ("x.jsonl", lambda whole: whole + b"\xff\xfe\n", "Line "),
        ("x.jsonl", lambda _: b'{"a":' * 100_000 + b"\n", "Line 1 "),
        ("x.jsonl", lambda _: b"[" * 1_000_000 + b"\n", "Line 1 "),
        ("x.jsonl", lambda whole: whole.replace(b'"slots":%d' % SLOTS, b'"slots":1e99', 1), "Line 1 "),
        ("x.jsonl", lambda whole: whole.replace(b'"position":1,', b'"position":' + b"9" * 40 + b",", 1), "Line "),
        ("x.jsonl.gz", lambda whole: whole, "not a gzip file"),
        ("x.jsonl.gz", lambda whole: gzip.compress(whole)[:-30], "cannot be read behind line"),
        ("x.jsonl.gz", lambda whole: gzip.compress(whole) + b"rubbish", "cannot be read behind line"),
    ],
)
async def test_no_export_at_all(
    written_url: str, tmp_path: Path, name: str, make: Callable[[bytes], bytes], said: str
) -> None:
    """Given bytes that are no export, or not a whole one, when they are imported, then the error says where."""
    await export_journal(written_url, tmp_path / "whole.jsonl")
    (tmp_path / name).write_bytes(make((tmp_path / "whole.jsonl").read_bytes()))

    with pytest.raises(InvalidValueError, match=said):
        await import_journal(tmp_path / name, f"sqlite:///{tmp_path}/copy.db")


async def test_a_line_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a small gzip file that becomes one huge line, when it is imported, then it is not read to its end."""
    monkeypatch.setattr(jsonl, "_LONGEST_RECORD", 1_000_000)
    (tmp_path / "x.jsonl.gz").write_bytes(gzip.compress(b"x" * 50_000_000))

    with pytest.raises(InvalidValueError, match="longer than 1,000,000 bytes"):
        await import_journal(tmp_path / "x.jsonl.gz", f"sqlite:///{tmp_path}/copy.db")


async def test_other_columns(written_url: str, tmp_path: Path) -> None:
    """Given a Parquet folder with another column, and one with rubbish, when it is imported, then it is refused."""
    for name in ("columns", "rubbish"):
        folder = tmp_path / name / "x.parquet"
        folder.parent.mkdir()
        await export_journal(written_url, folder)
        file = folder / "events" / "000000.parquet"
        if name == "columns":
            table = pq.read_table(file)
            pq.write_table(table.append_column("more", pa.array([1] * len(table))), file)
        else:
            file.write_bytes(b"PAR1" + b"rubbish" * 100)

        with pytest.raises(InvalidValueError, match=r"events/000000\.parquet"):
            await import_journal(folder, f"sqlite:///{tmp_path}/{name}.db")
