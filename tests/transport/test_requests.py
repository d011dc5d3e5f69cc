"""Requests and answers over a link: order, cancellation, credits, bounds, long answers."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from casty_es.errors import OverloadedError, PeerLostError, PeerRefusedError
from casty_es.transport.dialer import BaseDialer
from casty_es.transport.limits import Limits
from casty_es.transport.link import SocketLink
from casty_es.transport.wire import Answered, Failed, FindShards, GetTopology, Locate, Located, Outcome
from tests.transport.peers import Network, Service, address_of, ask, until


async def linked(network: Network, service: Any, **limits: Any) -> SocketLink:
    """Connect to a service under the same limits at both ends."""
    listener = await network.listen(service, limits=Limits(**limits))
    dialer: BaseDialer = network.dialer(limits=Limits(**limits))
    return await dialer.link(address_of(listener))


async def test_each_gets_its_own_answer(network: Network, service: Service) -> None:
    """Given many commands, when they are answered newest first, then each caller gets the answer to its own."""
    link = await linked(network, service)
    asked = [link.request(ask(str(number))) for number in range(500)]
    await until(lambda: len(service.held) == 500)
    service.release()

    assert [answer.body for answer in await asyncio.gather(*asked)] == [b"%d" % n for n in range(500)]
    assert link.node_id == "listener"


async def test_requests_leave_in_order(network: Network, service: Service) -> None:
    """Given one credit, when requests with and without credit wait for it, then they arrive in the order of asking."""
    link = await linked(network, service, credits=1)
    asked = [link.request(ask(str(number)), credit=number % 3 == 0) for number in range(30)]
    while len(service.keys) < 30:
        await asyncio.sleep(0)
        service.release()
    service.release()
    await asyncio.gather(*asked)

    assert service.keys == [str(number) for number in range(30)]


async def test_what_is_given_up_early_is_not_sent(network: Network, service: Service) -> None:
    """Given requests that have not left, when their callers cancel, then the node never sees them."""
    link = await linked(network, service)
    kept, dropped = link.request(ask("kept")), link.request(ask("dropped"))
    dropped.cancel()
    await until(lambda: service.held)
    service.release()

    assert (await kept).body == b"kept"
    assert service.keys == ["kept"]


async def test_a_cancelled_request_gives_its_credit_back(network: Network, service: Service) -> None:
    """Given one credit, when its holder cancels before or after leaving, then others still get their turn."""
    link = await linked(network, service, credits=1)
    link.request(ask("before")).cancel()
    after = link.request(ask("after"))
    await until(lambda: service.held)
    after.cancel()
    last = link.request(ask("last"))
    service.release()
    await until(lambda: service.held)
    service.release()

    assert (await last).body == b"last"
    assert service.keys == ["after", "last"]


async def test_credits_bound_what_is_open(network: Network, service: Service) -> None:
    """Given 10 credits, when 25 commands are asked, then 10 are open at the node, and each answer lets one in."""
    link = await linked(network, service, credits=10)
    asked = [link.request(ask(str(number))) for number in range(25)]
    await until(lambda: len(service.held) == 10)
    assert len(service.keys) == 10

    request, answer = service.held.pop(0)
    answer(Answered(request.key.encode(), 1))
    await until(lambda: len(service.keys) == 11)
    while not all(future.done() for future in asked):
        service.release()
        await asyncio.sleep(0)
    assert service.keys == [str(number) for number in range(25)]


async def test_requests_without_credit_do_not_use_any(network: Network, service: Service) -> None:
    """Given one credit, when many requests without credit are open, then one with credit is served beside them."""
    link = await linked(network, service, credits=1)
    waiting = [link.request(ask(str(number)), credit=False) for number in range(20)]

    assert await link.request(Locate(7)) == Located(7, 7)
    service.release()
    await asyncio.gather(*waiting)


async def test_too_many_that_wait_at_the_node_are_turned_away(network: Network, service: Service) -> None:
    """Given as many requests without credit as may be open, when more come, then those are told, and nobody else."""
    listener = await network.listen(service, limits=Limits(max_open=3))
    link = await network.dialer().link(address_of(listener))
    asked = [link.request(ask(str(number)), credit=False) for number in range(5)]

    for future in asked[3:]:
        answer = await future
        assert isinstance(answer, Failed)
        assert answer.error == "OverloadedError"
    assert await link.request(Locate(7)) == Located(7, 7)
    assert service.keys == ["0", "1", "2"]
    service.release()
    await asyncio.gather(*asked[:3])
    again = link.request(ask("again"), credit=False)
    await until(lambda: service.held)
    service.release()
    assert await again == Answered(b"again", 1)


async def test_bytes_that_wait_for_the_node_are_bounded(network: Network, service: Service) -> None:
    """Given commands as long as may be open together, when more come, then they are served as others are answered."""
    link = await linked(network, service, max_unsent_bytes=50_000)
    asked = [link.request(ask(str(number), b"x" * 20_000)) for number in range(10)]
    await until(lambda: service.held)
    before = -1
    while before != len(service.keys):
        before = len(service.keys)
        for _ in range(20):
            await asyncio.sleep(0)
    assert len(service.keys) == 3

    while not all(future.done() for future in asked):
        service.release()
        await asyncio.sleep(0)
    assert service.keys == [str(number) for number in range(10)]


async def test_too_many_waiting_are_turned_away(network: Network, service: Service) -> None:
    """Given a full backlog, when one more asks, then it is told at once, and it gets in after one has given up."""
    link = await linked(network, service, credits=1, max_waiting=3)
    asked = [link.request(ask("open"))]
    await until(lambda: service.held)
    asked += [link.request(ask(str(number))) for number in range(3)]

    with pytest.raises(OverloadedError, match="3 requests"):
        link.request(ask("one too many"))
    asked.pop().cancel()
    await asyncio.sleep(0)
    asked.append(link.request(ask("in time")))
    while not all(future.done() for future in asked):
        service.release()
        await asyncio.sleep(0)
    assert service.keys == ["open", "0", "1", "in time"]


async def test_too_many_bytes_waiting_are_turned_away(network: Network, service: Service) -> None:
    """Given long commands, when they are longer together than may wait, then the last is told at once."""
    link = await linked(network, service, max_waiting_bytes=100_000)
    first = link.request(ask(body=b"x" * 60_000))

    with pytest.raises(OverloadedError, match="not sent"):
        link.request(ask(body=b"x" * 60_000))
    await until(lambda: service.held)
    second = link.request(ask(body=b"x" * 60_000))
    await until(lambda: len(service.held) == 2)
    service.release()
    await asyncio.gather(first, second)


async def test_a_request_longer_than_a_frame_is_refused(network: Network, service: Service) -> None:
    """Given a node that takes short frames only, when a longer request is made, then it is refused and not sent."""
    listener = await network.listen(service, limits=Limits(max_frame_bytes=65_536))
    link = await network.dialer().link(address_of(listener))

    with pytest.raises(PeerRefusedError, match="max_frame_bytes"):
        link.request(ask(body=b"x" * 70_000))
    assert await link.request(Locate(1)) == Located(1, 1)
    assert service.keys == []


async def test_batches_are_split_to_fit(network: Network, service: Service) -> None:
    """Given short frames, when far more is asked and answered at once than fits, then everything arrives."""
    link = await linked(network, service, max_frame_bytes=65_536)
    asked = [link.request(ask(str(number), b"x" * 20_000)) for number in range(50)]
    sized = [link.request(FindShards("c", "30000")) for _ in range(50)]
    assert {len(answer.body) for answer in await asyncio.gather(*sized)} == {30_000}
    service.release()

    assert len(await asyncio.gather(*asked)) == 50


async def test_a_long_answer_lets_others_pass(network: Network, service: Service) -> None:
    """Given an answer of 40 MB, when short ones are made after it, then they arrive first, and it arrives whole."""
    link = await linked(network, service)
    order: list[int] = []
    long = link.request(FindShards("c", "40000000"))
    short = [link.request(FindShards("c", str(size))) for size in (10, 2_000_000, 1_048_000)]
    for future in (long, *short):
        future.add_done_callback(lambda done: order.append(len(done.result().body)))
    await asyncio.gather(long, *short)

    assert order[-1] == 40_000_000
    assert sorted(order) == [10, 1_048_000, 2_000_000, 40_000_000]


async def test_an_answer_longer_than_the_limit_is_an_error(network: Network, service: Service) -> None:
    """Given a caller with a limit, when an answer is longer, then the caller is told, and the link goes on."""
    listener = await network.listen(service)
    link = await network.dialer(limits=Limits(max_answer_bytes=3_000_000)).link(address_of(listener))

    answer = await link.request(FindShards("c", "3000000"))
    assert isinstance(answer, Failed)
    assert "3000000" in answer.message
    assert await link.request(FindShards("c", "2900000")) == Outcome("executed", b"x" * 2_900_000)


async def test_a_request_that_cannot_be_served_ends_its_connection(
    network: Network, service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    """Given a service that raises, when the request comes, then that connection ends with the reason, and no other."""
    listener = await network.listen(service)
    first, second = network.dialer(), network.dialer()
    bad, good = await first.link(address_of(listener)), await second.link(address_of(listener))

    with pytest.raises(PeerLostError, match="not today") as lost:
        await bad.request(GetTopology())
    assert lost.value.sent
    assert bad.closed
    assert await good.request(Locate(1)) == Located(1, 1)
    assert [record.message for record in caplog.records if "not today" in record.message]


async def test_an_answer_is_given_once(network: Network, service: Service) -> None:
    """Given an answered command, when the service answers it again, then that is an error of the service."""
    link = await linked(network, service)
    asked = link.request(ask())
    await until(lambda: service.held)
    _, answer = service.held[0]
    service.release()

    with pytest.raises(RuntimeError, match="answered before"):
        answer(Answered(b"", 1))
    assert (await asked).body == b"k"
