"""What the command line says when something is wrong: one line, no traceback, an exit code."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys

import pytest

from casty_es import SqlJournal, connect
from casty_es.cli.app import run
from casty_es.journal.urls import sqlite_file

READING = [
    ["counter", "get", "x"],
    ["map", "get", "x", "k"],
    ["map", "contains", "x", "k"],
    ["map", "keys", "x"],
    ["set", "size", "x"],
    ["set", "contains", "x", "1"],
    ["queue", "peek", "x"],
    ["queue", "size", "x"],
    ["lock", "status", "x"],
    ["semaphore", "status", "x"],
    ["log", "counter/x"],
    ["nodes"],
    ["slots"],
    ["secret"],
    ["db", "check"],
]


@pytest.mark.parametrize("command", READING, ids=" ".join)
def test_reading_makes_no_file(command: list[str], sqlite_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A command that only reads says that there is no journal, and makes none."""
    # given no file, when something is read
    assert run([*command, "--url", sqlite_url]) == 3

    # then one line tells what to run
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1
    assert "casty-es db upgrade" in err
    assert not sqlite_file(sqlite_url).exists()


@pytest.mark.parametrize(
    ("command", "code", "kind"),
    [
        (["counter", "increment", "hits", "1.5"], 2, "UsageError"),
        (["counter", "increment", "hits", "9" * 4001], 2, "BoundsError"),
        (["counter", "increment", "hits", "9" * 5000], 2, "UsageError"),
        (["counter", "increment", ""], 2, "InvalidArgumentError"),
        (["counter", "increment", "x" * 513], 2, "InvalidArgumentError"),
        (["counter", "increment", "hits", "--nonsense", "1"], 2, "UsageError"),
        (["map", "put", "users", "alice", "{"], 2, "UsageError"),
        (["map", "put", "users", "alice", "NaN"], 2, "UsageError"),
        (["map", "put", "users", "alice", "1e999"], 2, "InvalidValueError"),
        (["map", "put", "users", "", "1"], 2, "InvalidArgumentError"),
        (["map", "put", "users", "one", "1", "--key-type", "int"], 2, "UsageError"),
        (["set", "add", "tags", "[" * 100_000], 2, "UsageError"),
        (["lock", "run", "deploy", "--timeout", "0", "--", "true"], 2, "InvalidArgumentError"),
        (["lock", "run", "deploy", "--timeout", "nan", "--", "true"], 2, "InvalidArgumentError"),
        (["lock", "status", ""], 2, "InvalidArgumentError"),
        (["semaphore", "run", "pool", "--permits", "0", "--", "true"], 2, "InvalidArgumentError"),
        (["log", "hits"], 2, "UsageError"),
        (["log", "nothing/hits"], 2, "UsageError"),
        (["log", "map/users"], 2, "UsageError"),
        (["log", "counter/hits", "--key", "x"], 2, "UsageError"),
        (["log", "counter/hits"], 1, "NotThereError"),
        (["log", "counter/hits", "--limit", "0"], 2, "UsageError"),
        (["db", "upgrade", "--slots", "0"], 2, "InvalidArgumentError"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else "",
)
def test_bad_input(
    command: list[str],
    code: int,
    kind: str,
    sqlite_journal_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Input that cannot be used is refused with a code and a reason, in words and in JSON, and nothing is recorded."""
    monkeypatch.setenv("CASTY_ES_DATABASE_URL", sqlite_journal_url)
    # given a journal, when the command comes
    options = command.index("--") if "--" in command else len(command)
    assert run(command) == code
    out, err = capsys.readouterr()

    # then a person reads the reason
    assert out == ""
    assert "Traceback" not in err
    assert err.strip()
    assert kind == "UsageError" or len(err.splitlines()) == 1

    # and a program does
    assert run([*command[:options], "--json", *command[options:]]) == code
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["type"] == kind
    assert error["message"]
    assert recorded(sqlite_journal_url) == 0


def recorded(url: str) -> int:
    """Count the events that are not lease records."""

    async def main() -> int:
        journal = SqlJournal(url)
        meta = await journal.open()
        try:
            return sum([len([r for r in await journal.records(s) if r.entity]) for s in range(meta.slots)])
        finally:
            await journal.close()

    return asyncio.run(main())


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("mysql://localhost/x", 2),
        ("nonsense", 2),
        ("sqlite://", 2),
        ("postgresql://127.0.0.1:1/x", 3),
        ("sqlite:////no/folder/x.db", 3),
    ],
)
def test_bad_urls(url: str, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    """A journal that cannot be opened is one line, whether reading or writing."""
    for command in (["counter", "get", "x"], ["counter", "increment", "x"], ["db", "current"]):
        # given such a URL, when it is used
        assert run([*command, "--url", url]) == code

        # then it is said
        out, err = capsys.readouterr()
        assert out == ""
        assert len(err.splitlines()) == 1


def test_postgres_is_never_migrated_by_itself(postgres_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """On Postgres a missing schema is an error that names the command to run, for writers too."""
    # given an empty database, when something is written
    assert run(["counter", "increment", "x", "--url", postgres_url]) == 3

    # then it is refused and nothing was made
    assert "casty-es db upgrade" in capsys.readouterr().err
    assert run(["db", "current", "--json", "--url", postgres_url]) == 0
    assert json.loads(capsys.readouterr().out)["revision"] is None


def test_a_reader_that_goes_away(sqlite_journal_url: str) -> None:
    """When whoever reads the output leaves, the command ends without a word."""

    # given more keys than a pipe holds
    async def fill() -> None:
        async with connect(sqlite_journal_url) as d:
            users = d.map[str, int]("users")
            await asyncio.gather(*(users.put(f"{'x' * 400}-{number}", number) for number in range(400)))

    asyncio.run(fill())

    # when the reader takes nothing and goes
    with subprocess.Popen(
        [sys.executable, "-m", "casty_es", "map", "keys", "users", "--url", sqlite_journal_url],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        said = process.stderr.read()

    # then nothing is complained about
    assert said == b""


def test_help_is_there_for_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    """Help names every group of commands."""
    # given nothing, when help is asked for
    assert run(["--help"]) == 0

    # then every command is in it
    shown = capsys.readouterr().out
    groups = ("db", "counter", "map", "set", "queue", "lock", "semaphore")
    for name in (*groups, "log", "node", "nodes", "slots", "doctor", "secret", "accept-loss", "demo"):
        assert f" {name} " in shown
