"""Peers that fall silent: stopped, killed, cut off; and this process when it stands still itself."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from casty_es.errors import PeerLostError
from casty_es.transport.limits import Limits
from casty_es.transport.wire import Locate, Located
from tests.transport.peers import SECRET, Network, Service, address_of, ask, until

WATCHFUL = Limits(ping_seconds=0.05, silence_seconds=0.15)
# Another process may wait longer than that for its turn on a machine that is busy.
PATIENT = Limits(ping_seconds=0.1, silence_seconds=0.6)


@contextmanager
def child() -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run a listening process and give its address."""
    program = Path(__file__).with_name("child.py")
    with subprocess.Popen(
        [sys.executable, str(program), SECRET.decode()], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


async def test_a_stopped_process_is_noticed(sockets: Network) -> None:
    """Given an open request, when the node's process is stopped, then the caller hears of it; continued, it serves."""
    with child() as (process, address):
        dialer = sockets.dialer(limits=PATIENT)
        link = await dialer.link(address)
        process.send_signal(signal.SIGSTOP)
        asked = link.request(ask())
        with pytest.raises(PeerLostError, match="no sign of life") as lost:
            await asked
        assert lost.value.sent
        process.send_signal(signal.SIGCONT)

        answer = None
        while answer is None:
            try:
                answer = await (await dialer.link(address)).request(Locate(4))
            except PeerLostError:
                await asyncio.sleep(0.01)
        assert answer == Located(4, 4)


async def test_a_killed_process_is_noticed_at_once(sockets: Network) -> None:
    """Given an open request, when the node's process is killed, then the caller hears of it without any ping."""
    with child() as (process, address):
        link = await sockets.dialer(limits=Limits(ping_seconds=3600.0, silence_seconds=7200.0)).link(address)
        asked = link.request(ask())
        process.kill()

        with pytest.raises(PeerLostError, match="may have reached"):
            await asked


async def test_both_ends_notice_a_network_that_is_cut_through(service: Service) -> None:
    """Given a link, when no byte gets through any more, then both ends give it up, without a word from the other."""
    network = Network("loopback")
    assert network.loopback is not None
    listener = await network.listen(service, limits=WATCHFUL)
    link = await network.dialer(limits=WATCHFUL).link(address_of(listener))
    asked = link.request(ask())
    await until(lambda: service.held)
    network.loopback.silence(listener.address)

    with pytest.raises(PeerLostError, match="no sign of life"):
        await asked
    await until(lambda: not listener.connections)
    await network.close()


async def test_an_idle_link_stays(network: Network, service: Service) -> None:
    """Given a link without traffic, when several times the silence passes, then pings have kept it alive."""
    link = await network.dialer(limits=WATCHFUL).link(address_of(await network.listen(service, limits=WATCHFUL)))
    ticks = 0
    while ticks < 20:
        await asyncio.sleep(WATCHFUL.ping_seconds / 2)
        ticks += 1

    assert not link.closed
    assert await link.request(Locate(1)) == Located(1, 1)


async def test_standing_still_oneself_is_not_the_peers_silence(sockets: Network) -> None:
    """Given a link to another process, when this one's event loop is blocked for long, then the link is still there."""
    with child() as (_, address):
        link = await sockets.dialer(limits=PATIENT).link(address)
        for _ in range(3):
            # The blocked event loop is what is tested.
            time.sleep(PATIENT.silence_seconds * 2)  # noqa: ASYNC251
            assert await link.request(Locate(1)) == Located(1, 1)
