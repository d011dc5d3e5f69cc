"""A node in a process of its own, and somebody who knows the secret and sends what he likes."""

from __future__ import annotations

import asyncio
import json
import os
import random
import secrets
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from casty_es import ClusterClient
from casty_es.transport.frames import encode, join, read_answers
from casty_es.transport.identity import Identity
from casty_es.transport.wire import Located
from tests.cluster.nodes import slot
from tests.transport.peers import RawPeer

from .making import SENDABLE, Places, Wrong

ROOT = Path(__file__).parents[3]
IN_FLIGHT = 100


class Victim(NamedTuple):
    """The process under attack."""

    process: subprocess.Popen[str]
    host: str
    port: int
    secret: bytes

    async def problems(self) -> list[str]:
        """Ask it what it logged as errors."""
        return await asyncio.to_thread(self._problems)

    def _problems(self) -> list[str]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(file=self.process.stdin, flush=True)
        problems: list[str] = json.loads(self.process.stdout.readline())
        return problems

    def client(self) -> ClusterClient:
        """Make an honest client."""
        return ClusterClient(contact_points=[(self.host, self.port)], secret=self.secret)


@pytest.fixture
def victim(journal_url: str) -> Iterator[Victim]:
    """A running node."""
    command = [sys.executable, str(Path(__file__).with_name("node_program.py")), journal_url]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            assert process.stdout is not None
            host, port, secret = process.stdout.readline().split()
            yield Victim(process, host, int(port), bytes.fromhex(secret))
            assert process.stdin is not None
            process.stdin.close()
            assert process.wait(30) == 0
        finally:
            process.kill()


class Member:
    """A member that knows the secret: it says that it is a node, and sends whatever the test wants."""

    def __init__(self, peer: RawPeer) -> None:
        self._peer = peer
        self._number = 0

    async def ask(self, messages: Iterable[Any]) -> AsyncIterator[tuple[int, Any]]:
        """Send messages, some at a time, and return the answers with the places of what they answer."""
        peer = self._peer
        assert peer.session is not None
        first, number, answered = self._number, self._number, 0
        left = iter(messages)
        more = True
        while more or answered < number - first:
            while more and number - first - answered < IN_FLIGHT:
                message = next(left, None)
                if message is None:
                    more = False
                    break
                number = self._number = number + 1
                await peer.send_sealed(join([encode((2 * number + 1, message))], 1))
            if answered == number - first:
                continue
            for which, answer in read_answers(peer.session.opener.open(await peer.receive())):
                answered += 1
                yield which // 2 - first - 1, answer

    async def attack(self, wrong: Iterable[Wrong]) -> AsyncIterator[tuple[str, Any]]:
        """Send these, and return what was wrong with each and the answer to it."""
        whats: list[str] = []

        def messages() -> Iterator[Any]:
            for one in wrong:
                whats.append(one.what)
                yield one.message

        async for place, answer in self.ask(messages()):
            yield whats[place], answer

    async def places(self) -> Places:
        """Ask where the structures are that are called ``victim``, and under which terms they are held."""
        slots = {
            kind: slot(kind, "victim", "s:k" if kind == "map" else "", shards=10 if kind == "barrier" else 100)
            for kind in SENDABLE
        }
        kinds = list(slots)
        places: dict[str, tuple[int, int]] = {}
        async for place, answer in self.ask([2, slots[kind], None] for kind in kinds):
            assert isinstance(answer, Located)
            places[kinds[place]] = (slots[kinds[place]], answer.term)
        return places


@asynccontextmanager
async def member(victim: Victim) -> AsyncIterator[Member]:
    """Connect to the node."""
    who = Identity(system="casty", node_id="a member")
    async with await RawPeer.authenticated(f"{victim.host}:{victim.port}", who, victim.secret) as peer:
        yield Member(peer)


@pytest.fixture
def rng(record_property: Callable[[str, object], None]) -> random.Random:
    """What the member throws dice with."""
    seed = int(os.environ.get("CASTY_ES_HOSTILE_SEED") or secrets.randbelow(1_000_000))
    record_property("seed", seed)
    print(f"CASTY_ES_HOSTILE_SEED={seed}")  # noqa: T201 - to repeat a run that failed
    return random.Random(seed)  # noqa: S311 - dice
