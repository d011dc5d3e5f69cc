"""How nodes are reached: at the address they say, or through a socket beside the file; and who cannot be."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from stat import S_IMODE, S_ISSOCK
from typing import Any

import pytest

from casty_es import ClusteredActorSystem, Distributed, NotDoneError
from casty_es.cli.app import run
from casty_es.cluster import reach
from casty_es.journal.urls import is_sqlite, sqlite_file
from casty_es.leases.lock_files import socket_file

from .nodes import PATIENT, client, named_for, node, nodes, settled, slot, structures, until

CHILD = """
import asyncio, sys
from casty_es import ClusteredActorSystem, SqlJournal

async def main():
    async with ClusteredActorSystem(journal=SqlJournal(sys.argv[1]), node_id=sys.argv[2]):
        print("ready", flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nodes say sooner whom they do not reach, and who has not come."""
    monkeypatch.setattr(reach, "_TRY_SECONDS", 0.3)
    monkeypatch.setattr(reach, "_COME_SECONDS", 0.5)


async def count_across(systems: list[ClusteredActorSystem]) -> None:
    """See that each node changes what the others own."""
    for owner in systems:
        name = named_for(owner, systems)
        for number, d in enumerate(structures(systems), 1):
            assert await d.counter(name, timeout=PATIENT).increment() == number


def link_of(one: ClusteredActorSystem, other: ClusteredActorSystem) -> Any:
    """Return the transport of a node's link to another one."""
    parts = one._node
    assert parts is not None
    link: Any = parts.dialer.open_link(other.address, other.node_id)
    assert link is not None
    return link._channel._transport


async def test_nodes_of_one_file_meet_beside_it(sqlite_journal_url: str) -> None:
    """Given two nodes of a file, when they talk, then through sockets that have its mode, and that go with them."""
    file = sqlite_file(sqlite_journal_url)
    file.chmod(0o640)
    async with nodes(sqlite_journal_url, 2) as systems:
        await count_across(systems)
        for one, other in (systems, systems[::-1]):
            assert Path(link_of(one, other).get_extra_info("peername")).name in {
                socket_file(file.resolve(), other.node_id).name,  # a long path is reached through its folder
                "",
            }
            mode = socket_file(file.resolve(), one.node_id).stat().st_mode
            assert S_ISSOCK(mode)
            assert S_IMODE(mode) == 0o640
        async with client(systems[0]) as connected:  # which has no file, and comes over the network
            assert await Distributed(connected).counter("c", timeout=PATIENT).increment() == 1
    assert [one.name for one in file.parent.iterdir()] == [file.name]


@pytest.mark.parametrize("options", [{"host": "127.0.0.1"}, {"advertise": "127.0.0.1"}], ids=str)
async def test_who_says_where_it_is_reached_has_no_socket(sqlite_journal_url: str, options: dict[str, Any]) -> None:
    """Given nodes that say where they are reached, when they talk, then there, and no socket is made."""
    async with nodes(sqlite_journal_url, 2, **options) as systems:
        await count_across(systems)
        assert link_of(*systems).get_extra_info("peername")[0] == "127.0.0.1"
        assert not [one for one in sqlite_file(sqlite_journal_url).parent.iterdir() if one.suffix == ".sock"]


async def test_where_there_can_be_no_socket_a_node_is_reached_over_the_network(sqlite_journal_url: str) -> None:
    """Given something that is in the way of a node's socket, when it starts, then others reach it all the same."""
    socket_file(sqlite_file(sqlite_journal_url).resolve(), "one").mkdir()
    async with node(sqlite_journal_url, node_id="one") as one, node(sqlite_journal_url) as two:
        await one.wait_for(2)
        await count_across([one, two])
        assert link_of(two, one).get_extra_info("peername")[0] == "127.0.0.1"


async def test_sockets_of_the_dead_are_replaced_and_removed(sqlite_journal_url: str) -> None:
    """Given nodes that were killed, when others come, then one of the same name takes its socket, and the rest go."""
    file = sqlite_file(sqlite_journal_url).resolve()
    for name in ("again", "never"):
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-c", CHILD, sqlite_journal_url, name, stdout=asyncio.subprocess.PIPE
        )
        assert child.stdout is not None
        assert await child.stdout.readline() == b"ready\n"
        child.send_signal(signal.SIGKILL)
        await child.communicate()
        assert socket_file(file, name).is_socket()

    async with node(sqlite_journal_url, node_id="again") as again, node(sqlite_journal_url) as other:
        await again.wait_for(2)
        await count_across([again, other])
        assert Path(link_of(other, again).get_extra_info("peername")).name in {socket_file(file, "again").name, ""}

        async def gone() -> bool:
            return not socket_file(file, "never").exists()

        await until(gone)


async def test_ipv6(journal_url: str) -> None:
    """Given nodes at an IPv6 address, when nodes and clients talk to them, then it works, and it is written so."""
    async with nodes(journal_url, 2, host="::1") as systems:
        assert systems[0].address == f"[::1]:{systems[0].self_node.port}"
        await count_across(systems)
        async with client(*systems) as connected:
            assert await Distributed(connected).counter("c", timeout=PATIENT).increment() == 1


@pytest.mark.usefixtures("soon")
async def test_a_node_that_others_cannot_reach_is_named(
    journal_url: str, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """Given a node with a wrong address, when it starts, then the log says so once, and the doctor knows it, too."""
    caplog.set_level(logging.WARNING, logger="casty_es.membership")
    async with node(journal_url) as first, node(journal_url, advertise=("127.0.0.1", 1)) as hidden:

        async def told() -> list[str]:
            return [one.getMessage() for one in caplog.records if "CASTY_ES_ADVERTISE" in one.getMessage()]

        async def both() -> bool:
            return len(await told()) > 1

        await until(both)
        beginning = f"Node {hidden.node_id} at 127.0.0.1:1 "
        reached, come = sorted(await told(), key=lambda line: not line.startswith(beginning))
        assert reached.startswith(beginning)
        assert f"cannot be reached from node {first.node_id}" in reached
        assert f"has not reached node {hidden.node_id} at 127.0.0.1:1" in come

        code, found = await asyncio.to_thread(examined, journal_url, capsys)
        assert (code, found["status"]) == (0, "warn")
        assert f"node {hidden.node_id} at 127.0.0.1:1" in found["found"]
        assert "cannot be reached from here" in found["found"]
        assert f"node {first.node_id} cannot reach node {hidden.node_id}" in found["found"]
        assert "CASTY_ES_ADVERTISE" in found["advice"]
        assert len(await told()) == 2  # it is tried again and again, and said once


@pytest.mark.usefixtures("soon")
async def test_nodes_that_do_not_agree_are_told_why(sqlite_journal_url: str, caplog: pytest.LogCaptureFixture) -> None:
    """Given a node with a secret of its own, when it starts, then the log speaks of the secret, and of no address."""
    caplog.set_level(logging.WARNING, logger="casty_es.membership")
    async with node(sqlite_journal_url) as first, node(sqlite_journal_url, secret=b"of its own, and long enough"):

        async def told() -> list[str]:
            return [line for line in caplog.messages if f"does not talk to node {first.node_id}" in line]

        await until(told)
        [line] = await told()
        assert "secret" in line
        assert "CASTY_ES_ADVERTISE" not in line


@pytest.mark.usefixtures("soon")
async def test_nodes_that_reach_each_other_are_well(
    journal_url: str, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """Given nodes that reach each other, when time passes and the doctor looks, then nobody says anything of it."""
    async with nodes(journal_url, 2) as systems:
        code, found = await asyncio.to_thread(examined, journal_url, capsys)
        assert (code, found["status"]) == (0, "ok")
        assert found["found"].startswith("2 alive")

        async def settled() -> bool:
            reaches = [system._node.reach for system in systems if system._node is not None]
            return all(reach._reached and reach._come for reach in reaches)

        await until(settled)  # each has reached the other, and heard from it or said that it has not
    assert [one.getMessage() for one in caplog.records if one.levelno >= logging.WARNING] == []


def examined(url: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, str]]:
    """Return the doctor's exit code, and what it finds of nodes."""
    if is_sqlite(url):
        sqlite_file(url).chmod(0o600)
    capsys.readouterr()
    code = run(["doctor", "--json", "--url", url])
    checks = json.loads(capsys.readouterr().out)["checks"]
    return code, next(check for check in checks if check["name"] == "nodes")


async def test_another_node_at_the_address_is_not_taken_for_the_one(journal_url: str) -> None:
    """Given a node that gives another one's address for its own, when a command is for it, then the error says who."""
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(node(journal_url, host="127.0.0.1"))
        second = await stack.enter_async_context(node(journal_url, advertise=("127.0.0.1", first.self_node.port)))
        await first.wait_for(2)
        name = named_for(second, [first, second])
        mine, other = (d.counter(name, timeout=2.0) for d in structures([second, first]))
        assert await mine.increment() == 1
        assert await settled([first, second], [slot("counter", name)])
        with pytest.raises(NotDoneError, match=f"node {first.node_id} answers, and not {second.node_id}"):
            await other.increment()
        assert await mine.increment() == 2


def test_a_socket_has_a_name_of_its_own(tmp_path: Path) -> None:
    """Given two nodes or two files, when sockets are named, then none shares one."""
    names = {socket_file(tmp_path / file, one) for file in ("a.db", "b.db") for one in ("x", "y")}
    assert len(names) == 4
