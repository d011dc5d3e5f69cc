"""Two containers on one journal: processes with networks of their own, made by the kernel as for a container."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import pytest

PROGRAM: Final = Path(__file__).with_name("container_program.py")
# A network, a host name, process numbers and a /proc of its own, and a life no longer than the test's.
APART: Final = ("--net", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc")
# Some counters, so that each node owns some of them.
NAMES: Final = [f"counter-{number}" for number in range(4)]
PATIENT: Final = 60.0


def apart() -> list[str]:
    """Return what starts a process with a network of its own, or skip the test."""
    if sys.platform != "linux" or shutil.which("unshare") is None:
        pytest.skip("this system has no unshare, which makes networks of processes")
    command = ["unshare", *APART, *([] if os.geteuid() == 0 else ["--map-root-user"])]
    tried = subprocess.run([*command, "true"], capture_output=True, text=True, check=False)
    if tried.returncode:
        pytest.skip(f"no process may have a network of its own here: {tried.stderr.strip()}")
    return command


class Container:
    """A process of ``container_program.py``."""

    def __init__(self, command: list[str], *arguments: object) -> None:
        self.process = subprocess.Popen(
            [*command, sys.executable, str(PROGRAM), *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.hear() == "ready"

    def hear(self) -> Any:
        """Read a line."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "the process has ended"
        return json.loads(line)

    def increment(self, name: str, timeout: float = PATIENT) -> dict[str, Any]:
        """Count."""
        return dict(self.ask(json.dumps([name, timeout])))

    def warned(self) -> list[str]:
        """Return what was warned about so far."""
        return list(self.ask(""))

    def ask(self, line: str) -> Any:
        """Say a line, and return the answer."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()
        return self.hear()

    def end(self) -> None:
        """Let it close, and wait for that."""
        self.process.communicate(timeout=60)
        assert self.process.returncode == 0


class Containers:
    """Those of a test."""

    def __init__(self) -> None:
        self.running: list[Container] = []

    def start(self, command: list[str], *arguments: object) -> Container:
        """Start one."""
        self.running.append(Container(command, *arguments))
        return self.running[-1]

    def node(self, command: list[str], name: str, url: str, **options: Any) -> Container:
        """Start one with ``connect``."""
        return self.start(command, "node", name, url, json.dumps(options))


@pytest.fixture
def containers() -> Iterator[Containers]:
    """Containers that end with the test."""
    started = Containers()
    yield started
    for one in started.running:
        one.process.kill()
        one.process.communicate()


def count_in_turn(first: Container, second: Container) -> None:
    """Let both count on everything, and see that each number was given once."""
    for name in NAMES:
        assert [first.increment(name), second.increment(name)] == [{"value": 1}, {"value": 2}]
    for name in NAMES:
        assert [second.increment(name), first.increment(name)] == [{"value": 3}, {"value": 4}]


@pytest.mark.parametrize("folder", ["volume", "a" * 120], ids=["short", "longer than a socket's address"])
def test_one_sqlite_volume(folder: str, tmp_path: Path, containers: Containers) -> None:
    """Two containers that share the folder of an SQLite file work without a setting, and leave no socket there."""
    command = apart()
    volume = tmp_path / folder
    volume.mkdir()
    url = f"sqlite:///{volume}/casty.db"
    # given two containers
    first, second = (containers.node(command, name, url) for name in ("one", "two"))
    # when both count on the same counters, then it works
    count_in_turn(first, second)
    assert first.warned() == second.warned() == []
    # and a third one, which only looks, reaches both
    assert examine(url, command)["found"] == "2 alive, reached from here and by each other"
    # and when they end, nothing but the journal stays
    for one in (first, second):
        one.end()
    assert [file.name for file in volume.iterdir()] == ["casty.db"]


def test_nodes_that_cannot_reach_each_other_say_so(postgres_journal_url: str, containers: Containers) -> None:
    """Where only a server's socket joins two containers, both say within five seconds what to set."""
    command = apart()
    # given two containers that know of no network in common
    first = containers.node(command, "one", postgres_journal_url)
    began = time.monotonic()
    second = containers.node(command, "two", postgres_journal_url)
    assert first.increment("counter") == {"value": 1}
    # when the second one needs what the first one owns, then its error says what to do
    told = second.increment("counter", 4.0)
    assert told["seconds"] < 5
    for words in ("127.0.0.1:", "never reached", "advertise=", "CASTY_ES_ADVERTISE", "It did not happen"):
        assert words in told["error"]
    # and by then the log of each names the other
    until(began + 5, lambda: first.warned() and second.warned())
    # and a moment later it says, too, that the other one did not come; each of it once
    until(began + PATIENT, lambda: len(first.warned()) > 1 and len(second.warned()) > 1)
    for one, other in ((first, "two"), (second, "one")):
        about = one.warned()
        assert [f"on host {other})" in line for line in about] == [True, True]
        assert "cannot be reached from node" in about[0]
        assert "has not reached node" in about[1]
        assert all("CASTY_ES_ADVERTISE" in line for line in about)
    # and the doctor names both, from anywhere
    found = examine(postgres_journal_url)
    assert found["status"] == "warn"
    assert found["found"].count("cannot be reached from here") == 2
    assert "CASTY_ES_ADVERTISE" in found["advice"]


def until(end: float, check: Callable[[], object]) -> None:
    """Ask again and again until something is true."""
    while not check():
        assert time.monotonic() < end
        time.sleep(0.05)


def examine(url: str, command: Sequence[str] = ()) -> dict[str, str]:
    """Return what the doctor finds of nodes."""
    told = subprocess.run(
        [*command, sys.executable, "-m", "casty_es", "doctor", "--json", "--url", url],
        capture_output=True,
        text=True,
        check=True,
    )
    return next(dict(check) for check in json.loads(told.stdout)["checks"] if check["name"] == "nodes")


@pytest.fixture(params=["10.99.0", "fd99::"], ids=["IPv4", "IPv6"])
def network(request: pytest.FixtureRequest) -> Iterator[tuple[list[list[str]], list[str]]]:
    """Two networks that are joined by a cable: what runs a program in each, and their addresses."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("joining two networks takes root, and ip")
    names = [f"casty-{uuid.uuid4().hex[:8]}" for _ in range(2)]
    is_old = request.param.count(".") > 0
    addresses = [f"{request.param}.{number}" if is_old else f"{request.param}{number}" for number in (1, 2)]
    try:
        for name in names:
            tried = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True, check=False)
            if tried.returncode:
                pytest.skip(f"no network can be made here: {tried.stderr.strip()}")
        ip("link", "add", "eth0", "netns", names[0], "type", "veth", "peer", "name", "eth0", "netns", names[1])
        for name, address in zip(names, addresses, strict=True):
            rest = ["/24"] if is_old else ["/64", "nodad"]
            ip("-n", name, "address", "add", address + rest[0], "dev", "eth0", *rest[1:])
            ip("-n", name, "link", "set", "lo", "up")
            ip("-n", name, "link", "set", "eth0", "up")
        inside = [["ip", "netns", "exec", name, "unshare", "--uts", "--fork", "--kill-child"] for name in names]
        yield inside, addresses
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)


def ip(*arguments: str) -> None:
    """Change a network."""
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


def test_a_server_over_the_network(
    network: tuple[list[list[str]], list[str]], postgres_journal_url: str, containers: Containers
) -> None:
    """Two containers that reach one server over a network work without a setting, and it is said that TLS is off."""
    (one, two), addresses = network
    # given a server in the network of the first
    place = urlsplit(postgres_journal_url)
    server = f"{parse_qs(place.query)['host'][0]}/.s.PGSQL.{place.port or 5432}"
    containers.start(one, "forward", addresses[0], 5432, server)
    host = f"[{addresses[0]}]" if ":" in addresses[0] else addresses[0]
    url = f"postgresql://{place.username}@{host}:5432{place.path}"
    # when two containers count on the same counters, then it works
    first, second = (containers.node(command, name, url) for command, name in ((one, "one"), (two, "two")))
    count_in_turn(first, second)
    # and each says once that it listens to the network
    for node, address in zip((first, second), addresses, strict=True):
        [warned] = node.warned()
        assert f"listens at {address}:" in warned
        assert "without TLS" in warned
