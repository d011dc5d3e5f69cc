"""Holding a lock or a permit while a command runs."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from casty_es import ClusteredActorSystem, Settings, connect
from casty_es.cli.app import run
from casty_es.cli.running import run_while_held
from casty_es.errors import LeaseLostError


def holding(
    url: str, *command: str, structure: tuple[str, ...] = ("lock",), options: tuple[str, ...] = ()
) -> list[str]:
    """Return the command line that runs a command under the lock or semaphore ``deploy``."""
    kind, *more = structure
    arguments = [kind, "run", "deploy", *more, *options, "--url", url, "--", *command]
    return [sys.executable, "-m", "casty_es", *arguments]


@pytest.mark.parametrize("structure", [("lock",), ("semaphore", "--permits", "2")])
def test_output_and_exit_code_are_the_commands(structure: tuple[str, ...], journal_url: str) -> None:
    """A command under a lock or permit behaves as by itself, and knows its fencing token, which grows."""
    tokens = []
    for _ in range(2):
        # given a journal, when a command runs
        command = ("sh", "-c", "echo $CASTY_ES_TOKEN; echo oops >&2; exit 7")
        done = subprocess.run(
            holding(journal_url, *command, structure=structure), capture_output=True, text=True, check=False
        )

        # then its streams and its code are passed on
        assert (done.stderr, done.returncode) == ("oops\n", 7)
        tokens.append(int(done.stdout))
    assert tokens[0] < tokens[1]


def test_json_keeps_stdout_for_itself(sqlite_journal_url: str) -> None:
    """With --json stdout holds one JSON object, and what the command prints goes to stderr."""
    # given a journal, when a command that prints runs with --json
    command = holding(sqlite_journal_url, "echo", "hello", options=("--json",))
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    # then the two are apart
    printed = json.loads(done.stdout)
    assert (printed["lock"], printed["exit_code"], done.stderr) == ("deploy", 0, "hello\n")


@pytest.mark.parametrize(
    ("command", "code"),
    [(("no-such-command-anywhere",), 127), (("/etc/passwd",), 126), (("sh", "-c", "kill -9 $$"), 137)],
)
def test_exit_codes_of_commands_that_did_not_end_by_themselves(
    command: tuple[str, ...], code: int, sqlite_journal_url: str
) -> None:
    """A command that is missing, not executable or killed gives the code of shells, and the lock is free again."""
    # given a journal, when the command runs
    done = subprocess.run(holding(sqlite_journal_url, *command), capture_output=True, text=True, check=False)

    # then the code tells, and nobody holds the lock
    assert done.returncode == code
    assert "Traceback" not in done.stderr
    assert run(["lock", "status", "deploy", "--url", sqlite_journal_url]) == 0


def test_status_shows_the_holder(journal_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Who holds and who waits can be read, from beside the process that writes."""

    async def main() -> None:
        async with connect(journal_url) as d:
            lock, semaphore = d.lock("deploy"), d.semaphore("pool", permits=2)
            await lock.acquire()
            await semaphore.acquire()
            waiting = asyncio.create_task(d.lock("deploy", timeout=60).acquire())

            # when the status is asked for until the second is in line
            status = await asyncio.to_thread(asked, "lock", "deploy")
            while not status["line"]:
                status = await asyncio.to_thread(asked, "lock", "deploy")

            # then both are shown
            assert status["held"] is True
            assert status["holder"]["granted_at"] == 1
            assert status["line"][0]["owner"] != status["holder"]["owner"]
            pool = await asyncio.to_thread(asked, "semaphore", "pool")
            assert (pool["permits"], pool["held"], pool["line"]) == (2, 1, [])
            await lock.release()
            await waiting

    def asked(kind: str, name: str) -> dict[str, object]:
        capsys.readouterr()
        assert run([kind, "status", name, "--json", "--url", journal_url]) == 0
        answer: dict[str, object] = json.loads(capsys.readouterr().out)
        return answer

    # given a holder and a waiter
    asyncio.run(main())


def test_status_of_what_was_never_used(journal_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A lock or semaphore that nobody ever used is free."""
    # given a journal without them, when their status is asked for, then they are free
    assert run(["lock", "status", "deploy", "--url", journal_url]) == 0
    assert capsys.readouterr().out == "free\n"
    assert run(["semaphore", "status", "deploy", "--json", "--url", journal_url]) == 0
    assert json.loads(capsys.readouterr().out)["permits"] is None


def test_destroying_breaks_a_lock(sqlite_journal_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A lock that a dead process left held is free once it is destroyed."""
    # given a process that was killed while it held a lock
    held = (
        "import asyncio, os, sys, casty_es\n\nasync def main():\n    async with casty_es.connect(sys.argv[1]) as d:\n"
    )
    held += "        await d.lock('deploy').acquire()\n        os._exit(9)\n\nasyncio.run(main())\n"
    assert subprocess.run([sys.executable, "-c", held, sqlite_journal_url], check=False).returncode == 9
    assert run(["lock", "status", "deploy", "--url", sqlite_journal_url]) == 0
    assert "held by" in capsys.readouterr().out

    # when it is destroyed
    assert run(["lock", "destroy", "deploy", "--url", sqlite_journal_url]) == 0

    # then it is free at once
    assert subprocess.run(holding(sqlite_journal_url, "true"), check=False).returncode == 0


def test_another_process_waits_for_its_turn(journal_url: str, tmp_path: Path) -> None:
    """Two commands under one lock run one after the other."""
    # given two that read, change and write back a number
    number = tmp_path / "number"
    number.write_text("0")
    command = ("sh", "-c", 'n=$(cat "$0"); sleep 0.3; echo $((n + 1)) > "$0"', str(number))

    # when both run at once
    both = [subprocess.Popen(holding(journal_url, *command)) for _ in range(2)]

    # then neither change is lost
    assert [process.wait(timeout=60) for process in both] == [0, 0]
    assert number.read_text() == "2\n"


def test_a_lock_that_does_not_come_free_in_time(sqlite_journal_url: str, tmp_path: Path) -> None:
    """Whoever waits too long is told, and its command is not run."""

    async def main() -> None:
        async with connect(sqlite_journal_url) as d, d.lock("deploy"):
            # when another process waits for it
            command = holding(sqlite_journal_url, "touch", str(tmp_path / "ran"), options=("--timeout", "0.5"))
            other = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False)

            # then its command did not run
            assert other.returncode == 3
            assert len(other.stderr.splitlines()) == 1
            assert not (tmp_path / "ran").exists()

    # given a lock that is held
    asyncio.run(main())


async def test_a_lost_lease_stops_the_command(tmp_path: Path) -> None:
    """When the lease is over while the command runs, the command is stopped and the loss is an error."""
    # given a held lock, whose lease is renewed every tenth of a second
    async with ClusteredActorSystem(settings=Settings(lease_seconds=0.3)) as system:
        d = system.distributed()
        lock = d.lock("deploy")
        await lock.acquire()
        ready = tmp_path / "ready"
        os.mkfifo(ready)
        running = asyncio.create_task(run_while_held(lock, ["sh", "-c", 'echo $$ > "$0"; exec sleep 600', str(ready)]))
        pid = int(await asyncio.to_thread(ready.read_text))

        # when another breaks the lock
        assert await d.lock("deploy").destroy()

        # then the command is stopped
        with pytest.raises(LeaseLostError, match="was stopped"):
            await running
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_a_termination_is_passed_on(sqlite_journal_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """SIGTERM goes to the command, and the lock is released when that has ended."""
    # given a command that ends in its own way on SIGTERM
    script = "trap 'exit 5' TERM; echo ready; while :; do sleep 0.05; done"
    with subprocess.Popen(holding(sqlite_journal_url, "sh", "-c", script), stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"

        # when the holder is terminated
        process.send_signal(signal.SIGTERM)

        # then the command chose its code, and the lock is free
        assert process.wait(timeout=60) == 5
    assert run(["lock", "status", "deploy", "--url", sqlite_journal_url]) == 0
    assert capsys.readouterr().out == "free\n"
