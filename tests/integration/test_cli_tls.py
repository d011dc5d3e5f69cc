"""TLS and secrets from the command line: two nodes that ask for certificates, commands and a client that show them."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from casty_es import ClusterClient, NotAllowedError
from casty_es.certificates import client_tls
from casty_es.cli.app import run
from casty_es.cli.where import split_address

from .test_cli_nodes import Run, start

__all__ = ["start"]  # a fixture

pytestmark = pytest.mark.timeout(300)  # two nodes and some forty commands

Cli = Callable[..., Any]


class Files:
    """A folder with what an authority gave out, and with the cluster's secret."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        authority = trustme.CA()
        authority.cert_pem.write_to_path(folder / "ca.pem")
        trustme.CA().cert_pem.write_to_path(folder / "other-ca.pem")
        for name, issued in (("node", authority.issue_cert("127.0.0.1")), ("report", authority.issue_cert("report"))):
            for blob in issued.cert_chain_pems:
                blob.write_to_path(folder / f"{name}.pem", append=True)
            issued.private_key_pem.write_to_path(folder / f"{name}.key")

    def tls(self, name: str | None, authority: str = "ca") -> list[str]:
        """Return the options of somebody who has this certificate, or none, and trusts an authority."""
        own = (
            []
            if name is None
            else ["--tls-cert", f"{self.folder}/{name}.pem", "--tls-key", f"{self.folder}/{name}.key"]
        )
        return ["--tls-ca", f"{self.folder}/{authority}.pem", *own]


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """Certificates of one authority, and another authority's."""
    return Files(tmp_path)


@pytest.fixture
def nodes(sqlite_journal_url: str, files: Files) -> Iterator[list[dict[str, Any]]]:
    """Two nodes that are reached over TLS by those who show a certificate."""
    command = [sys.executable, "-m", "casty_es", "node", "--json", "--url", sqlite_journal_url]
    processes = [
        subprocess.Popen([*command, *files.tls("node"), "--tls-require-cert"], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    ready = []
    for process in processes:
        assert process.stdout is not None
        ready.append(json.loads(process.stdout.readline()))
    yield ready
    for process in processes:
        process.send_signal(signal.SIGTERM)
    for process in processes:
        process.communicate(timeout=60)


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    """``cli("nodes", …)``: run a command with --json and give what it printed."""

    def call(*arguments: str, code: int = 0) -> Any:
        capsys.readouterr()
        assert run([*arguments, "--json"]) == code, capsys.readouterr()
        out, _ = capsys.readouterr()
        return json.loads(out)

    return call


@pytest.fixture
def secret_file(sqlite_journal_url: str, tmp_path: Path, cli: Cli) -> str:
    """The cluster's secret in a file, as ``casty-es secret`` prints it."""
    file = tmp_path / "secret"
    file.write_text(cli("secret", "--url", sqlite_journal_url)["secret"] + "\n")
    return str(file)


def test_two_nodes_commands_and_a_client_over_tls(
    sqlite_journal_url: str, files: Files, nodes: list[dict[str, Any]], secret_file: str, cli: Cli
) -> None:
    """Given two nodes with TLS, when commands and a client show a certificate, then all of them count together."""
    url, report = ["--url", sqlite_journal_url], files.tls("report")
    by_node = ["--node", nodes[0]["address"], "--secret-file", secret_file]

    assert [row["answers"] for row in cli("nodes", *by_node, *report)["nodes"]] == [True, True]
    assert [row["alive"] for row in cli("nodes", *url, *report)["nodes"]] == [True, True]
    assert cli("counter", "increment", "hits", *by_node, *report) == {"value": 1}
    assert cli("counter", "increment", "hits", *url, *report) == {"value": 2}
    names = [f"c{number}" for number in range(20)]  # some of them are the other node's
    assert [cli("counter", "increment", name, *by_node, *report)["value"] for name in names[:4]] == [1] * 4
    assert {row["owner_alive"] for row in cli("slots", *by_node, *report)["slots"]} == {True}

    secret = bytes.fromhex(Path(secret_file).read_text())

    async def count() -> list[int]:
        tls = client_tls(files.folder / "ca.pem", files.folder / "report.pem", files.folder / "report.key")
        contacts = [split_address(node["address"]) for node in nodes]
        async with ClusterClient(contact_points=contacts, secret=secret, ssl=tls) as client:
            d = client.distributed()
            return [await d.counter("hits").increment(), *[await d.counter(name).increment() for name in names]]

    assert asyncio.run(count()) == [3, *[2] * 4, *[1] * 16]


def test_a_token_over_tls(sqlite_journal_url: str, files: Files, start: Run, cli: Cli) -> None:
    """Given a node with TLS, when a client and commands have a token and trust its authority, that is all they need."""
    node = start(sqlite_journal_url, "--node-id", "first", *files.tls("node")).address
    options = ["--name", "checkout", "--write-of", "counter/orders", "--url", sqlite_journal_url]
    token = cli("token", "create", *options)["token"]
    by_token = ["--node", node, "--token", token]

    async def count() -> int:
        tls = client_tls(files.folder / "ca.pem")
        async with ClusterClient(contact_points=[split_address(node)], token=token, ssl=tls) as client:
            d = client.distributed()
            with pytest.raises(NotAllowedError, match="It did not happen"):
                await d.counter("other").increment()
            return await d.counter("orders").increment()

    assert asyncio.run(count()) == 1
    assert cli("counter", "increment", "orders", *by_token, *files.tls(None)) == {"value": 2}
    assert cli("counter", "increment", "other", *by_token, *files.tls(None), code=3)["error"]["type"] == (
        "NotAllowedError"
    )
    for others in ([], files.tls(None, "other-ca")):  # the token goes to nobody who is not known
        assert cli("counter", "increment", "orders", *by_token, *others, code=3)["error"]["type"] in {
            "PeerLostError",
            "PeerError",
        }
    assert cli("counter", "get", "orders", *by_token, *files.tls(None)) == {"value": 2}


@pytest.mark.parametrize(
    ("name", "authority"),
    [pytest.param(None, "ca", id="no certificate"), pytest.param("report", "other-ca", id="another authority")],
)
def test_who_shows_or_trusts_something_else_is_refused(
    files: Files, nodes: list[dict[str, Any]], secret_file: str, cli: Cli, name: str | None, authority: str
) -> None:
    """Given nodes that ask for certificates, when a command has none or trusts others, then it fails in one line."""
    by_node = ["--node", nodes[0]["address"], "--secret-file", secret_file]
    told = cli("counter", "increment", "hits", *by_node, *files.tls(name, authority), code=3)
    assert told["error"]["type"] in {"PeerLostError", "PeerError"}
    told = cli("counter", "increment", "hits", *by_node, code=3)
    assert told["error"]["type"] in {"PeerLostError", "PeerError"}
    assert cli("counter", "get", "hits", *by_node, *files.tls("report")) == {"value": 0}


def test_everything_can_be_set_by_variables(
    files: Files, nodes: list[dict[str, Any]], secret_file: str, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given the variables instead of options, when a command runs, then it does the same."""
    for name, value in (
        ("NODE", nodes[1]["address"]),
        ("SECRET_FILE", secret_file),
        ("TLS_CA", files.folder / "ca.pem"),
        ("TLS_CERT", files.folder / "report.pem"),
        ("TLS_KEY", files.folder / "report.key"),
    ):
        monkeypatch.setenv(f"CASTY_ES_{name}", str(value))

    assert cli("counter", "increment", "hits") == {"value": 1}


def test_a_command_that_has_to_be_a_node_needs_a_certificate(sqlite_journal_url: str, files: Files, cli: Cli) -> None:
    """Given no node, when a command knows an authority only, then it says so; with a certificate it is a node."""
    increment = ["counter", "increment", "hits", "--url", sqlite_journal_url]
    assert "--tls-cert" in cli(*increment, *files.tls(None), code=3)["error"]["message"]
    assert cli(*increment, *files.tls("node"), "--tls-require-cert") == {"value": 1}


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--tls-cert", "missing.pem", "--tls-key", "missing.key"], "missing.pem"),
        (["--tls-cert", "missing.pem"], "needs its key"),
        (["--tls-ca", "missing.pem"], "missing.pem"),
        (["--tls-require-cert"], "--tls-cert"),
        (["--secret-file", "missing"], "missing"),
        (["--secret-file", "missing", "--secret", "00"], "not both"),
    ],
)
def test_what_cannot_be_used_is_told(sqlite_journal_url: str, cli: Cli, options: list[str], text: str) -> None:
    """Given files that are not there, or half of what is needed, when a command gets them, then it says which."""
    told = run_failing(cli, "counter", "get", "hits", "--url", sqlite_journal_url, *options)
    assert text in told
    assert "Nothing was" in told
    told = run_failing(cli, "node", "--url", sqlite_journal_url, *options)
    assert text in told


def run_failing(cli: Cli, *arguments: str) -> str:
    """Run a command that gets what it cannot use, and return its message."""
    return str(cli(*arguments, code=2)["error"]["message"])


def test_a_key_with_a_password_is_refused_at_once(sqlite_journal_url: str, files: Files, cli: Cli) -> None:
    """Given a key that nobody can open here, when a command gets it, then nobody is asked for a password."""
    key = files.folder / "locked.key"
    from cryptography.hazmat.primitives import serialization

    private = serialization.load_pem_private_key((files.folder / "node.key").read_bytes(), None)
    how = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"x"))
    key.write_bytes(private.private_bytes(*how))
    options = ["--tls-cert", f"{files.folder}/node.pem", "--tls-key", str(key)]

    assert "without a password" in run_failing(cli, "counter", "get", "hits", "--url", sqlite_journal_url, *options)
