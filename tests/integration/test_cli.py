"""The command line end to end: each command on both databases."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from casty_es.cli.app import run
from casty_es.journal.schema import EXPECTED_REVISION, URL_VARIABLE
from casty_es.journal.urls import sqlite_file

Cli = Callable[..., Any]


@pytest.fixture
def cli(journal_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    """``cli("counter", "get", "hits")``: run a command with --json on a journal and give what it printed."""
    monkeypatch.setenv(URL_VARIABLE, journal_url)

    def call(*arguments: str, code: int = 0) -> Any:
        capsys.readouterr()
        assert run([*arguments, "--json"]) == code
        return json.loads(capsys.readouterr().out)

    return call


REAL = [sys.executable, "-m", "casty_es"]


def process(*arguments: str, folder: Path, program: list[str] = REAL) -> subprocess.CompletedProcess[str]:
    """Run a command in a process of its own."""
    return subprocess.run(
        [*program, *arguments],
        check=False,
        capture_output=True,
        text=True,
        cwd=folder,
        timeout=60,
        env={name: value for name, value in os.environ.items() if name != URL_VARIABLE},
    )


def test_processes_share_a_journal(journal_url: str, tmp_path: Path) -> None:
    """What one process counted, the next one reads."""
    # given a process that has counted
    written = process("counter", "increment", "hits", "5", "--url", journal_url, folder=tmp_path)
    assert (written.stdout, written.stderr, written.returncode) == ("5\n", "", 0)

    # when another asks
    asked = process("counter", "get", "hits", "--url", journal_url, folder=tmp_path)

    # then it is told
    assert (asked.stdout, asked.stderr, asked.returncode) == ("5\n", "", 0)


def test_without_a_url_the_journal_is_casty_db_here(tmp_path: Path) -> None:
    """A first write needs no set-up: the file is made where one stands."""
    # given an empty folder, when something is written
    done = process("counter", "increment", "hits", folder=tmp_path)

    # then the file is there
    assert (done.stdout, done.returncode) == ("1\n", 0)
    assert (tmp_path / "casty.db").exists()


def test_counter(cli: Cli) -> None:
    """A counter counts exactly, beyond 64 bits and below zero."""
    # given a counter beyond 64 bits
    assert cli("counter", "increment", "hits", str(2**70)) == {"value": 2**70}

    # when it is changed, then its values are exact
    assert cli("counter", "increment", "hits") == {"value": 2**70 + 1}
    assert cli("counter", "increment", "hits", "-5") == {"value": 2**70 - 4}
    assert cli("counter", "decrement", "hits", str(2**71)) == {"value": -(2**70) - 4}
    assert cli("counter", "get", "hits") == {"value": -(2**70) - 4}

    # and it is set, from what it is at too
    assert cli("counter", "set", "hits", "-5") == {"previous": -(2**70) - 4}
    assert cli("counter", "compare-and-set", "hits", "0", "7") == {"set": False}
    assert cli("counter", "compare-and-set", "hits", "-5", "7") == {"set": True}
    assert cli("counter", "increment", "hits", "2", "--max", "9") == {"value": 9}
    assert cli("counter", "decrement", "hits", "9", "--min", "0") == {"value": 0}

    # and it is destroyed once
    assert cli("counter", "destroy", "hits") == {"destroyed": True}
    assert cli("counter", "destroy", "hits") == {"destroyed": False}
    assert cli("counter", "get", "hits") == {"value": 0}


def test_map(cli: Cli) -> None:
    """A map keeps JSON values under keys of three types, and null is a value."""
    # given keys of each type
    key = str(uuid4())
    assert cli("map", "put", "users", "alice", '{"age": 30}') == {"previous": None}
    assert cli("map", "put", "users", "-7", "null", "--key-type", "int") == {"previous": None}
    assert cli("map", "put", "users", key, "not JSON", "--text", "--key-type", "uuid") == {"previous": None}

    # when they are asked for, then they are there as they were put
    assert cli("map", "get", "users", "alice") == {"value": {"age": 30}}
    assert cli("map", "get", "users", "-7", "--key-type", "int") == {"value": None}
    assert cli("map", "get", "users", key, "--key-type", "uuid") == {"value": "not JSON"}
    assert cli("map", "contains", "users", "-7") == {"contains": False}
    assert cli("map", "put", "users", "alice", "1") == {"previous": {"age": 30}}
    assert set(cli("map", "keys", "users")["keys"]) == {"alice", -7, str(UUID(key))}

    # and a deleted one is not
    assert cli("map", "delete", "users", "alice") == {"deleted": True}
    assert cli("map", "delete", "users", "alice") == {"deleted": False}
    assert "alice" in cli("map", "get", "users", "alice", code=1)["error"]["message"]

    # and a key is changed in one step
    assert cli("map", "put-if-absent", "users", "bob", "null") == {"put": True}
    assert cli("map", "put-if-absent", "users", "bob", "2") == {"put": False}
    assert cli("map", "replace", "users", "bob", "1", "2") == {"replaced": False}
    assert cli("map", "replace", "users", "bob", "null", "2") == {"replaced": True}
    assert cli("map", "pop", "users", "bob") == {"value": 2}
    assert "bob" in cli("map", "pop", "users", "bob", code=1)["error"]["message"]
    assert "alice" not in cli("map", "keys", "users")["keys"]


def test_set(cli: Cli) -> None:
    """A set holds a value once."""
    # given a value in a set
    assert cli("set", "add", "tags", '"x"') == {"added": True}

    # when it comes again as text, then it is the same
    assert cli("set", "add", "tags", "x", "--text") == {"added": False}
    assert cli("set", "contains", "tags", '"x"') == {"contains": True}
    assert cli("set", "size", "tags") == {"size": 1}

    # and it leaves once
    assert cli("set", "remove", "tags", '"x"') == {"removed": True}
    assert cli("set", "remove", "tags", '"x"') == {"removed": False}
    assert cli("set", "contains", "tags", '"x"') == {"contains": False}
    assert cli("set", "destroy", "tags") == {"destroyed": True}


def test_queue(cli: Cli) -> None:
    """A queue gives back what came first; null is an item, and emptiness is an exit code."""
    # given two items, one of them null
    cli("queue", "enqueue", "jobs", "null")
    cli("queue", "enqueue", "jobs", "-5")
    assert cli("queue", "size", "jobs") == {"size": 2}

    # when they are taken, then they come in order
    assert cli("queue", "peek", "jobs") == {"value": None}
    assert cli("queue", "dequeue", "jobs") == {"value": None}
    assert cli("queue", "dequeue", "jobs") == {"value": -5}

    # and then there is nothing
    assert cli("queue", "peek", "jobs", code=1)["error"]["type"] == "NotThereError"
    assert cli("queue", "dequeue", "jobs", code=1)["error"]["type"] == "NotThereError"
    assert cli("queue", "destroy", "jobs") == {"destroyed": True}


def test_log(cli: Cli, journal_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The log of an entity is its events in order, with where they stand."""
    # given three events
    for amount in ("1", "2", "3"):
        cli("counter", "increment", "a/b", amount)
    capsys.readouterr()

    # when the log is read
    assert run(["log", "counter/a/b", "--json", "--after", "1"]) == 0

    # then each line is an event
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(row["sequence"], row["type"], row["payload"]) for row in rows] == [
        (2, "counter.incremented", {"amount": 2, "value": 3}),
        (3, "counter.incremented", {"amount": 3, "value": 6}),
    ]
    assert rows[0]["epoch"] < rows[0]["position"] < rows[1]["position"]
    assert rows[0]["time"].endswith("+00:00")
    assert UUID(rows[0]["command_id"]).version == 7

    # and as a table it tells where to go on
    assert run(["log", "counter/a/b", "--limit", "2", "--url", journal_url]) == 0
    shown = capsys.readouterr().out
    assert '{"amount": 2, "value": 3}' in shown
    assert '{"amount": 3, "value": 6}' not in shown
    assert run(["log", "counter/a/b", "--after", shown.partition("add --after ")[2].split()[0]]) == 0
    shown = capsys.readouterr().out
    assert '{"amount": 2, "value": 3}' not in shown
    assert '{"amount": 3, "value": 6}' in shown


def test_log_of_a_key(cli: Cli, capsys: pytest.CaptureFixture[str]) -> None:
    """Each key of a map has a log of its own, and markup in a value is shown, not obeyed."""
    # given a key with two events, and another key
    cli("map", "put", "users", "1", '"[red]x[/red]"', "--key-type", "int")
    cli("map", "delete", "users", "1", "--key-type", "int")
    cli("map", "put", "users", "1", '"another"')

    # when its log is read
    assert run(["log", "map/users", "--key", "1", "--key-type", "int"]) == 0

    # then it holds that key's events
    shown = capsys.readouterr().out
    assert "[red]x[/red]" in shown
    assert "another" not in shown
    assert shown.count("map.") == 2


def test_reading_works_beside_a_writer(cli: Cli, journal_url: str, warm: list[str], tmp_path: Path) -> None:
    """Commands that only read work beside another process's node."""
    # given a process that is a node as long as its command runs
    cli("counter", "increment", "hits", "3")
    writer = ("lock", "run", "deploy", "--url", journal_url, "--", *warm)

    # when that command reads
    value = process(*writer, "counter", "get", "hits", "--url", journal_url, folder=tmp_path, program=warm)
    status = process(*writer, "lock", "status", "deploy", "--json", "--url", journal_url, folder=tmp_path, program=warm)

    # then it is answered
    assert (value.stdout, value.returncode) == ("3\n", 0), value.stderr
    assert json.loads(status.stdout)["held"] is True


def test_db(database_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The schema is absent, then made, then as it should be."""
    # given an empty database
    assert run(["db", "current", "--json", "--url", database_url]) == 0
    assert json.loads(capsys.readouterr().out)["revision"] is None
    assert run(["db", "check", "--json", "--url", database_url]) == 3
    assert json.loads(capsys.readouterr().out)["error"]["type"] == "SchemaError"

    # when it is upgraded twice
    for before in (None, EXPECTED_REVISION):
        assert run(["db", "upgrade", "--slots", "8", "--json", "--url", database_url]) == 0
        printed = json.loads(capsys.readouterr().out)
        assert (printed["before"], printed["revision"]) == (before, EXPECTED_REVISION)

    # then it is ready, and its number of slots stays
    assert run(["db", "check", "--url", database_url]) == 0
    assert run(["counter", "increment", "hits", "--url", database_url]) == 0
    capsys.readouterr()
    assert run(["db", "upgrade", "--slots", "9", "--json", "--url", database_url]) == 3
    assert "8 slots" in json.loads(capsys.readouterr().out)["error"]["message"]


def test_db_sql_connects_to_nothing(sqlite_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The SQL of the tables is printed for somebody else to run."""
    # given no file, when the SQL is asked for
    assert run(["db", "sql", "--url", sqlite_url]) == 0

    # then it is there, and the file is not
    assert "CREATE TABLE casty_events" in capsys.readouterr().out
    assert not sqlite_file(sqlite_url).exists()
