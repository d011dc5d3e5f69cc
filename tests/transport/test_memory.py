"""How much a node holds for a peer that asks for much and reads nothing: so many bytes, however much it asks for."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio

from casty_es import ClusterClient
from casty_es.cli.where import split_address
from casty_es.domain import map_entry
from casty_es.format.codec import encode_command
from casty_es.hashes import shard_of, slot_of
from casty_es.journal.sql import SqlJournal
from casty_es.names import encode_key
from casty_es.replay import Then
from casty_es.transport.frames import encode, join, read_answers
from casty_es.transport.limits import Limits
from casty_es.transport.wire import Ask, GetTopology, Locate, Located, ReadHistory, ReadPast, Request
from tests.memory import most_memory
from tests.transport.peers import RawPeer, identity

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux knows the most memory of another process")

CEILING = 200 * 2**20
REQUESTS = Limits().credits
KEY = encode_key("k")


class Watched:
    """A node in a process of its own."""

    def __init__(self, process: asyncio.subprocess.Process, address: str, secret: bytes) -> None:
        self._process = process
        self.address = address
        self.secret = secret

    def peak(self) -> int:
        """Return the most memory that it ever had, in bytes."""
        return most_memory(self._process.pid)


@pytest_asyncio.fixture
async def node(sqlite_journal_url: str) -> AsyncIterator[Watched]:
    """A node with a long value that was put many times."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(Path(__file__).with_name("node.py")), sqlite_journal_url),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    address, secret = (await process.stdout.readline()).decode().split()
    yield Watched(process, address, bytes.fromhex(secret))
    assert process.stdin is not None
    process.stdin.close()
    await process.wait()


async def get_big(peer: RawPeer, url: str) -> Ask:
    """Make the question for the long value, addressed to its owner."""
    journal = SqlJournal(url)
    slots = (await journal.open()).slots
    [shards] = await journal.structures([("map", "big")])
    await journal.close()
    slot = slot_of("map", "big", shard_of("map", "big", KEY, shards or 1), slots)
    await peer.send_sealed(join([encode((3, Locate(slot)))], 1))
    assert peer.session is not None
    [(_, located)] = read_answers(peer.session.opener.open(await peer.receive()))
    assert isinstance(located, Located)
    return Ask(slot, located.term, "map", "big", KEY, 1, *encode_command(map_entry.Get()), b"i" * 16, 60.0)


HISTORY = ReadHistory("map", "big", KEY, 0, None, 200)
PAST = ReadPast("map", "big", KEY, *encode_command(map_entry.Get()), Then(sequence=3))


@pytest.mark.parametrize(
    "what",
    [
        "history",
        pytest.param("past", marks=pytest.mark.ci),
        *(pytest.param(what, marks=pytest.mark.long) for what in ("get", "topology")),
    ],
)
@pytest.mark.timeout(120)
async def test_who_asks_for_much_and_reads_nothing_costs_little(
    node: Watched, sqlite_journal_url: str, what: str
) -> None:
    """Given a peer that uses all its credits and reads no answer, when it has asked, then the node stays small."""
    async with await RawPeer.authenticated(node.address, identity("raw"), node.secret) as peer:
        request: Request = {"history": HISTORY, "past": PAST, "topology": GetTopology()}.get(what) or await get_big(
            peer, sqlite_journal_url
        )

        def numbered(n: int) -> bytes:
            fresh = {"command_id": n.to_bytes(16, "big")} if isinstance(request, Ask) else {}
            return encode((2 * n + 1, msgspec.structs.replace(request, **fresh)))

        await peer.send_sealed(join([numbered(n) for n in range(2, 2 + REQUESTS)], REQUESTS))
        # For as long as the node waits for it to read; meanwhile another one is served.
        async with ClusterClient(
            contact_points=[split_address(node.address)], system_name="shop", secret=node.secret
        ) as client:
            hits = client.distributed().counter("hits")
            until = asyncio.get_running_loop().time() + 2 * Limits().silence_seconds
            while asyncio.get_running_loop().time() < until:
                await hits.get()
        assert node.peak() < CEILING


async def test_history_without_credit_is_not_read(node: Watched) -> None:
    """Given a peer that says that its questions need no credit, when it sends 2,500, then it has to go."""
    async with await RawPeer.authenticated(node.address, identity("raw"), node.secret) as peer:
        await peer.send_sealed(join([encode((2 * n, HISTORY)) for n in range(1, 2_501)], 2_500))

        assert "credit" in await peer.ended()
        assert node.peak() < CEILING
