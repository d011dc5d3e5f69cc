"""Tokens and the secret from the command line, beside nodes that run in processes of their own."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from casty_es.cli.app import run

from .test_cli_nodes import Cli, Node, Run, cli, start

__all__ = ["cli", "start"]  # fixtures

Sql = Callable[..., list[tuple[Any, ...]]]


@pytest.fixture
def node(journal_url: str, start: Run) -> Iterator[Node]:
    """A node."""
    return start(journal_url, "--node-id", "first")


def made(cli: Cli, url: str, name: str, *options: str) -> str:
    """Make a token."""
    return str(cli("token", "create", "--name", name, *options, "--url", url)["token"])


def test_a_token_is_made_used_and_revoked(
    journal_url: str, node: Node, cli: Cli, monkeypatch: pytest.MonkeyPatch, sql: Sql
) -> None:
    """Every command takes a token; the dashboard's reads and nothing else; what was revoked is refused soon."""
    monkeypatch.setenv("CASTY_ES_DATABASE_URL", journal_url)
    reader = made(cli, journal_url, "dashboard", "--read")
    writer = made(cli, journal_url, "checkout", "--write-of", "counter/orders-*", "--ends", "2099-01-01")
    # of no token enough stands in the database to be it
    kept = sql(journal_url, "SELECT * FROM casty_tokens")
    for text in (reader, writer):
        assert text.split("_", 2)[2] not in str(kept)
    monkeypatch.delenv("CASTY_ES_DATABASE_URL")
    monkeypatch.setenv("CASTY_ES_NODE", node.address)

    monkeypatch.setenv("CASTY_ES_ACCESS_TOKEN", writer)
    assert cli("counter", "increment", "orders-1") == {"value": 1}
    assert cli("counter", "increment", "other", code=3)["error"]["type"] == "NotAllowedError"
    monkeypatch.delenv("CASTY_ES_ACCESS_TOKEN")

    assert cli("counter", "get", "orders-1", "--token", reader) == {"value": 1}
    refused = cli("counter", "increment", "orders-1", "--token", reader, code=3)["error"]
    assert refused["type"] == "NotAllowedError"
    assert "It did not happen." in refused["message"]
    assert [one["node_id"] for one in cli("nodes", "--token", reader)["nodes"]] == ["first"]
    assert cli("counter", "get", "orders-1", "--token", reader) == {"value": 1}

    monkeypatch.delenv("CASTY_ES_NODE")
    [event] = [cli("log", "counter/orders-1", "--url", journal_url)]
    assert (event["actor"], event["principal"]) == (None, "token:checkout")

    listed = {one["name"]: one for one in cli("token", "list", "--url", journal_url)["tokens"]}
    assert [listed[name]["valid"] for name in ("dashboard", "checkout")] == [True, True]
    assert listed["checkout"]["write"] == ["counter/orders-*"]
    assert listed["checkout"]["ends_at"].startswith("20")
    assert "token" not in listed["dashboard"]
    cli("token", "revoke", "dashboard", "--url", journal_url)
    until = time.monotonic() + 5.0
    while run(["counter", "get", "orders-1", "--node", node.address, "--token", reader, "--json"]) == 0:
        assert time.monotonic() < until
    assert cli("token", "revoke", "dashboard", "--url", journal_url, code=2)["error"]["type"] == "InvalidArgumentError"
    assert [one["valid"] for one in cli("token", "list", "--url", journal_url)["tokens"]] == [False, True]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (("--name", "x"), "allows nothing"),
        (("--name", "x", "--read", "--ends", "2001-01-01"), "over already"),
        (("--name", "x", "--read", "--ends", "soon"), "not a time"),
        (("--name", "a b", "--read"), "blank"),
        (("--name", "a:b", "--read"), "colon"),
        (("--name", "", "--read"), "bytes"),
        (("--name", "x", "--read-of", "users"), "KIND/NAME"),
        (("--name", "x", "--write-of", "table/users"), "KIND/NAME"),
        (("--name", "x", "--write-of", "map/"), "KIND/NAME"),
    ],
)
def test_what_is_no_token_is_not_made(sqlite_journal_url: str, cli: Cli, options: tuple[str, ...], text: str) -> None:
    """Nothing is written for a token that cannot be one."""
    told = cli("token", "create", *options, "--url", sqlite_journal_url, code=2)["error"]["message"]
    assert text in told
    assert cli("token", "list", "--url", sqlite_journal_url)["tokens"] == []


def test_people_are_shown_a_token_once(sqlite_journal_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The token alone goes to stdout; the list has everything but that."""
    assert run(["token", "create", "--name", "dashboard", "--read", "--operate", "--url", sqlite_journal_url]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("ces_")
    assert len(out.splitlines()) == 1
    assert "read */*, operate" in err
    assert run(["token", "list", "--url", sqlite_journal_url]) == 0
    listed = capsys.readouterr().out
    assert "dashboard" in listed
    assert "1 of 1" in listed
    assert out.strip().split("_", 2)[2] not in listed
    assert run(["token", "revoke", out.strip(), "--url", sqlite_journal_url]) == 2
    told = capsys.readouterr().err
    assert "name or id" in told
    assert out.strip() not in told


@pytest.mark.parametrize("with_secret", [False, True])
def test_a_token_goes_with_a_node(cli: Cli, with_secret: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """A token beside a database, or beside the secret, is a mistake."""
    options = ("--node", "127.0.0.1:1", "--secret", "00" * 16) if with_secret else ()
    assert cli("counter", "get", "c", "--token", "ces_x", *options, code=2)["error"]["type"] == "UsageError"


def test_the_secret_is_rotated_beside_a_node(journal_url: str, node: Node, cli: Cli) -> None:
    """Both secrets are valid until the old one goes; the node was never started again."""
    old = cli("secret", "--url", journal_url)["secret"]
    begun = cli("secret", "rotate", "--url", journal_url)
    new = begun["secret"]
    assert begun["valid"] == 2
    assert old != new
    for secret in (old, new):
        assert cli("counter", "increment", "c", "--node", node.address, "--secret", secret)["value"] > 0
    assert cli("secret", "--url", journal_url)["secret"] == new
    assert (
        cli("secret", "rotate", "--finish", "--cancel", "--url", journal_url, code=2)["error"]["type"] == "UsageError"
    )
    assert cli("secret", "rotate", "--finish", "--url", journal_url) == {"valid": 1, "gone": "old"}
    until = time.monotonic() + 5.0
    while run(["counter", "get", "c", "--node", node.address, "--secret", old, "--json"]) == 0:
        assert time.monotonic() < until
    assert cli("counter", "get", "c", "--node", node.address, "--secret", new) == {"value": 2}
    assert cli("counter", "increment", "c", "--url", journal_url) == {"value": 3}
    assert cli("secret", "rotate", "--finish", "--url", journal_url, code=3)["error"]["type"] == "ConfigurationError"


def test_a_url_in_front_of_rotate_is_not_passed_over(sqlite_journal_url: str, cli: Cli) -> None:
    """It would be another database's secret that is replaced."""
    told = cli("secret", "--url", sqlite_journal_url, "rotate", code=2)["error"]["message"]
    assert "behind rotate" in told


def test_a_short_secret_is_told(cli: Cli) -> None:
    """The option is refused as the library refuses it."""
    told = cli("counter", "get", "c", "--node", "127.0.0.1:1", "--secret", "00ff", code=2)["error"]
    assert told["type"] == "InvalidArgumentError"
    assert "at least 16" in told["message"]


def test_the_log_shows_who_it_was(journal_url: str, node: Node, cli: Cli, capsys: pytest.CaptureFixture[str]) -> None:
    """The log shows the principal of another process's command, to programs and to people."""
    secret = cli("secret", "--url", journal_url)["secret"]
    cli("counter", "increment", "c", "--node", node.address, "--secret", secret)
    assert run(["log", "counter/c", "--url", journal_url, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["principal"] == "secret"
    assert run(["log", "counter/c", "--url", journal_url]) == 0
    assert "secret" in capsys.readouterr().out


def test_the_log_is_filtered_by_who_it_was(
    sqlite_journal_url: str, start: Run, cli: Cli, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of the events of two programs those of one are shown, and a principal that can be nobody's is refused."""
    node = start(sqlite_journal_url, "--node-id", "first").address
    secret, at = cli("secret", "--url", sqlite_journal_url)["secret"], ["--url", sqlite_journal_url]
    token = made(cli, sqlite_journal_url, "checkout", "--write")
    cli("counter", "increment", "c", "--node", node, "--secret", secret)
    cli("counter", "increment", "c", "--node", node, "--token", token)
    cli("counter", "increment", "d", "--node", node, "--token", token)

    assert run(["log", "--principal", "token:checkout", "--json", *at]) == 0
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(one["name"], one["sequence"], one["principal"]) for one in told] == [
        ("c", 2, "token:checkout"),
        ("d", 1, "token:checkout"),
    ]
    assert run(["log", "counter/c", "--principal", "secret", *at]) == 0
    assert "checkout" not in capsys.readouterr().out
    assert run(["log", "--principal", "token:other", "--json", *at]) == 0
    assert capsys.readouterr().out == ""
    for nobody in ("checkout", "token:", "secret:x", "actor:ann"):
        assert "token:NAME" in cli("log", "--principal", nobody, *at, code=2)["error"]["message"]
