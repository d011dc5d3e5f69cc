"""Nodes from the command line: running one, looking at all, and commands that go through them."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from casty_es import ClusteredActorSystem, SqlJournal
from casty_es.cli.app import run
from casty_es.journal.port import Meta, NodeRow, SlotRow

Cli = Callable[..., Any]
Run = Callable[..., "Node"]


class Node:
    """A ``casty-es node`` process that has said that it is ready."""

    def __init__(self, url: str, *options: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "casty_es", "node", "--json", "--url", url, *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"no node: {self.process.communicate()}"
        self.ready: dict[str, Any] = json.loads(line)

    @property
    def id(self) -> str:
        """Its name in the journal."""
        return str(self.ready["node_id"])

    @property
    def address(self) -> str:
        """Where it says that it listens."""
        return str(self.ready["address"])

    def end(self, number: int) -> tuple[int, str, str]:
        """Send a signal; return the exit code and what else the process said on stdout and stderr."""
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=60)
        return self.process.returncode, out, err


@pytest.fixture
def start() -> Iterator[Run]:
    """``start(url, *options)``: run a node that ends with the test at the latest."""
    running: list[Node] = []

    def begin(url: str, *options: str) -> Node:
        running.append(Node(url, *options))
        return running[-1]

    yield begin
    for node in running:
        if node.process.returncode is None:
            node.end(signal.SIGKILL)


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    """``cli("nodes", "--url", url)``: run a command with --json and give what it printed."""

    def call(*arguments: str, code: int = 0) -> Any:
        capsys.readouterr()
        assert run([*arguments, "--json"]) == code
        out, err = capsys.readouterr()
        assert err == ""
        return json.loads(out)

    return call


def written(url: str) -> tuple[Meta, list[NodeRow], list[SlotRow]]:
    """Return what the journal says of itself, of nodes and of slots."""

    async def main() -> tuple[Meta, list[NodeRow], list[SlotRow]]:
        journal = SqlJournal(url)
        meta = await journal.open()
        try:
            return meta, await journal.nodes(), await journal.slot_rows()
        finally:
            await journal.close()

    return asyncio.run(main())


def test_the_environment_says_where_nodes_are(
    sqlite_journal_url: str, start: Run, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node takes host, port and address from the environment; a command that is one for a moment takes no port."""
    # given an environment that names a port, for a node
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
        monkeypatch.setenv("CASTY_ES_HOST", "127.0.0.1")
        monkeypatch.setenv("CASTY_ES_PORT", str(port))
        monkeypatch.setenv("CASTY_ES_ADVERTISE", f"127.0.0.1:{port}")
        # when a command is a node itself, while something else has the port, then it works
        assert cli("counter", "increment", "hits", "--url", sqlite_journal_url) == {"value": 1}
    # and a node has it
    assert start(sqlite_journal_url).address == f"127.0.0.1:{port}"
    assert cli("counter", "increment", "hits", "--url", sqlite_journal_url) == {"value": 2}
    # an argument wins; what would belong to this node's slots cannot be reached, so nothing is asked of it
    assert start(sqlite_journal_url, "--port", "0", "--advertise", "web1").address.startswith("web1:")


def test_a_node_serves_until_it_is_terminated(journal_url: str, start: Run, cli: Cli) -> None:
    """A node says where it listens, owns what commands need, and leaves nothing behind on SIGTERM."""
    # given a node
    node = start(journal_url, "--node-id", "first")
    assert node.ready["node_id"] == "first"
    assert node.ready["pid"] == node.process.pid

    # when commands come, then it is the node that owns what they touch
    assert cli("counter", "increment", "hits", "--url", journal_url) == {"value": 1}
    assert cli("counter", "increment", "hits", "--url", journal_url) == {"value": 2}
    assert cli("counter", "get", "hits", "--url", journal_url) == {"value": 2}
    _, nodes, slots = written(journal_url)
    assert [(row.node_id, row.address) for row in nodes] == [("first", node.address)]
    assert [row.node_id for row in slots] == ["first"]

    # and when it is told to leave, then it says nothing more and is gone
    assert node.end(signal.SIGTERM) == (0, "", "")
    assert written(journal_url)[1:] == ([], [])
    assert cli("counter", "get", "hits", "--url", journal_url) == {"value": 2}


def test_a_node_makes_its_file_and_says_where_it_is(sqlite_url: str) -> None:
    """Without --json a node prints one line for people; control-C ends it in order; the SQLite file is made."""
    # given no file, when a node runs
    command = [sys.executable, "-m", "casty_es", "node", "--url", sqlite_url, "--node-id", "only"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()

        # then it says so, and ends when it is interrupted
        assert line.startswith("node only listens at 127.0.0.1:")
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=60)[0] == ""
        assert process.returncode == 0
    assert written(sqlite_url)[1:] == ([], [])


def test_a_verbose_node_logs_what_it_does(sqlite_journal_url: str, start: Run, cli: Cli) -> None:
    """With --verbose and --json each line of the log is an object with a time, a level and a message."""
    # given a verbose node that was made to own something
    node = start(sqlite_journal_url, "--verbose")
    cli("counter", "increment", "hits", "--url", sqlite_journal_url)

    # when it has left
    code, _, err = node.end(signal.SIGTERM)

    # then the log tells of it
    assert code == 0
    lines = [json.loads(line) for line in err.splitlines()]
    assert all(line.keys() >= {"time", "level", "logger", "message"} for line in lines)
    assert any(line["logger"] == "casty_es.leases" and node.id in line["message"] for line in lines)


def test_a_port_that_is_taken(sqlite_journal_url: str, cli: Cli) -> None:
    """A node that cannot listen says why, and does not stay in the list."""
    # given a port that somebody has
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])

        # when a node is to listen there
        error = cli("node", "--port", port, "--url", sqlite_journal_url, code=3)["error"]

    # then it does not start
    assert error["type"] == "ConfigurationError"
    assert port in error["message"]
    assert written(sqlite_journal_url)[1] == []


def test_two_nodes_with_one_name(journal_url: str, start: Run, cli: Cli) -> None:
    """A second node of the same name is refused and told who has it."""
    # given a node
    node = start(journal_url, "--node-id", "same")

    # when another of its name is started, then it is not
    error = cli("node", "--node-id", "same", "--url", journal_url, code=3)["error"]
    assert error["type"] == "NodeInUseError"
    assert f"process {node.process.pid}" in error["message"]


def test_nodes_and_slots(journal_url: str, start: Run, cli: Cli, capsys: pytest.CaptureFixture[str]) -> None:
    """Every node is shown with its slots, and every slot with its owner."""
    # given two nodes and some counters
    nodes = [start(journal_url), start(journal_url)]
    first, second = (node.id for node in nodes)
    for number in range(8):
        cli("counter", "increment", f"c{number}", "--url", journal_url)

    # when they are shown
    shown = {row["node_id"]: row for row in cli("nodes", "--url", journal_url)["nodes"]}
    slots = cli("slots", "--url", journal_url)["slots"]

    # then both are there, reached where they say they are
    assert shown.keys() == {first, second}
    for node in nodes:
        row = shown[node.id]
        assert (row["address"], row["pid"], row["host"]) == (node.address, node.process.pid, socket.gethostname())
        assert (row["alive"], row["answers"]) == (True, True)
        assert row["since"].endswith("+00:00")
    assert sum(row["slots"] for row in shown.values()) == len(slots) == 8

    # and every slot has an owner that lives, by whom it can be asked for
    assert all(row["owner_alive"] and row["epoch"] >= 1 and row["owner"] in shown for row in slots)
    mine = cli("slots", "--owner", first[:13], "--url", journal_url)["slots"]
    assert [row for row in slots if row["owner"] == first] == mine

    # and a node that is asked instead of the database says the same
    secret = cli("secret", "--url", journal_url)["secret"]
    asked = cli("nodes", "--node", nodes[0].address, "--secret", secret, "--url", "sqlite:////no/folder/x.db")
    assert {row["node_id"]: row["answers"] for row in asked["nodes"]} == {first: True, second: True}

    # and people are shown tables
    for command, text in (("nodes", first), ("slots", shown[first]["address"] if mine else "slots")):
        assert run([command, "--url", journal_url]) == 0
        assert text in capsys.readouterr().out


def test_a_node_that_was_killed(journal_url: str, start: Run, cli: Cli, capsys: pytest.CaptureFixture[str]) -> None:
    """A dead node and its slots are marked, and the next command takes over."""
    # given a node that owned something when it was killed
    node = start(journal_url)
    cli("counter", "increment", "hits", "--url", journal_url)
    node.end(signal.SIGKILL)

    # when nodes and slots are shown, then it is dead and its slot without an owner
    [row] = cli("nodes", "--url", journal_url)["nodes"]
    assert (row["node_id"], row["alive"], row["answers"], row["slots"]) == (node.id, False, False, 1)
    [slot] = cli("slots", "--url", journal_url)["slots"]
    assert (slot["owner"], slot["owner_alive"]) == (node.id, False)
    assert run(["slots", "--url", journal_url]) == 0
    out = capsys.readouterr().out
    assert "owner is gone" in out
    assert "No node is alive" in out

    # and a command goes on without it
    assert cli("counter", "increment", "hits", "--url", journal_url) == {"value": 2}


def test_no_nodes(journal_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Where no node ever was, that is said."""
    # given a fresh journal, when its nodes are asked for, then there are none
    for command in ("nodes", "slots"):
        assert run([command, "--url", journal_url]) == 0
        assert "No node is alive" in capsys.readouterr().out


def test_a_node_that_nobody_can_reach(journal_url: str, start: Run, cli: Cli) -> None:
    """A living node whose address leads nowhere is shown as alive and silent."""
    # given a node that advertises a port where nobody listens
    node = start(journal_url, "--advertise", "127.0.0.1:1")
    assert node.address == "127.0.0.1:1"

    # when it is shown, then both are told
    [row] = cli("nodes", "--url", journal_url)["nodes"]
    assert (row["address"], row["alive"], row["answers"]) == ("127.0.0.1:1", True, False)


def test_commands_without_a_database(journal_url: str, start: Run, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a node's address and the secret, commands need no database."""
    # given a node, its secret, and a URL that leads nowhere
    node = start(journal_url)
    secret = cli("secret", "--url", journal_url)["secret"]
    monkeypatch.setenv("CASTY_ES_DATABASE_URL", "sqlite:////no/folder/x.db")
    monkeypatch.setenv("CASTY_ES_NODE", node.address)
    monkeypatch.setenv("CASTY_ES_SECRET", secret)

    # when structures are used, then they are the journal's
    assert cli("counter", "increment", "hits", "5") == {"value": 5}
    assert cli("map", "put", "users", "alice", "1") == {"previous": None}
    assert cli("map", "get", "users", "alice") == {"value": 1}
    cli("queue", "enqueue", "jobs", '"a"')
    assert cli("queue", "dequeue", "jobs") == {"value": "a"}
    done = subprocess.run(
        [sys.executable, "-m", "casty_es", "lock", "run", "deploy", "--", "true"], check=False, capture_output=True
    )
    assert (done.returncode, done.stderr) == (0, b"")
    monkeypatch.delenv("CASTY_ES_NODE")
    assert cli("counter", "get", "hits", "--url", journal_url) == {"value": 5}


@pytest.mark.parametrize(
    ("options", "code", "kind"),
    [
        (("--node", "ADDRESS"), 2, "UsageError"),
        (("--node", "ADDRESS", "--secret", "not hex"), 2, "UsageError"),
        (("--node", "nowhere", "--secret", "00"), 2, "UsageError"),
        (("--node", "ADDRESS", "--secret", "00" * 32), 3, "PeerRefusedError"),
        (("--node", "ADDRESS", "--secret", "SECRET", "--system", "other"), 3, "PeerRefusedError"),
        (("--node", "127.0.0.1:1", "--secret", "SECRET"), 3, "PeerLostError"),
    ],
)
def test_a_node_that_cannot_be_asked(
    options: tuple[str, ...], code: int, kind: str, sqlite_journal_url: str, start: Run, cli: Cli
) -> None:
    """A named node that refuses or does not answer is an error, and nothing is done in its place."""
    # given a node
    node = start(sqlite_journal_url)
    secret = cli("secret", "--url", sqlite_journal_url)["secret"]
    given = [{"ADDRESS": node.address, "SECRET": secret}.get(option, option) for option in options]

    # when it is asked in a way that cannot be, then that is told
    error = cli("counter", "increment", "hits", *given, "--url", sqlite_journal_url, code=code)["error"]
    assert error["type"] == kind
    assert written(sqlite_journal_url)[2] == []


def test_a_system_of_another_name(sqlite_journal_url: str, start: Run, cli: Cli) -> None:
    """A command does not become a node of its own beside living ones that have another name."""
    # given a node of the system shop
    start(sqlite_journal_url, "--name", "shop")

    # when a command does not say so, then it is refused
    error = cli("counter", "increment", "hits", "--url", sqlite_journal_url, code=3)["error"]
    assert error["type"] == "PeerRefusedError"
    assert "shop" in error["message"]

    # and when it does, then it is done
    assert cli("counter", "increment", "hits", "--system", "shop", "--url", sqlite_journal_url) == {"value": 1}


def test_somebody_else_where_a_dead_node_listened(
    sqlite_journal_url: str, tmp_path: Path, start: Run, cli: Cli
) -> None:
    """A command is not kept by a node of another journal that got a dead node's port."""
    # given a killed node, and a node of another journal at its address
    node = start(sqlite_journal_url)
    node.end(signal.SIGKILL)
    other = start(f"sqlite:///{tmp_path / 'other.db'}", "--port", node.address.rpartition(":")[2])
    assert other.address == node.address

    # when the dead node is shown, then it does not answer, though somebody does
    [row] = cli("nodes", "--url", sqlite_journal_url)["nodes"]
    assert (row["node_id"], row["alive"], row["answers"]) == (node.id, False, False)

    # and a command is done on its own journal
    assert cli("counter", "increment", "hits", "--url", sqlite_journal_url) == {"value": 1}
    assert cli("counter", "get", "hits", "--url", f"sqlite:///{tmp_path / 'other.db'}") == {"value": 0}


async def test_a_command_joins_a_program_that_writes(journal_url: str) -> None:
    """A command beside a running program changes the same structures, through that program's node."""
    # given a program that writes
    async with ClusteredActorSystem(journal=SqlJournal(journal_url)) as system:
        hits = system.distributed().counter("hits")
        assert await hits.increment() == 1

        # when a command writes too
        other = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-m", "casty_es", "counter", "increment", "hits", "--url", journal_url],
            capture_output=True,
            text=True,
            check=False,
        )

        # then both see it, and the slot has not moved
        assert (other.stdout, other.stderr, other.returncode) == ("2\n", "", 0)
        assert await hits.get() == 2
        [row] = await system.journal.slot_rows()
        assert (row.node_id, row.epoch) == (system.node_id, 1)


def test_a_command_is_a_node_only_where_there_is_none(journal_url: str, start: Run) -> None:
    """Beside a living node a command is a client of it; alone it is a node for as long as it lasts."""
    # given a command that shows the nodes while it holds a lock
    program = (sys.executable, "-m", "casty_es")
    holding = [*program, "lock", "run", "deploy", "--url", journal_url, "--"]
    looking = [*program, "nodes", "--json", "--url", journal_url]

    # when it runs alone, then it is the one node, and afterwards it is gone
    [row] = json.loads(subprocess.check_output([*holding, *looking]))["nodes"]
    assert row["node_id"].startswith("command-")
    assert row["answers"] is True
    assert written(journal_url)[1] == []

    # and when a node lives, then that is the one node
    node = start(journal_url)
    [row] = json.loads(subprocess.check_output([*holding, *looking]))["nodes"]
    assert row["node_id"] == node.id


def test_the_secret(journal_url: str, cli: Cli, capsys: pytest.CaptureFixture[str]) -> None:
    """The secret is printed as hexadecimal text and nothing else."""

    async def main() -> bytes:
        journal = SqlJournal(journal_url)
        await journal.open()
        try:
            return await journal.secret()
        finally:
            await journal.close()

    # given a journal, when its secret is asked for, then it is the journal's
    assert bytes.fromhex(cli("secret", "--url", journal_url)["secret"]) == asyncio.run(main())
    assert run(["secret", "--url", journal_url]) == 0
    assert bytes.fromhex(capsys.readouterr().out.strip()) == asyncio.run(main())


def test_a_journal_without_a_secret(sqlite_journal_url: str, sql: Callable[..., Any], cli: Cli) -> None:
    """A secret that is not there is an error with what to do."""
    # given a journal whose secret was taken away
    sql(sqlite_journal_url, "DELETE FROM casty_secrets")

    # when it is asked for, then that is told
    assert cli("secret", "--url", sqlite_journal_url, code=3)["error"]["type"] == "ConfigurationError"


def test_accepting_a_loss(journal_url: str, cli: Cli, capsys: pytest.CaptureFixture[str]) -> None:
    """Accepting a loss raises the incarnation, and does nothing before it was explained and confirmed."""
    # given a journal, when a loss is accepted without --yes
    assert run(["accept-loss", "--url", journal_url]) == 2

    # then it is explained and nothing is done
    assert "--yes" in capsys.readouterr().err
    assert written(journal_url)[0].incarnation == 1

    # and with it the incarnation is the next one
    assert cli("accept-loss", "--yes", "--url", journal_url)["incarnation"] == 2
    assert written(journal_url)[0].incarnation == 2


def test_a_token_after_an_accepted_loss_is_higher(sqlite_journal_url: str, cli: Cli) -> None:
    """No fencing token after an accepted loss is as low as one before it."""
    # given a token from before
    command = ("lock", "run", "deploy", "--url", sqlite_journal_url, "--json", "--", "true")
    before = json.loads(subprocess.check_output([sys.executable, "-m", "casty_es", *command]))["token"]

    # when a loss is accepted
    cli("accept-loss", "--yes", "--url", sqlite_journal_url)

    # then the next token is of the next incarnation
    after = json.loads(subprocess.check_output([sys.executable, "-m", "casty_es", *command]))["token"]
    assert after >> 44 == (before >> 44) + 1
