"""Outputs that cannot be written, moments that no calendar has, and Ctrl-C: a line or none, and never a traceback."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from casty_es.cli.app import run
from casty_es.journal.access_tables import AccessTables
from casty_es.journal.urls import sqlite_file
from tests.audit.verifying.journals import LongWriter
from tests.conftest import run_sql


@pytest.fixture
async def long_journal(sqlite_journal_url: str) -> str:
    """A journal that takes a while to import."""
    await LongWriter(sqlite_journal_url).write(60_000)
    return sqlite_journal_url


def called(*arguments: str) -> list[str]:
    """Return the command line."""
    return [sys.executable, "-m", "casty_es", *arguments]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("options", [(), ("--json",)])
def test_a_full_output(options: tuple[str, ...], sqlite_journal_url: str) -> None:
    """An output that takes nothing is one line, and nothing more at the end of the process."""
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            called("doctor", *options, "--url", sqlite_journal_url), stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert done.returncode == 3
    assert len(done.stderr.splitlines()) == 1
    assert b"could not be written" in done.stderr


@pytest.mark.parametrize("closed", ["stdout", "stdout and stderr"])
def test_a_closed_output(closed: str, sqlite_journal_url: str) -> None:
    """An output that was closed is one that nobody reads."""
    redirections = ">&- 2>&-" if "stderr" in closed else ">&-"
    command = " ".join(called("doctor", "--url", sqlite_journal_url))
    done = subprocess.run(["sh", "-c", f"{command} {redirections}"], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("option", ["--at=9999-12-31T23:59:59-12:00", "--at=0001-01-01T00:00:00+12:00"])
def test_a_moment_beyond_the_calendar(option: str, sqlite_journal_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A moment that has no date in UTC is wrong usage."""
    for command in (["show", "counter", "hits"], ["who", "lock", "deploy"]):
        assert run([*command, option, "--url", sqlite_journal_url]) == 2
        assert "is not a time" in capsys.readouterr().err


def test_text_that_no_terminal_can_show(sqlite_journal_url: str) -> None:
    """What the output's encoding does not have is written with escapes."""
    environment = {**os.environ, "PYTHONIOENCODING": "latin-1", "PYTHONUTF8": "0"}
    put = called("map", "put", "users", "日", "1", "--url", sqlite_journal_url)
    subprocess.run(put, check=True, capture_output=True)
    done = subprocess.run(
        called("map", "keys", "users", "--url", sqlite_journal_url), capture_output=True, env=environment, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"\\u65e5\n", b"")


def test_ctrl_c_during_an_import(long_journal: str, tmp_path: Path) -> None:
    """An import that is interrupted says nothing, and goes on later."""
    exported = str(tmp_path / "long.jsonl")
    assert run(["export", exported, "--url", long_journal]) == 0
    for number in range(20):  # on a busy machine one may be done before anybody sees that it has begun
        url = f"sqlite:///{tmp_path / f'new-{number}.db'}"
        command = called("import", exported, "--url", url)
        with subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            preexec_fn=_hears_ctrl_c,  # noqa: PLW1509 - it takes no lock that another thread might hold
        ) as process:
            while process.poll() is None and not _begun(url):
                time.sleep(0.01)
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGINT)
            _, said = process.communicate()
        if process.returncode:
            break
    assert (process.returncode, said) == (130, b"")

    # and then it is complete
    assert run(["import", exported, "--url", url]) == 0
    assert run(["verify", "--processes", "1", "--url", url]) == 0


def _hears_ctrl_c() -> None:
    """Undo what a shell does to whatever it runs in the background, these tests too: there nobody hears control-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _begun(url: str) -> bool:
    if not sqlite_file(url).exists():
        return False
    try:
        # The note of an import that is under way, which comes before all rows: those may come together at its end.
        return bool(run_sql(url, "SELECT 1 FROM casty_secrets WHERE name = 'import'"))
    except Exception:  # noqa: BLE001 - the tables are not there yet
        return False


def test_an_error_that_nobody_foresaw(
    sqlite_journal_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A fault of ours is one line too, and says how to get more."""

    async def broken(_: AccessTables) -> tuple[bytes, ...]:
        raise KeyError("nobody knows")

    monkeypatch.setattr(AccessTables, "secrets", broken)
    assert run(["secret", "--url", sqlite_journal_url]) == 3
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1
    assert "CASTY_ES_TRACEBACK=1" in err

    monkeypatch.setenv("CASTY_ES_TRACEBACK", "1")
    run(["secret", "--url", sqlite_journal_url])
    assert "nobody knows" in capsys.readouterr().err
