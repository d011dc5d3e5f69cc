"""Exports: of an empty journal, filtered, and beside a program that goes on."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest

from casty_es import connect
from casty_es.audit.transfer import Filter, export_journal, import_journal, slot_pages
from casty_es.audit.verify import verify
from casty_es.domain.upkeep import Redact
from casty_es.errors import ConfigurationError, InvalidArgumentError, InvalidValueError

from .conftest import Exporting


@pytest.mark.parametrize("name", ["x.jsonl", "x.jsonl.gz", "x.parquet"])
async def test_each_format(written_url: str, sqlite_url: str, tmp_path: Path, name: str, exported: Exporting) -> None:
    """Given a journal, when it is exported and imported in each format, then it is the same and verifies."""
    out = await export_journal(written_url, tmp_path / name)
    back = await import_journal(tmp_path / name, sqlite_url)

    assert (out.records, out.entities, out.snapshots) == (back.records, back.entities, back.snapshots)
    assert await exported(sqlite_url) == await exported(written_url)
    assert (await verify(sqlite_url)).findings == []
    assert [path for path in _files(tmp_path) if path.suffix in {".part", ".progress"}] == []


@pytest.mark.parametrize("name", ["x.jsonl", "x.jsonl.gz", "x.parquet"])
async def test_same_bytes(written_url: str, tmp_path: Path, name: str) -> None:
    """Given a journal, when it is exported twice, then the files are equal to the last byte."""
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
        await export_journal(written_url, folder / name)

    one, two = ({file.relative_to(folder): file.read_bytes() for file in _files(folder)} for folder in folders)
    assert one == two
    assert one


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.mark.parametrize("name", ["x.jsonl", "x.parquet"])
async def test_an_empty_journal(journal_url: str, database_kind: str, tmp_path: Path, name: str) -> None:
    """Given a journal without a record, when it is exported and imported, then a program can begin in the copy."""
    assert database_kind in journal_url
    await export_journal(journal_url, tmp_path / name)
    await import_journal(tmp_path / name, f"sqlite:///{tmp_path}/copy.db")

    async with connect(f"sqlite:///{tmp_path}/copy.db") as d:
        assert await d.counter("hits").increment() == 1


async def test_a_filter(written_url: str, sqlite_url: str, tmp_path: Path) -> None:
    """Given a filter, when events are exported, then there are those only, no salt, and no way to import them."""
    target = tmp_path / "users.jsonl"
    await export_journal(written_url, target, wanted=Filter(kind="map", name="users"))

    lines = [msgspec.json.decode(line) for line in target.read_bytes().splitlines()]
    assert {line["type"] for line in lines if line["row"] == "event"} == {"map.put", "map.deleted"}
    assert len([line for line in lines if line["row"] == "event"]) == 4
    assert {line["name"] for line in lines if line["row"] in {"entity", "structure"}} == {"users"}
    assert {line["salt"] for line in lines if line["row"] == "entity"} == {None}
    with pytest.raises(InvalidValueError, match="without a filter"):
        await import_journal(target, sqlite_url)


async def test_a_filter_by_time(written_url: str, tmp_path: Path) -> None:
    """Given a time, when events until and after it are exported, then each is in one of the two files."""
    await export_journal(written_url, tmp_path / "all.jsonl")
    events = _events(tmp_path / "all.jsonl")
    middle = sorted(event["recorded_at"] for event in events)[len(events) // 2]

    await export_journal(written_url, tmp_path / "until.jsonl", wanted=Filter(until=middle))
    await export_journal(written_url, tmp_path / "after.jsonl", wanted=Filter(after=middle))

    until, after = _events(tmp_path / "until.jsonl"), _events(tmp_path / "after.jsonl")
    assert until
    assert after
    assert sorted(until + after, key=_place) == sorted(events, key=_place)


def _events(file: Path) -> list[dict[str, int]]:
    lines = [msgspec.json.decode(line) for line in file.read_bytes().splitlines()]
    return [line for line in lines if line["row"] == "event"]


def _place(event: dict[str, int]) -> tuple[int, int]:
    return event["slot"], event["position"]


async def test_beside_a_program(
    written_url: str, tmp_path: Path, database_kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a program that goes on and redacts, when its journal is exported, then what is imported verifies."""
    assert database_kind in written_url or database_kind == "sqlite"
    monkeypatch.setattr(slot_pages, "_PAGE", 2)  # so that much happens between two pages
    async with connect(written_url) as d:
        done = asyncio.Event()

        async def work() -> None:
            number = 0
            while not done.is_set():
                number += 1
                await d.counter("hits").increment()
                await d.counter("gone").increment()
                await d.counter("gone").destroy()
                await d.map[str, int]("new").put(str(number), number)
                if number == 3:
                    await d.queue[int]("jobs")._ask(Redact("asked for it"))

        working = asyncio.create_task(work())
        for number in range(4):
            await export_journal(written_url, tmp_path / f"{number}.jsonl")
        done.set()
        await working

    for number in range(4):
        url = f"sqlite:///{tmp_path}/{number}.db"
        await import_journal(tmp_path / f"{number}.jsonl", url)
        assert (await verify(url)).findings == []
    sizes = [(tmp_path / f"{number}.jsonl").stat().st_size for number in range(4)]
    assert sizes[0] < sizes[-1]


async def test_what_is_there_is_kept(written_url: str, tmp_path: Path) -> None:
    """Given a file of that name, or a name that says no format, when it is exported, then nothing is written."""
    (tmp_path / "x.jsonl").write_text("mine")

    with pytest.raises(InvalidArgumentError, match="is there already"):
        await export_journal(written_url, tmp_path / "x.jsonl")
    with pytest.raises(InvalidArgumentError, match="does not say"):
        await export_journal(written_url, tmp_path / "x.csv")

    left = [path.name for path in _files(tmp_path) if path.suffix in {".jsonl", ".csv", ".part"}]
    assert left == ["x.jsonl"]


async def test_progress_of_another_journal(written_url: str, sqlite_journal_url: str, tmp_path: Path) -> None:
    """Given what an interrupted export of another journal left, when this one is exported there, then it is refused."""
    (tmp_path / "x.jsonl.progress").write_text('{"format":"something else"}')

    with pytest.raises(ConfigurationError, match="cannot be read"):
        await export_journal(written_url, tmp_path / "x.jsonl")
    assert sqlite_journal_url
