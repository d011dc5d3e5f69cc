"""A long journal, several processes, a verification that is taken up again, and the command line."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from casty_es import InMemoryJournal
from casty_es.audit.verify import Wrong, verify
from casty_es.audit.verify.slot_walk import WORK, Job
from casty_es.cli.app import run
from casty_es.errors import ConfigurationError, InvalidArgumentError, JournalUnavailableError
from casty_es.journal.port import EMPTY_SLOT

from .journals import LongWriter
from .tampering import Tamperer

EVENTS = int(os.environ.get("CASTY_ES_VERIFY_EVENTS", "30000"))


@pytest.mark.timeout(600)
async def test_a_long_journal(journal_url: str) -> None:
    """Given a long journal, when it is verified by one and by two processes, then nothing is wrong in either."""
    await LongWriter(journal_url, snapshot_every=1_000).write(EVENTS)

    alone, shared = await verify(journal_url), await verify(journal_url, processes=2)

    assert alone.findings == shared.findings == []
    assert alone.records == shared.records >= EVENTS
    assert alone.snapshots == shared.snapshots > 0


async def test_processes_find_the_same(tamperer: Tamperer) -> None:
    """Given an edited record, when two processes verify, then they name its position, as one does."""
    place = await tamperer.place("counter", "hits", 30)
    await tamperer.run(f"UPDATE casty_events SET version = 9 WHERE entity = {place.entity} AND sequence = 30")

    report = await verify(tamperer.url, processes=2)

    assert [(one.slot, one.position, one.wrong) for one in report.findings] == [
        (place.slot, place.position, Wrong.ALTERED)
    ]


async def test_a_process_that_cannot_read(tmp_path: Path) -> None:
    """Given a database that is not there, when a process is to read it, then its caller is told why."""
    jobs, url = [Job(0, EMPTY_SLOT)], f"sqlite:///{tmp_path / 'nothing.db'}"

    with pytest.raises(JournalUnavailableError, match="journal"):
        await WORK.in_processes(url, jobs, 2, lambda _: None, lambda _: None)


async def test_taken_up_again(tamperer: Tamperer, tmp_path: Path) -> None:
    """Given a complete verification, when it is taken up again, then only what came since is walked, and is checked."""
    file = tmp_path / "progress.json"
    first = await verify(tamperer.url, resume=file)
    place = await tamperer.place("counter", "hits", 60)
    await tamperer.run(
        "INSERT INTO casty_events SELECT slot, position + 1, epoch, entity, sequence + 1, type, version, payload, "
        f"metadata, command_id, NULL, recorded_at, hash FROM casty_events WHERE entity = {place.entity} "
        "AND sequence = 60"
    )

    second = await verify(tamperer.url, resume=file)

    assert first.ok
    assert second.records == 1
    assert [(one.slot, one.position) for one in second.findings] == [(place.slot, place.position + 1)]


@pytest.mark.parametrize("content", ["", "{}", '{"format":"x","slots":256,"created_at":1,"complete":true,"done":{}}'])
async def test_a_file_that_cannot_be_taken_up(sqlite_journal_url: str, tmp_path: Path, content: str) -> None:
    """Given a file of something else, when a verification is to take it up, then it refuses."""
    file = tmp_path / "progress.json"
    file.write_text(content)

    with pytest.raises(ConfigurationError, match="Nothing was verified"):
        await verify(sqlite_journal_url, resume=file)


async def test_slots_that_are_not_there() -> None:
    """Given a journal, when a slot is named that it does not have, then nothing is verified."""
    with pytest.raises(InvalidArgumentError, match="Nothing was verified"):
        await verify(InMemoryJournal(), slots=[256])


def test_the_commands(written_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Given a journal, when it is anchored and verified by commands, then keys, anchors and verdicts come out."""
    key, public, out = tmp_path / "key.pem", tmp_path / "public.pem", tmp_path / "anchor.json"
    at = ["--url", written_url]

    assert run(["anchor", "--new-key", str(key)]) == 0
    public.write_text(capsys.readouterr().out)
    assert key.stat().st_mode & 0o777 == 0o600
    assert run(["anchor", "--key", str(key), "--out", str(out), *at]) == 0
    assert run(["anchor", "--key", str(key), "--out", str(out), *at]) == 2  # it is there already
    capsys.readouterr()
    assert run(["verify", "--anchor", str(out), "--public-key", str(public), "--processes", "1", *at]) == 0
    assert "Nothing is wrong." in capsys.readouterr().out

    assert run(["verify", "--json", "--slots", "0-3,7", *at]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["ok"], told["slots"], told["findings"]) == (True, 5, [])


async def test_the_command_names_what_is_wrong(tamperer: Tamperer) -> None:
    """Given an edited record, when the command verifies, then it exits with 1 and prints the position."""
    import asyncio

    place = await tamperer.place("counter", "hits", 30)
    await tamperer.run(f"UPDATE casty_events SET version = 9 WHERE entity = {place.entity} AND sequence = 30")
    arguments = ["verify", "--processes", "1", "--url", tamperer.url]

    assert await asyncio.to_thread(run, arguments) == 1
    assert await asyncio.to_thread(run, [*arguments, "--json"]) == 1
