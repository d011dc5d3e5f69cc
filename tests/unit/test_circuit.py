"""The circuit: one attempt at a time to reach a server that is away, and its answer for everybody who waits."""

from __future__ import annotations

import asyncio

import pytest

from casty_es.journal.circuit import Circuit, circuit_of, pause_after


class Server:
    """What is connected to: it counts, and answers when it is told to."""

    def __init__(self) -> None:
        self.tries = 0
        self.away = True
        self.asked: asyncio.Queue[asyncio.Event] = asyncio.Queue()

    async def connect(self) -> int:
        """Connect."""
        self.tries += 1
        answered = asyncio.Event()
        self.asked.put_nowait(answered)
        await answered.wait()
        if self.away:
            raise OSError(f"try {self.tries}")
        return self.tries

    async def answer(self) -> None:
        """Answer the next who connects."""
        (await self.asked.get()).set()


async def failing_circuit(server: Server) -> Circuit:
    """Return a circuit after one failure."""
    circuit = Circuit()
    first = asyncio.create_task(circuit.attempt(server.connect))
    await server.answer()
    with pytest.raises(OSError, match="try 1"):
        await first
    return circuit


async def test_a_server_that_answers_is_connected_to_at_once() -> None:
    """Given no failure, when several connect, then none waits for another."""
    server, circuit = Server(), Circuit()
    server.away = False
    callers = [asyncio.create_task(circuit.attempt(server.connect)) for _ in range(3)]
    for _ in range(3):
        await asyncio.sleep(0)

    assert server.tries == 3
    for _ in range(3):
        await server.answer()
    assert len(await asyncio.gather(*callers)) == 3


async def test_who_waits_shares_one_attempt() -> None:
    """Given a server that is away, when many want to connect, then one tries and all are told what it found."""
    server = Server()
    circuit = await failing_circuit(server)
    callers = [asyncio.create_task(circuit.attempt(server.connect)) for _ in range(20)]
    await server.answer()

    told = await asyncio.gather(*callers, return_exceptions=True)

    assert [str(error) for error in told] == ["try 2"] * 20
    assert server.tries == 2
    assert circuit.failed == 2


async def test_who_waits_connects_when_the_server_is_back() -> None:
    """Given a server that is back, when the next attempt succeeds, then all who waited connect."""
    server = Server()
    circuit = await failing_circuit(server)
    callers = [asyncio.create_task(circuit.attempt(server.connect)) for _ in range(3)]
    server.away = False
    for _ in range(3):
        await server.answer()

    assert sorted(await asyncio.gather(*callers)) == [2, 3, 4]


async def test_who_goes_away_does_not_keep_the_others() -> None:
    """Given a caller that tries for all, when it is cancelled, then the next one tries."""
    server = Server()
    circuit = await failing_circuit(server)
    first = asyncio.create_task(circuit.attempt(server.connect))
    await server.asked.get()
    second = asyncio.create_task(circuit.attempt(server.connect))
    first.cancel()
    server.away = False
    await server.answer()

    assert await second == 3


def test_the_pause_grows_to_a_second() -> None:
    """Given failures in a row, when counted, then the pause doubles and stays short for one that is back."""
    pauses = [pause_after(failures) for failures in range(1, 2_000)]

    assert pauses == sorted(pauses)
    assert pauses[0] == 0.1
    assert pauses[-1] == 1.0


async def test_one_circuit_for_a_url() -> None:
    """Given a URL, when asked twice, then it is the same circuit, and another one for another URL."""
    assert circuit_of("postgresql://one") is circuit_of("postgresql://one")
    assert circuit_of("postgresql://one") is not circuit_of("postgresql://two")
