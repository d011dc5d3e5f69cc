"""What is killed half-way is gone on with by the same command, and ends as if it had never been killed."""

from __future__ import annotations

from pathlib import Path

import pytest

from casty_es import connect
from casty_es.audit.transfer import copy_journal, export_journal, import_journal
from casty_es.audit.verify import verify
from casty_es.errors import ConfigurationError, SchemaError
from tests.audit.verifying.tampering import Tamperer
from tests.forked import started

from . import child
from .conftest import Exporting


async def killed(action: str, source: str, target: str, last: int) -> None:
    """Run a program until it has written so often, and kill it."""
    process = await started("tests.audit.transfer.child", action, source, target, str(last))
    assert process.stdout is not None
    assert await process.stdout.readline() == b"stopped\n"
    process.kill()
    await process.wait()


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages and chunks as the killed program has them."""
    monkeypatch.setattr(child.jsonl, "_CHUNK", 2_000)
    monkeypatch.setattr(child.parquet, "_ROWS", 10)
    monkeypatch.setattr(child.slot_pages, "_PAGE", 5)


def content(path: Path) -> dict[str, bytes]:
    """Return a file, or all files of a folder."""
    files = [path] if path.is_file() else sorted(path.rglob("*.parquet"))
    return {str(file.relative_to(path)): file.read_bytes() for file in files}


@pytest.mark.parametrize("name", ["x.jsonl", "x.jsonl.gz", "x.parquet"])
@pytest.mark.usefixtures("small")
async def test_an_export(written_url: str, tmp_path: Path, name: str) -> None:
    """Given exports that were killed, when each is run again, then the result is equal to an uninterrupted one."""
    whole, part = tmp_path / "whole", tmp_path / "part"
    whole.mkdir()
    part.mkdir()
    await export_journal(written_url, whole / name)

    for last in (1, 3):
        await killed("export", written_url, str(part / name), last)
        assert not (part / name).exists()
        assert (part / f"{name}.part").exists()
    report = await export_journal(written_url, part / name)

    assert report.resumed
    assert content(part / name) == content(whole / name)
    assert [file.name for file in part.iterdir()] == [name]


@pytest.mark.usefixtures("small")
async def test_an_import(written_url: str, database_url: str, tmp_path: Path, exported: Exporting) -> None:
    """Given imports that were killed, when it is run again, then nothing opened it before and all is there after."""
    file, url = tmp_path / "x.jsonl", database_url
    await export_journal(written_url, file)

    for last in (2, 9, 20):
        await killed("import", str(file), url, last)
        with pytest.raises(SchemaError, match="is not complete"):
            async with connect(url):
                pass
    report = await import_journal(file, url)

    assert report.resumed
    assert await exported(url) == file.read_bytes()
    assert (await verify(url)).findings == []
    async with connect(url) as d:
        assert await d.counter("hits").increment() == 61


@pytest.mark.usefixtures("small")
async def test_a_copy_of_a_journal_that_went_on(written_url: str, tmp_path: Path, exported: Exporting) -> None:
    """Given a killed copy and a program that went on, when it is run again, then the newer events are there."""
    url = f"sqlite:///{tmp_path}/copy.db"
    await killed("copy", written_url, url, 20)
    async with connect(written_url) as d:
        await d.counter("hits").increment()
        await d.counter("hits").destroy()
        await d.counter("another").increment()

    report = await copy_journal(written_url, url)

    assert report.resumed
    assert await exported(url) == await exported(written_url)
    assert (await verify(url)).findings == []


@pytest.mark.usefixtures("small")
async def test_what_changed_meanwhile(tamperer: Tamperer, tmp_path: Path) -> None:
    """Given a copy that was killed, when a record that it has was changed since, then going on is refused."""
    url = f"sqlite:///{tmp_path}/copy.db"
    await killed("copy", tamperer.url, url, 20)
    copied = await Tamperer(url).run("SELECT slot, position FROM casty_events WHERE entity IS NOT NULL LIMIT 1")
    slot, position = copied[0]
    await Tamperer(url).run(
        "DROP TRIGGER casty_events_refuse_update",
        f"UPDATE casty_events SET recorded_at = recorded_at + 1 WHERE slot = {slot} AND position = {position}",
    )

    with pytest.raises(ConfigurationError, match=f"slot {slot} from position {position} on"):
        await copy_journal(tamperer.url, url)


async def test_another_journal_over_a_half_one(written_url: str, small_sqlite_url: str, tmp_path: Path) -> None:
    """Given half an import, when another journal is imported there, then it is refused."""
    url = f"sqlite:///{tmp_path}/copy.db"
    await killed("copy", written_url, url, 20)
    async with connect(small_sqlite_url) as d:
        await d.counter("other").increment()
    await Tamperer(small_sqlite_url).run("UPDATE casty_meta SET created_at = created_at + 1")

    with pytest.raises(ConfigurationError, match="a part of another journal"):
        await copy_journal(small_sqlite_url, url)
