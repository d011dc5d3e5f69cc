"""A peer that does not take its answers: it is read no further, nothing is lost, and nobody else waits."""

from __future__ import annotations

import asyncio

from casty_es.transport.frames import Part, encode, join, read_answers
from casty_es.transport.limits import Limits
from casty_es.transport.wire import FindShards, Locate, Located
from tests.transport.peers import Network, RawPeer, Service, address_of, until

# What is asked for and not taken is far more than the kernel's buffers hold.
ANSWER_BYTES = 500_000
ANSWERS = 100


async def test_a_slow_reader_waits_alone_and_loses_nothing(sockets: Network, service: Service) -> None:
    """Given a peer that asks for much and reads nothing, when others ask, then they are served; later it gets all."""
    limits = Limits(max_unsent_bytes=1_000_000, silence_seconds=60.0)
    address = address_of(await sockets.listen(service, limits=limits))
    slow = await RawPeer.authenticated(address)
    sending = asyncio.create_task(_ask_much(slow))
    honest = await sockets.dialer().link(address)
    # The listener stops reading long before it has seen all requests.
    await until(lambda: service.seen)
    before, taken = 0, 1
    while before != taken:
        for slot in range(100):
            assert await honest.request(Locate(slot)) == Located(slot, slot)
        before, taken = taken, sum(isinstance(request, FindShards) for request in service.seen)
    assert taken < ANSWERS

    sizes: dict[int, int] = {}
    while len(sizes) < ANSWERS or min(sizes.values()) < ANSWER_BYTES:
        assert slow.session is not None
        for number, answer in read_answers(slow.session.opener.open(await slow.receive())):
            size = len(answer.data) if isinstance(answer, Part) else len(answer.body)  # type: ignore[union-attr]
            sizes[number] = sizes.get(number, 0) + size
    await sending
    await slow.close()
    assert list(sizes) == [2 * number + 1 for number in range(1, ANSWERS + 1)]


async def _ask_much(peer: RawPeer) -> None:
    for number in range(1, ANSWERS + 1):
        request = [3, "c", str(ANSWER_BYTES), "x" * 100_000]  # FindShards, and what a newer version may have behind it
        await peer.send_sealed(join([encode((2 * number + 1, request))], 1))


async def test_a_reader_that_stops_for_good_is_given_up(sockets: Network, service: Service) -> None:
    """Given a peer that asks for much and never reads, when its silence has lasted, then its answers are let go."""
    limits = Limits(max_unsent_bytes=1_000_000, ping_seconds=0.05, silence_seconds=0.2)
    listener = await sockets.listen(service, limits=limits)
    slow = await RawPeer.authenticated(address_of(listener))
    sending = asyncio.create_task(_ask_much(slow))
    await until(lambda: service.seen)
    await until(lambda: not listener.connections)

    await sending
    await slow.close()


async def test_a_slow_node_makes_its_callers_wait_only(network: Network, service: Service) -> None:
    """Given a node that answers nothing, when its credits are used up, then links to other nodes go on."""
    limits = Limits(credits=10)
    slow_service = Service()
    slow = address_of(await network.listen(slow_service, limits=limits))
    quick = address_of(await network.listen(service, limits=limits))
    dialer = network.dialer()
    stuck = [(await dialer.link(slow)).request(FindShards("c", "1")) for _ in range(5)]
    link = await dialer.link(quick)

    assert await link.request(Locate(1)) == Located(1, 1)
    await asyncio.gather(*stuck)
