"""Hostile frames by the thousand against a node's port.

``CASTY_ES_FUZZ_FRAMES``  how many there are, 5,000 unless it is given; the full run is 100,000
``CASTY_ES_FUZZ_SEED``    the seed of a run that is to be repeated; a fresh one unless it is given, and always printed
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import secrets
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from casty_es.transport.frames import encode, join
from casty_es.transport.handshake import DialerHandshake
from casty_es.transport.limits import Limits
from casty_es.transport.link import SocketLink
from casty_es.transport.sealing import Sealer
from casty_es.transport.wire import FindOutcome, FindShards, GetTopology, Locate, Located
from tests.transport.peers import SECRET, Network, RawPeer, ask, identity

FRAMES = int(os.environ.get("CASTY_ES_FUZZ_FRAMES", "5000"))
ATTACKERS = 12
# Allocators keep some room, and it does not grow with the number of frames.
ROOM_BYTES = 16 * 2**20
ROOM_OBJECTS = 2_000

pytestmark = pytest.mark.timeout(60 + FRAMES / 50)


class Victim:
    """The process under attack."""

    def __init__(self, process: subprocess.Popen[str], address: str) -> None:
        self.process = process
        self.address = address

    async def look(self) -> dict[str, Any]:
        """Ask it what it sees of itself."""
        return await asyncio.to_thread(self._look)

    def _look(self) -> dict[str, Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(file=self.process.stdin, flush=True)
        seen: dict[str, Any] = json.loads(self.process.stdout.readline())
        return seen


@pytest.fixture
def victim() -> Iterator[Victim]:
    """A listening process."""
    program = Path(__file__).with_name("fuzzed.py")
    command = [sys.executable, str(program), SECRET.decode()]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            assert process.stdout is not None
            yield Victim(process, process.stdout.readline().strip())
        finally:
            process.kill()


@pytest.fixture
def rng(record_property: Callable[[str, object], None]) -> random.Random:
    """What the attackers throw dice with."""
    seed = int(os.environ.get("CASTY_ES_FUZZ_SEED") or secrets.randbelow(1_000_000))
    record_property("seed", seed)
    print(f"CASTY_ES_FUZZ_SEED={seed}")  # noqa: T201 - to repeat a run that failed
    return random.Random(seed)  # noqa: S311 - dice


def mutated(rng: random.Random, data: bytes) -> bytes:
    """Change, cut, repeat or extend it somewhere."""
    changed = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        place = rng.randrange(len(changed) + 1)
        match rng.randrange(5):
            case 0 if place < len(changed):
                changed[place] ^= 1 << rng.randrange(8)
            case 1:
                del changed[place:]
            case 2:
                changed[place:place] = rng.randbytes(rng.randint(1, 9))
            case 3:
                changed += changed[place:]
            case _:
                changed[place : place + 4] = rng.choice(
                    [b"\xdd\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff", b"\xc9", b"\xc1"]
                )
    return bytes(changed)


def content(rng: random.Random) -> bytes:
    """Make a frame as an honest peer would."""
    requests = [Locate(3), FindShards("map", "users"), GetTopology(), ask("k" * rng.randrange(40))]
    requests.append(FindOutcome("map", 1, 2, 3, rng.randbytes(16)))
    chosen = rng.choices(requests, k=rng.randint(1, 5))
    return join([encode((2 * number + 1, request)) for number, request in enumerate(chosen, 1)], len(chosen))


@asynccontextmanager
async def ending(peer: RawPeer) -> AsyncIterator[RawPeer]:
    """Hang up in the end, when the victim has. It may do so at any time."""
    try:
        with suppress(OSError):
            yield peer
            # What is no whole frame yet would be waited for until the handshake's time is over.
            peer.finish()
            await peer.ended()
    finally:
        await peer.close()


async def stranger(rng: random.Random, address: str) -> None:
    """Somebody without the secret sends one message where the handshake belongs."""
    handshake = DialerHandshake(identity(rng.choice("abc")), b"a guess of 16 or more", Limits())
    async with ending(await RawPeer.connect(address)) as peer:
        match rng.randrange(7):
            case 0:
                await peer.send(rng.randbytes(rng.randrange(2_000)))
            case 1:
                await peer.send(mutated(rng, handshake.start()))
            case 2:
                await peer.send(content(rng))
            case 3:
                await peer.send(Sealer(rng.randbytes(32)).seal(content(rng)))
            case 4:
                peer.protocol.send_text(rng.randbytes(20))
                await peer.push()
            case 5:
                peer.writer.write(rng.randbytes(rng.randint(1, 300)))
            case _:
                await peer.send(handshake.start())
                await peer.receive()
                await peer.send(b"cast\x03\x00\x01\x00\x01" + rng.randbytes(32))


async def garbler(rng: random.Random, address: str) -> None:
    """Somebody sends bytes that are no WebSocket."""
    host, _, port = address.rpartition(":")
    head = b"GET / HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    key = b"Sec-WebSocket-Key: " + rng.randbytes(16) + b"\r\n\r\n"
    async with ending(RawPeer(*await asyncio.open_connection(host, int(port)), None)) as peer:
        peer.writer.write(rng.choice([rng.randbytes(200), mutated(rng, head), b"\r\n" * 50, head + key]))
        peer.finish()
        while await peer.reader.read(65_536):
            pass


async def forger(rng: random.Random, address: str) -> None:
    """Somebody gets hold of an authenticated connection without its key, and sends a frame."""
    async with ending(await RawPeer.authenticated(address)) as peer:
        assert peer.session is not None
        frame = bytearray(peer.session.sealer.seal(content(rng)))
        frame[rng.randrange(len(frame))] ^= 1 << rng.randrange(8)
        await peer.send(bytes(frame))


async def insider(rng: random.Random, address: str) -> None:
    """Somebody who knows the secret sends a frame that is not what it should be, or is by chance."""
    async with ending(await RawPeer.authenticated(address)) as peer:
        await peer.send_sealed(mutated(rng, content(rng)))


async def attack(
    rng: random.Random, address: str, frames: int, kinds: list[Callable[[random.Random, str], Awaitable[None]]]
) -> None:
    """Send that many hostile frames, each on a connection of its own."""

    async def attacker(count: int) -> None:
        for _ in range(count):
            await rng.choice(kinds)(rng, address)

    shares = [frames // ATTACKERS + (number < frames % ATTACKERS) for number in range(ATTACKERS)]
    async with asyncio.TaskGroup() as group:
        for share in shares:
            group.create_task(attacker(share))


class Honest:
    """A peer that asks one thing after the other all the while."""

    def __init__(self, link: SocketLink) -> None:
        self.link = link
        self.answered = 0
        self._pause = asyncio.Lock()
        self._task = asyncio.create_task(self._ask())

    async def _ask(self) -> None:
        while True:
            async with self._pause:
                assert await self.link.request(Locate(self.answered)) == Located(self.answered, self.answered)
                self.answered += 1
            await asyncio.sleep(0.005)

    async def look(self, victim: Victim) -> dict[str, Any]:
        """Look at the victim between two requests: every one of them was a frame that was decoded."""
        async with self._pause:
            return {**await victim.look(), "answered": self.answered}

    async def stop(self) -> None:
        """Stop; an error that ended it comes out here."""
        async with self._pause:
            self._task.cancel()
        await asyncio.wait([self._task])
        if not self._task.cancelled():
            self._task.result()


@pytest.mark.parametrize(
    ("kinds", "known"),
    [
        pytest.param([stranger, stranger, garbler, forger], False, id="without the key"),
        pytest.param([insider], True, id="with the key", marks=pytest.mark.ci),
    ],
)
async def test_a_port_survives_hostile_frames(
    sockets: Network,
    victim: Victim,
    rng: random.Random,
    kinds: list[Callable[[random.Random, str], Awaitable[None]]],
    *,
    known: bool,
) -> None:
    """Given an honest peer, when hostile frames come, then it is served, and none is decoded without its key."""
    honest = Honest(await sockets.dialer().link(victim.address))
    await attack(rng, victim.address, FRAMES // 10, kinds)
    before = await honest.look(victim)
    await attack(rng, victim.address, FRAMES // 2 - FRAMES // 10, kinds)
    after = await honest.look(victim)
    await honest.stop()

    print(f"{FRAMES // 2} frames; before {before}, after {after}")  # noqa: T201 - the report
    assert after["answered"] > before["answered"]
    assert victim.process.poll() is None
    assert after["problems"] == []
    assert after["connections"] == 1
    assert after["rss"] - before["rss"] < ROOM_BYTES
    assert after["objects"] - before["objects"] < ROOM_OBJECTS
    assert (after["decoded"] == after["answered"]) is not known
