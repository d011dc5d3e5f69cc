"""Structures of one's own: three worked examples over two nodes, through everything that the seven go through."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from casty_es import (
    Distributed,
    IdempotencyConflictError,
    InvalidArgumentError,
    RefusedError,
)
from casty_es.audit.check_replay import check_replay
from casty_es.audit.redaction import redact
from casty_es.audit.verify import verify
from casty_es.journal.port import EntityName
from tests.own_kinds import EXAMPLES, own_kinds

from .nodes import client, nodes, structures, until

ALL = "bank_account:ACCOUNT,rate_limiter:BUCKET,leaderboard:LEADERBOARD"


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    """The three examples, as kinds that this process knows."""
    with own_kinds():
        import bank_account  # noqa: F401
        import leaderboard  # noqa: F401
        import rate_limiter  # noqa: F401

        yield


COMMANDS = """
import json, sys
from casty_es.cli.app import run

for arguments in json.loads(sys.argv[1]):
    print(f"exit code {run(arguments)}", flush=True)
"""


async def printed(url: str, kinds: str, *commands: str) -> list[tuple[int, str]]:
    """Run commands in one process that knows of a kind what the variable says; give their exit codes and output."""
    environment = {**os.environ, "CASTY_ES_DATABASE_URL": url, "CASTY_ES_STRUCTURES": kinds, "COLUMNS": "200"}
    environment["PYTHONPATH"] = os.pathsep.join([str(EXAMPLES), str(EXAMPLES.parents[1])])
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        COMMANDS,
        json.dumps([command.split() for command in commands]),
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    *parts, rest = re.split(r"exit code (\d+)\n", output.decode())
    assert (len(parts), rest) == (2 * len(commands), ""), output.decode()
    return [(int(code), text) for text, code in zip(parts[::2], parts[1::2], strict=True)]


async def use(one: Distributed, other: Distributed) -> str:
    """Use all three from two nodes, and return a cursor from the middle."""
    from bank_account import ACCOUNT, Account, Deposit, GetBalance, Withdraw
    from leaderboard import LEADERBOARD, Leave, Submit, Top
    from rate_limiter import BUCKET, Take

    for number in range(1, 8):
        assert await one.structure(ACCOUNT, "alice").ask(Deposit(100)) == 100 * number
    assert await other.structure(ACCOUNT, "alice").ask(Withdraw(50), idempotency_key="rent") == 650
    assert await one.structure(ACCOUNT, "alice").ask(Withdraw(50), idempotency_key="rent") == 650
    with pytest.raises(IdempotencyConflictError):
        await one.structure(ACCOUNT, "alice").ask(Withdraw(60), idempotency_key="rent")
    then = await other.cursor()
    for d in (one, other):
        with pytest.raises(RefusedError, match="has 650, which is less than 651"):
            await d.structure(ACCOUNT, "alice").ask(Withdraw(651))
        assert await d.structure(ACCOUNT, "alice").ask(GetBalance()) == 650
        assert await d.structure(ACCOUNT, "alice").state() == Account(650)
        assert await d.structure(ACCOUNT, "nobody").state() == Account(0)

    took = [await d.structure(BUCKET, "api").ask(Take(4, now)) for d in (one, other) for now in (10.0, 10.5, 12.0)]
    assert took == [True, True, True, False, False, False]
    again = [
        await d.structure(BUCKET, "api").ask(Take(2, now), idempotency_key="k") for d, now in ((one, 30), (other, 31))
    ]
    assert again == [True, True]

    board = [d.structure(LEADERBOARD, "march") for d in (one, other)]
    for number in range(6):
        assert await board[number % 2].ask(Submit(f"p{number}", number % 4)) is True
    assert await board[0].ask(Submit("p3", 2)) is False
    assert await board[1].ask(Leave("p0")) is True
    assert await board[0].ask(Leave("p0")) is False
    assert await board[1].ask(Top(3)) == [("p3", 3), ("p2", 2), ("p1", 1)]
    return then


async def test_three_examples_over_two_nodes(journal_url: str) -> None:
    """Given three kinds of a program's own, when two nodes and a client use them, then all that is generic works."""
    from bank_account import ACCOUNT, Deposit, GetBalance
    from leaderboard import LEADERBOARD, Top

    async with nodes(journal_url, 2, snapshot_events=5) as systems, client(systems[0]) as outside:
        one, other = structures(systems)
        then = await use(one, other)
        [afar] = structures([outside])
        for d in (one, other, afar):
            assert await d.at(then).structure(ACCOUNT, "alice").ask(GetBalance()) == 650
            assert await d.structure(ACCOUNT, "alice").at(sequence=3).ask(GetBalance()) == 300
            assert await d.at(then).structure(LEADERBOARD, "march").ask(Top()) == []
            history = [event async for event in d.structure(ACCOUNT, "alice").history()]
            assert [event.type for event in history] == ["account.deposited"] * 7 + ["account.withdrawn"]
            assert history[-1].payload == {"amount": 50, "balance": 650}
        assert await afar.structure(ACCOUNT, "alice").ask(Deposit(1)) == 651
        with pytest.raises(RefusedError, match="must be positive"):
            await afar.structure(ACCOUNT, "alice").ask(Deposit(0))

        async def snapshots() -> int:
            rows = await systems[0].journal.query("SELECT count(*) FROM casty_snapshots")  # type: ignore[attr-defined]
            return int(rows[0][0])

        await until(snapshots)
    async with nodes(journal_url, 1) as [system]:  # from snapshots and what came after them
        assert (await structures([system])[0].structure(ACCOUNT, "alice").state()).balance == 651
        done = await redact(system, system.journal, EntityName("account", "alice", ""), reason="asked")  # type: ignore[arg-type]
        assert done.events > 0
        assert (await structures([system])[0].structure(ACCOUNT, "alice").state()).balance == 0
    report = await verify(journal_url, processes=2)
    assert report.ok, report.findings
    replay = await check_replay(journal_url, processes=2)
    assert replay.ok, replay.differences
    assert replay.snapshots > 0


async def test_the_command_line(journal_url: str) -> None:
    """Given kinds named by the environment, when they are shown, then as the seven are; unnamed, it is said so."""
    async with nodes(journal_url, 2) as systems:
        await use(*structures(systems))
    now, then, log, verified, checked = await printed(
        journal_url,
        ALL,
        "show account alice --json",
        "show account alice --sequence 2 --json",
        "log account/alice --json",
        "verify --json --processes 1",
        "check-replay --json --processes 1 --kind leaderboard",
    )
    shown = json.loads(now[1])
    assert (shown["state"], shown["exists"], shown["sequence"]) == ({"balance": 650}, True, 8)
    assert json.loads(then[1])["state"] == {"balance": 200}
    types = [json.loads(line)["type"] for line in log[1].splitlines()]
    assert types == ["account.deposited"] * 7 + ["account.withdrawn"]
    assert [(code, json.loads(text)["ok"]) for code, text in (verified, checked)] == [(0, True), (0, True)]

    shown, every, verified = await printed(
        journal_url, "", "show account alice", "log --name alice --json", "verify --json --processes 1"
    )
    assert (shown[0], "no kind 'account'" in shown[1]) == (2, True), shown
    assert json.loads(every[1].splitlines()[-1])["payload"] == {"amount": 50, "balance": 650}, every
    assert (verified[0], "not known to the installed code" in verified[1]) == (1, True), verified
    [wrong] = await printed(journal_url, "bank_account:NOTHING", "log")
    assert (wrong[0], "names no kind" in wrong[1]) == (3, True), wrong


UNKNOWING = """
import asyncio, sys
from casty_es import ClusteredActorSystem, SqlJournal

async def main():
    journal = SqlJournal(sys.argv[1])
    async with ClusteredActorSystem(journal=journal) as system:
        print(*system.self_node, (await journal.secret()).hex(), flush=True)
        await asyncio.to_thread(sys.stdin.read)

asyncio.run(main())
"""


async def test_a_node_that_does_not_know_a_kind(journal_url: str, tmp_path: Path) -> None:
    """Given a node without the kind, when it is asked for one, then it refuses it by name and serves the rest."""
    from bank_account import ACCOUNT, Deposit

    from casty_es import ClusterClient

    (tmp_path / "node.py").write_text(UNKNOWING)
    environment = {**os.environ, "PYTHONPATH": str(EXAMPLES.parents[1])}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(tmp_path / "node.py"),
        journal_url,
        env=environment,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        host, port, secret = (await process.stdout.readline()).decode().split()
        async with ClusterClient(contact_points=[(host, int(port))], secret=bytes.fromhex(secret)) as outside:
            d = outside.distributed()
            assert await d.counter("hits").increment() == 1
            with pytest.raises(InvalidArgumentError, match="no structure of kind 'account'"):
                await d.structure(ACCOUNT, "alice").ask(Deposit(1))
            assert await d.counter("hits").increment() == 2
    finally:
        process.stdin.close()  # type: ignore[union-attr]
        await process.wait()
