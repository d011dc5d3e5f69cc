"""Many connections: bounded in number, in all and by address; whoever is served is not pushed out by who is not."""

from __future__ import annotations

import asyncio
import logging
import ssl
import sys
from pathlib import Path

import pytest
import trustme

from casty_es.errors import PeerLostError, PeerRefusedError
from casty_es.transport.handshake import DialerHandshake
from casty_es.transport.limits import Limits
from casty_es.transport.websocket import WebSocketDialer
from casty_es.transport.wire import Locate, Located
from tests.transport.peers import SECRET, Network, RawPeer, Service, address_of, identity, until

HASTY = Limits(backoff_seconds=0.001, max_backoff_seconds=0.001)
ELSEWHERE = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has all of 127.0.0.0/8 on its loopback")


async def strange(address: str, number: int) -> list[asyncio.StreamWriter]:
    """Connect and say nothing."""
    host, _, port = address.rpartition(":")
    return [(await asyncio.open_connection(host, int(port)))[1] for _ in range(number)]


@ELSEWHERE
async def test_a_crowd_at_one_address_keeps_nobody_else_out(sockets: Network, service: Service) -> None:
    """Given one in its handshake, when a crowd comes from another address, then it is the crowd that has to go."""
    listener = await sockets.listen(service, limits=Limits(max_unauthenticated=4, handshake_seconds=60.0))
    peer = await RawPeer.connect(address_of(listener), local="127.0.0.2")
    crowd = await strange(address_of(listener), 20)
    await until(lambda: listener.incidents.get("crowd") == 17)

    handshake = DialerHandshake(identity("patient"), SECRET, Limits())
    message: bytes | None = handshake.start()
    while peer.session is None:
        assert message is not None
        await peer.send(message)
        message, peer.session = handshake.receive(await peer.receive())
    await until(lambda: listener.connections == 1)
    for writer in crowd:
        writer.close()
    await peer.close()


async def test_strangers_of_one_address_are_bounded(sockets: Network, service: Service) -> None:
    """Given one that is served, when a hundred strangers come, then few stay, and it is served on."""
    limits = Limits(max_unauthenticated_per_address=5, handshake_seconds=60.0)
    listener = await sockets.listen(service, limits=limits)
    link = await sockets.dialer().link(address_of(listener))
    crowd = await strange(address_of(listener), 100)
    await until(lambda: listener.incidents.get("crowd") == 95)

    assert await link.request(Locate(1)) == Located(1, 1)
    for writer in crowd:
        writer.close()


@pytest.mark.parametrize("bound", ["max_connections", "max_per_address"])
async def test_who_comes_too_late_is_refused(network: Network, service: Service, bound: str) -> None:
    """Given as many as may be served, when another knows the secret, then it has to wait until one leaves."""
    listener = await network.listen(service, limits=Limits(**{bound: 2}))
    address = address_of(listener)
    links = [await network.dialer().link(address) for _ in range(2)]
    late = network.dialer(limits=HASTY)
    with pytest.raises(PeerLostError, match="is not served: 2 connections") as refused:
        await late.link(address)

    assert not refused.value.sent
    assert [await link.request(Locate(1)) for link in links] == [Located(1, 1)] * 2
    await links[0].close()
    await until(lambda: listener.connections == 1)
    while (link := late.open_link(address)) is None:
        try:
            link = await late.link(address)
        except PeerLostError:
            await asyncio.sleep(0.005)
    assert await link.request(Locate(2)) == Located(2, 2)


@ELSEWHERE
async def test_another_address_has_its_own_number(sockets: Network, service: Service) -> None:
    """Given as many as may come from one address, when one comes from another, then it is served."""
    listener = await sockets.listen(service, limits=Limits(max_per_address=1))
    await sockets.dialer().link(address_of(listener))
    peer = await RawPeer.authenticated(address_of(listener), local="127.0.0.2")

    await until(lambda: listener.connections == 2)
    await peer.close()


async def test_nobody_takes_the_connection_of_another(network: Network, service: Service) -> None:
    """Given a served process, when another one says that it is that one, then it is refused, and the first goes on."""
    address = address_of(await network.listen(service))
    process = identity("victim").process_id
    link = await network.dialer(identity=identity("victim", process_id=process)).link(address)
    with pytest.raises(PeerLostError, match="under another name"):
        await network.dialer(identity=identity("thief", process_id=process)).link(address)

    assert await link.request(Locate(1)) == Located(1, 1)


@pytest.mark.parametrize("over", ["TCP", "TLS"])
async def test_a_knock_is_no_incident(
    sockets: Network, service: Service, caplog: pytest.LogCaptureFixture, over: str
) -> None:
    """Given a health check that connects and closes, when it was done often, then nothing is told or counted."""
    context = None
    if over == "TLS":
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    caplog.set_level(logging.DEBUG, "casty_es.transport")
    listener = await sockets.listen(service, ssl=context)
    for _ in range(20):
        [writer] = await strange(address_of(listener), 1)
        writer.close()
        await writer.wait_closed()

    await until(lambda: sum("was not accepted" in record.getMessage() for record in caplog.records) == 20)
    assert [record for record in caplog.records if record.levelno > logging.DEBUG] == []
    assert listener.incidents == {}


async def test_failed_proofs_are_counted_and_told_of_at_a_bounded_rate(
    network: Network, service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    """Given many dialers with another secret, when they have tried, then each is counted, and the log stays short."""
    listener = await network.listen(service)
    for _ in range(50):
        with pytest.raises(PeerRefusedError):
            await network.dialer(secret=b"another secret of the cluster").link(address_of(listener))

    await until(lambda: listener.incidents.get("refused") == 50)
    told = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert 10 <= len(told) <= 12
    await listener.close()
    assert "incidents of the kind 'refused' were not told one by one" in caplog.text


async def test_running_out_of_descriptors_harms_nobody(sqlite_journal_url: str) -> None:
    """Given a node without descriptors left, when strangers come, then clients go on, and later others get in again."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(Path(__file__).with_name("node.py")), sqlite_journal_url, "8"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    reading = asyncio.create_task(process.stderr.read())
    address, secret = (await process.stdout.readline()).decode().split()
    dialer = WebSocketDialer(identity("honest"), bytes.fromhex(secret), limits=HASTY)
    link = await dialer.link(address)
    crowd = await strange(address, 60)
    loop = asyncio.get_running_loop()
    until_ = loop.time() + 2.5  # the listening socket rests for a second each time
    while loop.time() < until_:
        assert isinstance(await link.request(Locate(1)), Located)
    for writer in crowd:
        writer.close()

    late = WebSocketDialer(identity("late"), bytes.fromhex(secret), limits=HASTY)
    while (new := late.open_link(address)) is None:
        try:
            new = await late.link(address)
        except PeerLostError:
            await asyncio.sleep(0.05)
    assert isinstance(await new.request(Locate(1)), Located)
    assert isinstance(await link.request(Locate(1)), Located)
    await dialer.close()
    await late.close()
    process.stdin.close()
    assert await process.wait() == 0
    assert b"out of system resource" in await reading
