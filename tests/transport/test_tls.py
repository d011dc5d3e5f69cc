"""The same connections inside TLS."""

from __future__ import annotations

import asyncio
import ssl

import pytest
import trustme

from casty_es.errors import PeerError
from casty_es.transport.limits import Limits
from casty_es.transport.wire import FindShards, Locate, Located, Outcome
from tests.transport.peers import Network, Service, address_of, until


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """Who signs the certificates of this system."""
    return trustme.CA()


@pytest.fixture
def server_side(authority: trustme.CA) -> ssl.SSLContext:
    """The settings of a listener."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


@pytest.fixture
def client_side(authority: trustme.CA) -> ssl.SSLContext:
    """The settings of a dialer that trusts the authority."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


async def test_links_work_inside_tls(
    sockets: Network, service: Service, server_side: ssl.SSLContext, client_side: ssl.SSLContext
) -> None:
    """Given certificates, when requests and long answers pass, then all arrive, and the end is as orderly."""
    listener = await sockets.listen(service, ssl=server_side)
    link = await sockets.dialer(ssl=client_side).link(address_of(listener))
    answers = await asyncio.gather(
        link.request(FindShards("c", "5000000")), *(link.request(Locate(slot)) for slot in range(200))
    )

    assert answers == [Outcome("executed", b"x" * 5_000_000), *(Located(slot, slot) for slot in range(200))]
    await link.close()
    await until(lambda: not listener.connections)


async def test_a_certificate_of_another_authority_is_refused(
    sockets: Network, service: Service, server_side: ssl.SSLContext
) -> None:
    """Given a dialer that trusts somebody else, when it dials, then it does not connect, and says why."""
    address = address_of(await sockets.listen(service, ssl=server_side))

    with pytest.raises(PeerError, match="certificate verify failed"):
        await sockets.dialer(ssl=ssl.create_default_context()).link(address)


async def test_a_dialer_without_tls_is_not_served(
    sockets: Network, service: Service, server_side: ssl.SSLContext, client_side: ssl.SSLContext
) -> None:
    """Given a listener with TLS, when a dialer comes without, then it fails, and others are served."""
    address = address_of(await sockets.listen(service, ssl=server_side))
    with pytest.raises(PeerError, match=address):
        await sockets.dialer(limits=Limits(handshake_seconds=0.2)).link(address)

    assert await (await sockets.dialer(ssl=client_side).link(address)).request(Locate(1)) == Located(1, 1)


async def test_a_dialer_with_tls_does_not_speak_without(
    sockets: Network, service: Service, client_side: ssl.SSLContext
) -> None:
    """Given a listener without TLS, when a dialer insists on it, then it does not connect."""
    address = address_of(await sockets.listen(service))

    with pytest.raises(PeerError, match=address):
        await sockets.dialer(ssl=client_side).link(address)


async def test_silent_strangers_do_not_keep_others_out(
    sockets: Network, service: Service, server_side: ssl.SSLContext, client_side: ssl.SSLContext
) -> None:
    """Given as many silent connections as may be, when they do not even begin with TLS, then the oldest go."""
    limits = Limits(max_unauthenticated=3, handshake_seconds=60.0)
    address = address_of(await sockets.listen(service, ssl=server_side, limits=limits))
    host, _, port = address.rpartition(":")
    strangers = [await asyncio.open_connection(host, int(port)) for _ in range(6)]

    for reader, _ in strangers[:3]:
        assert await reader.read() == b""
    link = await sockets.dialer(ssl=client_side).link(address)
    assert await link.request(Locate(1)) == Located(1, 1)
    for _, writer in strangers:
        writer.close()
