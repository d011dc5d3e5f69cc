"""Links come and go: one per address and process, lost, replaced, dialled again."""

from __future__ import annotations

import asyncio

import pytest

from casty_es.errors import ConfigurationError, PeerLostError
from casty_es.transport.limits import Limits
from casty_es.transport.wire import Answered, Locate, Located
from tests.transport.peers import Network, Service, address_of, ask, identity, until

PATIENT = Limits(backoff_seconds=60.0, max_backoff_seconds=60.0)
HASTY = Limits(backoff_seconds=0.001, max_backoff_seconds=0.001)


async def test_all_who_ask_get_one_link(network: Network, service: Service) -> None:
    """Given no link, when many ask for it at once, then they get the same one."""
    address = address_of(await network.listen(service))
    dialer = network.dialer()
    assert dialer.open_link(address) is None

    links = await asyncio.gather(*(dialer.link(address) for _ in range(20)))

    assert len(set(links)) == 1
    assert dialer.open_link(address) is links[0] is await dialer.link(address)


async def test_who_gives_up_does_not_end_the_attempt_of_others(network: Network, service: Service) -> None:
    """Given two who wait for a link, when one is cancelled, then the other still gets it."""
    address = address_of(await network.listen(service))
    dialer = network.dialer()
    impatient, patient = (asyncio.create_task(dialer.link(address)) for _ in range(2))
    await asyncio.sleep(0)
    impatient.cancel()

    assert await (await patient).request(Locate(1)) == Located(1, 1)
    assert impatient.cancelled()


async def test_a_lost_link_says_what_may_have_been_done(network: Network, service: Service) -> None:
    """Given a request at the node and one without credit for it, when the link is lost, then only one was sent."""
    listener = await network.listen(service, limits=Limits(credits=1))
    link = await network.dialer().link(address_of(listener))
    sent = link.request(ask("sent"))
    await until(lambda: service.held)
    unsent = link.request(ask("unsent"))
    await listener.close()

    with pytest.raises(PeerLostError, match="may have reached") as first:
        await sent
    with pytest.raises(PeerLostError, match="not sent") as second:
        await unsent
    with pytest.raises(PeerLostError, match="not sent") as third:
        await link.request(ask("afterwards"))
    assert [error.value.sent for error in (first, second, third)] == [True, False, False]
    assert service.keys == ["sent"]


async def test_closing_a_link_tells_who_waits(network: Network, service: Service) -> None:
    """Given an open request, when its link is closed here, then its caller gets an error and the node an end."""
    address = address_of(await network.listen(service))
    dialer = network.dialer(limits=PATIENT)
    link = await dialer.link(address)
    asked = link.request(ask())
    await until(lambda: service.held)
    await link.close()

    with pytest.raises(PeerLostError, match="closed by this process"):
        await asked
    service.release()
    again = await dialer.link(address)
    assert again is not link
    assert await again.request(Locate(3)) == Located(3, 3)


async def test_a_node_that_comes_back_is_reached_again(network: Network, service: Service) -> None:
    """Given a lost link, when the node listens again at its address, then the same dialer reaches it."""
    listener = await network.listen(service)
    address = address_of(listener)
    dialer = network.dialer(limits=HASTY)
    old = await dialer.link(address)
    await listener.close()
    await until(lambda: old.closed)
    with pytest.raises(PeerLostError) as lost:
        await dialer.link(address)
    assert not lost.value.sent
    await network.listen(service, port=listener.address[1])

    while (new := dialer.open_link(address)) is None:
        try:
            new = await dialer.link(address)
        except PeerLostError:
            await asyncio.sleep(0.005)
    assert await new.request(Locate(1)) == Located(1, 1)


async def test_a_dead_address_is_left_alone_for_a_while(network: Network, service: Service) -> None:
    """Given a failed attempt, when the next comes at once, then it fails without dialling, though somebody listens."""
    listener = await network.listen(service)
    address = address_of(listener)
    await listener.close()
    dialer = network.dialer(limits=PATIENT)
    with pytest.raises(PeerLostError, match="cannot be reached"):
        await dialer.link(address)
    await network.listen(service, port=listener.address[1])

    with pytest.raises(PeerLostError, match="next attempt") as again:
        await dialer.link(address)
    assert not again.value.sent
    assert await (await network.dialer().link(address)).request(Locate(1)) == Located(1, 1)


async def test_one_connection_per_process(network: Network, service: Service) -> None:
    """Given a served process, when it connects again, then the old connection ends before the new one is served."""
    address = address_of(await network.listen(service))
    process = identity("a").process_id
    old = await network.dialer(identity=identity("a", process_id=process)).link(address)
    waiting = old.request(ask("old"))
    await until(lambda: service.held)

    new = await network.dialer(identity=identity("a", process_id=process)).link(address)
    fresh = new.request(ask("new"))
    with pytest.raises(PeerLostError) as lost:
        await waiting
    await until(lambda: len(service.held) == 2)
    service.release()

    assert lost.value.sent
    assert old.closed
    assert await fresh == Answered(b"new", 1)


async def test_other_processes_keep_their_connections(network: Network, service: Service) -> None:
    """Given several processes with one node id, when they connect, then each is served."""
    address = address_of(await network.listen(service))
    links = [await network.dialer(identity=identity("same")).link(address) for _ in range(5)]

    assert await asyncio.gather(*(link.request(Locate(1)) for link in links)) == [Located(1, 1)] * 5


async def test_answers_that_are_there_leave_before_the_end(network: Network, service: Service) -> None:
    """Given commands just answered, when the listener closes in the same turn, then their callers get the answers."""
    listener = await network.listen(service)
    link = await network.dialer().link(address_of(listener))
    asked = [link.request(ask(str(number))) for number in range(100)]
    await until(lambda: len(service.held) == 100)
    service.release()
    await listener.close()

    assert len(await asyncio.gather(*asked)) == 100


async def test_a_closed_dialer_dials_no_more(network: Network, service: Service) -> None:
    """Given a dialer that closes, when somebody waits for a link or asks for one, then there is none."""
    address = address_of(await network.listen(service))
    dialer = network.dialer()
    waiting = asyncio.create_task(dialer.link(address))
    await asyncio.sleep(0)
    await dialer.close()

    with pytest.raises(PeerLostError, match="closing"):
        await waiting
    with pytest.raises(PeerLostError, match="closing"):
        await dialer.link(address)


@pytest.mark.parametrize("address", ["nowhere", "host:", ":1", "host:0", "host:65536", "host:x", ""])
async def test_an_impossible_address_is_refused(network: Network, address: str) -> None:
    """Given something that is not host:port, when it is dialled, then the error says so."""
    with pytest.raises(PeerLostError, match="host:port"):
        await network.dialer().link(address)


async def test_a_short_secret_is_refused(network: Network, service: Service) -> None:
    """Given no secret, or one that can be guessed, when somebody would listen or dial with it, then nothing starts."""
    for secret in (b"", b"sunshine7", b"fifteen bytes.."):
        with pytest.raises(ConfigurationError, match="at least 16 bytes"):
            await network.listen(service, secret=secret)
        with pytest.raises(ConfigurationError, match="at least 16 bytes"):
            network.dialer(secret=secret)
