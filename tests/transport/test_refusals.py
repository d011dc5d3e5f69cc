"""Who is not let in, on either end, and what both are told."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from casty_es.errors import PeerLostError, PeerRefusedError
from casty_es.transport import served
from casty_es.transport.frames import encode, join
from casty_es.transport.handshake import DialerHandshake, ListenerHandshake, RefusingError
from casty_es.transport.limits import Limits
from casty_es.transport.wire import Locate, Located
from tests.transport.peers import SECRET, Network, RawPeer, Service, address_of, identity, until


@asynccontextmanager
async def serving(
    handle: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[str]:
    """Run a server that is none of ours, and return its address."""

    async def closing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await handle(reader, writer)
        finally:
            writer.close()

    server = await asyncio.start_server(closing, "127.0.0.1", 0)
    async with server:
        yield "{}:{}".format(*server.sockets[0].getsockname())


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        pytest.param({"secret": b"another secret, as long"}, "secret=", id="secret"),
        pytest.param({"identity": identity(system="bank")}, "'bank'", id="system"),
    ],
)
async def test_a_stranger_is_refused(
    network: Network, service: Service, wrong: dict[str, Any], text: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Given a dialer with another secret or system, when it dials, then both ends say why, and others are served."""
    address = address_of(await network.listen(service))
    with pytest.raises(PeerRefusedError, match=text) as refused:
        await network.dialer(**wrong).link(address)
    await until(lambda: caplog.records)

    assert address in str(refused.value)
    assert [text in record.getMessage() for record in caplog.records] == [True]
    assert await (await network.dialer().link(address)).request(Locate(1)) == Located(1, 1)


async def test_a_refused_dialer_does_not_try_again_at_once(network: Network, service: Service) -> None:
    """Given a refusal, when the same address is dialled again at once, then the same refusal comes without dialling."""
    address = address_of(await network.listen(service))
    dialer = network.dialer(
        secret=b"another secret, as long", limits=Limits(backoff_seconds=60.0, max_backoff_seconds=60.0)
    )
    with pytest.raises(PeerRefusedError, match="secret"):
        await dialer.link(address)

    with pytest.raises(PeerRefusedError, match=r"secret.*next attempt"):
        await dialer.link(address)


async def test_a_newer_dialer_is_told_both_versions(
    sockets: Network, service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    """Given a dialer that speaks versions 7 to 9 only, when it comes, then both ends name both versions."""
    peer = await RawPeer.connect(address_of(await sockets.listen(service)))
    handshake = DialerHandshake(identity(), SECRET, Limits(), (7, 9))
    await peer.send(handshake.start())

    with pytest.raises(PeerRefusedError, match=r"speaks version 3 .* speaks versions 7 to 9"):
        handshake.receive(await peer.receive())
    await peer.ended()
    await peer.close()
    assert "speaks versions 7 to 9 of the protocol, this process speaks version 3" in caplog.text


async def test_an_older_listener_is_told_both_versions(sockets: Network) -> None:
    """Given a node that speaks versions 7 to 9 only, when it is dialled, then both ends name both versions."""
    told: list[str] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from websockets.server import ServerProtocol

        peer = RawPeer(reader, writer, ServerProtocol())
        try:
            ListenerHandshake(identity("new"), SECRET, Limits(), (7, 9)).receive(await peer.receive())
        except RefusingError as error:
            told.append(str(error))
            await peer.send(error.refusal)
            await peer.ended()

    async with serving(handle) as address:
        with pytest.raises(PeerRefusedError, match=r"speaks versions 7 to 9 .* speaks version 3"):
            await sockets.dialer().link(address)
        await until(lambda: told)
    assert "speaks version 3 of the protocol, this process speaks versions 7 to 9" in told[0]


async def test_who_says_nothing_has_to_go(sockets: Network, service: Service) -> None:
    """Given a short time for the handshake, when a peer opens a WebSocket and is silent, then it is hung up on."""
    address = address_of(await sockets.listen(service, limits=Limits(handshake_seconds=0.05)))
    peer = await RawPeer.connect(address)

    assert "in time" in await peer.ended()
    await peer.close()


async def test_the_oldest_stranger_makes_room(sockets: Network, service: Service) -> None:
    """Given as many silent strangers as may be, when more come, then the oldest go and an honest dialer gets in."""
    limits = Limits(max_unauthenticated=3, handshake_seconds=60.0)
    address = address_of(await sockets.listen(service, limits=limits))
    strangers = [await RawPeer.connect(address) for _ in range(6)]
    link = await sockets.dialer().link(address)

    assert await link.request(Locate(1)) == Located(1, 1)
    for stranger in strangers[:4]:
        assert "oldest" in await stranger.ended()
    for stranger in strangers:
        await stranger.close()


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"GET / HTTP/1.1\r\n" + b"X-A: " + b"a" * 4000 + b"\r\n", id="a request without end"),
        pytest.param(b"\0" * 20_000, id="zeros"),
        pytest.param(b"POST / HTTP/1.1\r\nHost: a\r\n\r\n", id="another method"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", id="no upgrade"),
        pytest.param(b"\x16\x03\x01" + os.urandom(500) + b"\n", id="TLS"),
        pytest.param(
            b"GET / HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n" + b"\xff" * 20,
            id="an upgrade and garbage",
        ),
        pytest.param(b"X" * 100 + b"\r\n", id="a line"),
    ],
)
async def test_who_does_not_speak_websocket_has_to_go(sockets: Network, service: Service, data: bytes) -> None:
    """Given a port, when something else than a WebSocket handshake comes, then the connection ends."""
    address = address_of(await sockets.listen(service, limits=Limits(handshake_seconds=0.2)))
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(data)
    try:
        while await reader.read(1000):
            pass
    except ConnectionError:
        pass
    writer.close()

    assert await (await sockets.dialer().link(address)).request(Locate(1)) == Located(1, 1)


@pytest.mark.parametrize("early", ["text", "ping", "fragment", "long", "frames"])
async def test_nothing_is_decoded_before_the_handshake(
    sockets: Network, service: Service, early: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a stranger, when it sends anything but the handshake, then it has to go, and nothing was decoded."""
    decoded: list[object] = []
    monkeypatch.setattr(served, "read_requests", decoded.append)
    peer = await RawPeer.connect(address_of(await sockets.listen(service)))
    match early:
        case "text":
            peer.protocol.send_text(b"hello")
        case "ping":
            peer.protocol.send_ping(b"hello")
        case "fragment":
            peer.protocol.send_binary(b"hello", fin=False)
        case "long":
            peer.protocol.send_binary(bytes(50_000))
        case _:
            peer.protocol.send_binary(b"\xdd\0\0\0\1\x92\2\x92\2\1")
    await peer.push()

    await peer.ended()
    await peer.close()
    assert decoded == []
    assert service.seen == []


async def test_who_greets_and_leaves_at_once_is_no_trouble(sockets: Network, service: Service) -> None:
    """Given a greeting and a goodbye in one piece, when they come, then nobody answers into the closed connection."""
    address = address_of(await sockets.listen(service))
    peer = await RawPeer.connect(address)
    peer.protocol.send_binary(DialerHandshake(identity(), SECRET, Limits()).start())
    peer.protocol.send_close(1000)
    await peer.push()
    await peer.ended()
    await peer.close()

    assert await (await sockets.dialer().link(address)).request(Locate(1)) == Located(1, 1)


async def test_who_asks_and_leaves_at_once_is_no_trouble(sockets: Network, service: Service) -> None:
    """Given a request and a goodbye in one piece, when they come, then it is served, and its answer is dropped."""
    listener = await sockets.listen(service)
    peer = await RawPeer.authenticated(address_of(listener))
    assert peer.session is not None
    peer.protocol.send_binary(peer.session.sealer.seal(join([encode((3, Locate(5)))], 1)))
    peer.protocol.send_close(1000)
    await peer.push()
    await peer.ended()
    await peer.close()

    assert service.seen == [Locate(5)]
    await until(lambda: not listener.connections)


async def test_a_node_that_hangs_is_given_up(sockets: Network) -> None:
    """Given something that accepts and is silent, when it is dialled, then the dialer gives up in time."""

    async def handle(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        while await reader.read(1000):
            pass

    async with serving(handle) as address:
        with pytest.raises(PeerLostError, match="handshake in time") as lost:
            await sockets.dialer(limits=Limits(handshake_seconds=0.05)).link(address)
    assert not lost.value.sent


@pytest.mark.parametrize("answer", [b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", b"SSH-2.0-x\r\n", b""])
async def test_something_else_at_the_address_is_an_error(sockets: Network, answer: bytes) -> None:
    """Given another program, when it is dialled, then the dialer says that it does not speak our protocol."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)

    async with serving(handle) as address:
        with pytest.raises(PeerLostError, match=address) as lost:
            await sockets.dialer().link(address)
    assert not lost.value.sent
