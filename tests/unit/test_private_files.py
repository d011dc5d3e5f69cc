"""What a journal holds is readable by its owner only, in every file that is made of it, whatever the umask."""

from __future__ import annotations

import asyncio
import gzip
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from stat import S_IMODE, S_ISDIR
from typing import Any

import pytest

from casty_es import ClusteredActorSystem, SqlJournal, connect
from casty_es.audit import archive as archive_module
from casty_es.audit.archive import ArchiveWriter, read_archive, rewrite_archive
from casty_es.audit.lines import EntityLine, EventLine
from casty_es.audit.retention import run_retention, set_retention
from casty_es.audit.transfer import export_journal, import_journal
from casty_es.audit.transfer.export_state import Progress
from casty_es.audit.transfer.jsonl import JsonLinesWriter
from casty_es.cli.app import run
from casty_es.errors import InvalidValueError
from casty_es.journal.port import Meta
from casty_es.private_files import append_to, create, create_anew, make_folder

UMASKS = (0, 0o022, 0o077, 0o277)


@pytest.fixture(params=UMASKS, ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    """Each umask in turn."""
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def modes(folder: Path) -> dict[str, int]:
    """Return the mode of everything in a folder, by its name."""
    return {str(one.relative_to(folder)): S_IMODE(one.lstat().st_mode) for one in folder.rglob("*")}


async def test_a_journal_and_what_lies_beside_it(tmp_path: Path, umask: int) -> None:
    """Given any umask, then the file, its log, its index and the lock files are their owner's alone."""
    async with connect(f"sqlite:///{tmp_path}/casty.db") as d:
        await d.counter("hits").increment()
        journal = SqlJournal(f"sqlite:///{tmp_path}/casty.db")
        await journal.open()
        async with journal.alone():
            found = modes(tmp_path)
        await journal.close()
    assert {"casty.db", "casty.db-wal", "casty.db-shm", "casty.db.maintenance.lock"} < found.keys()
    assert any(name.endswith(".lock") and "node" in name for name in found)
    assert set(found.values()) == {0o600}, umask


async def test_the_mode_of_a_file_that_was_there_stays(tmp_path: Path, sqlite_template: Path) -> None:
    """Given a journal that its owner shares with a group, then it stays so, and what lies beside it is shared too."""
    file = tmp_path / "casty.db"
    shutil.copyfile(sqlite_template, file)
    file.chmod(0o660)
    async with connect(f"sqlite:///{file}") as d:
        await d.counter("hits").increment()
        assert set(modes(tmp_path).values()) == {0o660}
    assert S_IMODE(file.stat().st_mode) == 0o660


async def test_a_new_journal_behind_a_link(tmp_path: Path, umask: int) -> None:
    """Given a link to where there is no file yet, then the file that is made has the mode."""
    target = tmp_path / "there.db"
    (tmp_path / "casty.db").symlink_to(target)
    async with connect(f"sqlite:///{tmp_path}/casty.db") as d:
        await d.counter("hits").increment()
    assert S_IMODE(target.stat().st_mode) == 0o600, umask


@pytest.mark.parametrize("name", ["out.jsonl", "out.jsonl.gz", "out.parquet"])
async def test_exports(
    journal_url: str, tmp_path: Path, umask: int, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given an export, then it is its owner's alone at each moment, and so is what says how far it is."""
    # given
    os.umask(0o022)
    async with ClusteredActorSystem(journal=SqlJournal(journal_url)) as system:
        await system.distributed().counter("hits").increment()
    folder = tmp_path / "exports"
    folder.mkdir()
    os.umask(umask)
    seen: list[dict[str, int]] = []
    real = Progress.save

    def save(progress: Progress, state: Any) -> None:
        real(progress, state)
        seen.append(modes(folder))

    monkeypatch.setattr(Progress, "save", save)

    # when
    await export_journal(journal_url, folder / name)

    # then
    assert any(f"{name}.part" in one for one in seen)
    assert any(f"{name}.progress" in one for one in seen)
    for one in [*seen, modes(folder)]:
        for file, mode in one.items():
            is_folder = S_ISDIR((folder / file).lstat().st_mode) if (folder / file).exists() else "parquet" in file
            assert mode in ({0o700, 0o600} if is_folder else {0o600}), file


async def test_anchors_and_the_progress_of_a_verification(
    sqlite_journal_url: str, tmp_path: Path, umask: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Given an anchor, or a verification that can be resumed, then its file is its owner's alone."""
    folder = tmp_path / "out"
    folder.mkdir(0o700)
    folder.chmod(0o700)
    url = ["--url", sqlite_journal_url]
    assert await asyncio.to_thread(run, ["anchor", "--out", str(folder / "anchor.json"), *url]) == 0
    assert await asyncio.to_thread(run, ["verify", "--resume", str(folder / "progress"), *url]) == 0
    capsys.readouterr()
    assert modes(folder) == {"anchor.json": 0o600, "progress": 0o600}, umask


@pytest.mark.parametrize("suffix", [".part", ".progress.new"])
@pytest.mark.parametrize("to", ["file", "nothing", "hard"])
async def test_an_export_follows_no_link(sqlite_journal_url: str, tmp_path: Path, suffix: str, to: str) -> None:
    """Given a link where an export would write first, then nothing is written through it, and the error names it."""
    # given
    theirs, target = tmp_path / "theirs", tmp_path / "out.jsonl"
    if to != "nothing":
        theirs.write_text("theirs")
    link = target.with_name(target.name + suffix)
    if to == "hard":
        link.hardlink_to(theirs)
    else:
        link.symlink_to(theirs)

    # when
    with pytest.raises(InvalidValueError, match="remove it") as caught:
        await export_journal(sqlite_journal_url, target)

    # then
    assert str(link) in str(caught.value)
    assert not target.exists()
    assert theirs.read_text() == "theirs" if to != "nothing" else not theirs.exists()
    link.unlink()
    await export_journal(sqlite_journal_url, target)


def test_a_part_that_became_a_link(tmp_path: Path) -> None:
    """Given a link in place of a part that is gone on with, then nothing is written."""
    theirs = tmp_path / "theirs"
    theirs.write_bytes(b"0123456789")
    (tmp_path / "out.jsonl.part").symlink_to(theirs)
    writer = JsonLinesWriter(tmp_path / "out.jsonl")
    with pytest.raises(FileExistsError):
        writer.open(5)
    with pytest.raises(FileExistsError):
        writer.write(b"more")
    assert theirs.read_bytes() == b"0123456789"


def test_a_folder_that_is_a_link(tmp_path: Path) -> None:
    """Given a link where a folder is to be made, or a file, then it is refused."""
    (tmp_path / "theirs").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "theirs")
    (tmp_path / "file").touch()
    for name in ("link", "file"):
        with pytest.raises(FileExistsError, match="remove it"):
            make_folder(tmp_path / name)
    make_folder(tmp_path / "theirs")  # this user's own


def test_pipes_are_not_waited_for(tmp_path: Path) -> None:
    """Given a pipe where a file is to be, then it is refused."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for use in (append_to, create_anew, create):
        with pytest.raises(OSError, match=r"exists|is there already"):
            use(pipe)


async def archived(journal: SqlJournal, system: ClusteredActorSystem, folder: Path) -> Path:
    """Return an archive."""
    await asyncio.to_thread(folder.mkdir)
    counter = system.distributed().counter("hits")
    for _ in range(5):
        await counter.increment()
    await set_retention(journal, "counter", "hits", 1)
    report = await run_retention(system, journal, folder)
    return folder / report.archives[0]


@pytest.mark.parametrize("kind_of_umask", [0o022, 0o277], ids=oct)
async def test_archives(journal_url: str, tmp_path: Path, kind_of_umask: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given an archive, then it is its owner's alone, and keeps the mode that it was given while it is rewritten."""
    # given
    journal = SqlJournal(journal_url)
    async with ClusteredActorSystem(journal=journal) as system:
        file = await archived(journal, system, tmp_path / "archives")
    assert S_IMODE(file.stat().st_mode) == 0o600
    file.chmod(0o640)
    seen: set[int] = set()
    real = ArchiveWriter.line

    def line(writer: ArchiveWriter, one: Any) -> None:
        real(writer, one)
        seen.update(modes(file.parent).values())

    monkeypatch.setattr(ArchiveWriter, "line", line)

    def change(one: EventLine | EntityLine) -> EventLine | EntityLine | None:
        return None if isinstance(one, EventLine) and one.sequence == 1 else one

    # when
    before = os.umask(kind_of_umask)
    try:
        changed = await asyncio.to_thread(rewrite_archive, file, change)
    finally:
        os.umask(before)

    # then
    assert changed == 1
    assert next(event[4] for _, event in read_archive(file)) == 2
    assert seen == {0o640, 0o600}
    assert S_IMODE(file.stat().st_mode) == 0o640


def test_a_group_that_cannot_be_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given an archive of a group that this process may not give, then its successor has no group to read it."""
    if os.geteuid() != 0:
        pytest.skip("only root can make a file of another group")
    meta = Meta(256, 1, 0)
    file = tmp_path / "a.jsonl.gz"
    ArchiveWriter(file, meta).finish()
    os.chown(file, -1, 12_345)
    file.chmod(0o640)

    def refuse(*_: object) -> None:
        raise PermissionError("not a member")

    monkeypatch.setattr(archive_module.os, "chown", refuse)
    ArchiveWriter(file, meta).finish(replace=True)
    assert S_IMODE(file.stat().st_mode) == 0o600
    assert gzip.decompress(file.read_bytes())


async def test_an_export_of_its_owner_can_be_imported(sqlite_journal_url: str, tmp_path: Path, umask: int) -> None:
    """Given any umask, then what was exported can be imported."""
    await export_journal(sqlite_journal_url, tmp_path / "out.jsonl")
    await import_journal(tmp_path / "out.jsonl", f"sqlite:///{tmp_path}/copy.db")
    assert S_IMODE((tmp_path / "copy.db").stat().st_mode) == 0o600, umask
