"""Frames that are not what they should be, from a peer that knows the secret: they end its connection only."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable

import msgspec
import pytest

from casty_es.errors import PeerLostError
from casty_es.transport.frames import Part, encode, join, read_answers
from casty_es.transport.limits import Limits
from casty_es.transport.wire import Failed, Locate, Located, NodeEntry
from tests.transport.peers import Network, RawPeer, Service, address_of, ask, identity, until

Attack = Callable[[RawPeer], Awaitable[None]]


def sealed(content: bytes) -> Attack:
    """Send this with the right code."""

    async def attack(peer: RawPeer) -> None:
        await peer.send_sealed(content)

    return attack


async def forged(peer: RawPeer) -> None:
    """Send a good frame with one bit of its code changed."""
    assert peer.session is not None
    frame = bytearray(peer.session.sealer.seal(join([encode((3, Locate(1)))], 1)))
    frame[3] ^= 1
    await peer.send(bytes(frame))


async def repeated(peer: RawPeer) -> None:
    """Send a good frame twice."""
    assert peer.session is not None
    frame = peer.session.sealer.seal(join([], 0))
    await peer.send(frame)
    await peer.send(frame)


async def short(peer: RawPeer) -> None:
    """Send less than a code."""
    await peer.send(b"abc")


async def empty(peer: RawPeer) -> None:
    """Send nothing at all."""
    await peer.send(b"")


async def oversized(peer: RawPeer) -> None:
    """Announce a frame of 2**40 bytes, and send a few of them."""
    masked = 0x80 if peer.protocol.side.name == "CLIENT" else 0
    peer.writer.write(bytes([0x82, masked | 127]) + (2**40).to_bytes(8, "big") + bytes(100))
    await peer.push()


async def text(peer: RawPeer) -> None:
    """Send text."""
    peer.protocol.send_text(b"hello")
    await peer.push()


async def fragmented(peer: RawPeer) -> None:
    """Begin a message in fragments."""
    peer.protocol.send_binary(b"a", fin=False)
    await peer.push()


async def garbage(peer: RawPeer) -> None:
    """Send bytes that are no WebSocket frame."""
    peer.writer.write(b"\xff" * 50)
    await peer.push()


PAIR = encode((3, Locate(1)))
BOTH_WAYS: list[tuple[str, Attack]] = [
    ("forged", forged),
    ("repeated", repeated),
    ("short", short),
    ("empty", empty),
    ("oversized", oversized),
    ("text", text),
    ("fragmented", fragmented),
    ("garbage", garbage),
    ("random", sealed(os.urandom(300))),
    ("nothing", sealed(b"")),
    ("truncated", sealed(join([PAIR, PAIR], 2)[:-1])),
    ("trailing bytes", sealed(join([PAIR], 1) + b"\xc0")),
    ("fewer than announced", sealed(join([PAIR], 2))),
    ("more than could be", sealed(b"\xdd\xff\xff\xff\xff")),
    ("not an array", sealed(encode({"a": 1}))),
    ("no pair", sealed(encode([[2]]))),
    ("a triple", sealed(encode([[2, Locate(1), 3]]))),
    ("a float for a number", sealed(encode([[2.5, Locate(1)]]))),
    ("a negative number", sealed(encode([[-2, Locate(1)]]))),
    ("a huge number", sealed(encode([[2**63, Locate(1)]]))),
    ("depth", sealed(b"\x91" * 100_000 + b"\x90")),
]
TO_LISTENERS: list[tuple[str, Attack]] = [
    ("the same number twice", sealed(join([PAIR, PAIR], 2))),
    ("too many with credit", sealed(join([encode((2 * n + 1, ask())) for n in range(1, 7)], 6))),
    ("no credit where one is needed", sealed(join([encode((2, Locate(1)))], 1))),
    ("too many in one frame", sealed(join([encode((2 * n + 1, Locate(1))) for n in range(1, 32_770)], 32_769))),
]
TO_DIALERS: list[tuple[str, Attack]] = [
    ("an answer to nothing", sealed(encode([[8, Located(1, 1)]]))),
    ("a part of nothing", sealed(encode([[8, Part(b"abc", 10)]]))),
    ("more parts than announced", sealed(encode([[2, Part(b"abc", 4)], [2, Part(b"abc", 4)]]))),
    ("a part too long", sealed(encode([[2, Part(bytes(200_000), 2**40)]]))),
]
# One message that is none, in a frame that is one.
MESSAGES: list[tuple[str, object]] = [
    ("nothing", None),
    ("an unknown message", [99, 1]),
    ("an untagged message", NodeEntry("a", None, "h", 1, 2)),
    ("a name for a tag", ["os.system", "true"]),
    ("a wrong field", [2, "one"]),
    ("too few fields", [2]),
    ("a field out of bounds", [2, -1]),
    ("text that is none", msgspec.Raw(b"\x93\x03\xa1\xff\xa1a")),
    ("an extension", msgspec.msgpack.Ext(4, b"x")),
]


@pytest.mark.parametrize("attack", [pytest.param(run, id=name) for name, run in BOTH_WAYS + TO_LISTENERS])
async def test_a_listener_survives(
    sockets: Network, service: Service, attack: Attack, caplog: pytest.LogCaptureFixture
) -> None:
    """Given a listener, when a frame is not right, then that connection ends with one line in the log, and no other."""
    address = address_of(await sockets.listen(service, limits=Limits(credits=5, max_open=6)))
    honest = await sockets.dialer().link(address)
    peer = await RawPeer.authenticated(address)
    caplog.clear()
    await attack(peer)
    await peer.ended()
    await peer.close()

    host, _, port = "{}:{}".format(*peer.writer.get_extra_info("sockname")[:2]).rpartition(":")
    assert [f"{host}:{port}" in record.getMessage() for record in caplog.records] == [True]
    assert await honest.request(Locate(7)) == Located(7, 7)


@pytest.mark.parametrize("attack", [pytest.param(run, id=name) for name, run in BOTH_WAYS + TO_DIALERS])
async def test_a_dialer_survives(
    sockets: Network, service: Service, attack: Attack, caplog: pytest.LogCaptureFixture
) -> None:
    """Given a dialer, when a frame is not right, then its callers hear of it, and its other links go on."""
    ended: list[RawPeer] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = await RawPeer.accepted(reader, writer)
        await peer.receive()
        await attack(peer)
        await peer.ended()
        ended.append(peer)
        await peer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with server:
        dialer = sockets.dialer(limits=Limits(max_answer_bytes=100_000), identity=identity("victim"))
        honest = await dialer.link(address_of(await sockets.listen(service)))
        link = await dialer.link("{}:{}".format(*server.sockets[0].getsockname()))
        caplog.clear()
        with pytest.raises(PeerLostError) as lost:
            await link.request(Locate(1), credit=False)
        assert lost.value.sent
        assert len(caplog.records) == 1
        assert await honest.request(Locate(7)) == Located(7, 7)
        await until(lambda: ended)


@pytest.mark.parametrize(
    "message", [pytest.param(one, id=name) for name, one in [*MESSAGES, ("an answer", Located(1, 1))]]
)
async def test_a_listener_refuses_one_message(sockets: Network, service: Service, message: object) -> None:
    """Given a frame with a message that is none, when it comes, then that one is refused and those beside it served."""
    peer = await RawPeer.authenticated(address_of(await sockets.listen(service)))
    assert peer.session is not None
    await peer.send_sealed(join([encode((3, Locate(1))), encode((5, message)), encode((7, Locate(3)))], 3))
    answers: dict[int, object] = {}
    while len(answers) < 3:
        answers.update(read_answers(peer.session.opener.open(await peer.receive())))
    await peer.close()

    refusal = answers.pop(5)
    assert isinstance(refusal, Failed)
    assert (refusal.error, "Nothing was done." in refusal.message) == ("InvalidArgumentError", True)
    assert answers == {3: Located(1, 1), 7: Located(3, 3)}


@pytest.mark.parametrize(
    "message",
    [
        pytest.param(one, id=name)
        for name, one in [*MESSAGES, ("a request", Locate(1)), ("a part of nonsense", Part(b"abc", 3, last=True))]
    ],
)
async def test_a_dialer_tells_who_asked(sockets: Network, message: object) -> None:
    """Given an answer that is none, when it comes, then its caller is told, in doubt, and the link goes on."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = await RawPeer.accepted(reader, writer)
        assert peer.session is not None
        for number, answer in ((2, message), (4, Located(7, 7))):
            await peer.receive()
            await peer.send_sealed(join([encode((number, answer))], 1))
        await peer.ended()
        await peer.close()
        ended.set()

    ended = asyncio.Event()
    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with server:
        link = await sockets.dialer().link("{}:{}".format(*server.sockets[0].getsockname()))
        with pytest.raises(PeerLostError, match="an answer that cannot be read") as told:
            await link.request(Locate(1), credit=False)
        assert told.value.sent
        assert await link.request(Locate(7), credit=False) == Located(7, 7)
        await link.close()
        await ended.wait()
