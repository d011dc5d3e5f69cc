"""Networks, and the promise that a test leaves no task behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.transport.peers import Network, Service


async def _check_no_task_is_left() -> None:
    # What a server of the standard library did for a raw peer may take a turn to end.
    for _ in range(100):
        left = asyncio.all_tasks() - {asyncio.current_task()}
        if not left:
            return
        await asyncio.sleep(0.01)
    pytest.fail(f"left behind: {left}")


def _check_nothing_was_raised(caplog: pytest.LogCaptureFixture) -> None:
    # What a callback of the event loop raises shows in the log only.
    assert not [
        record for record in caplog.get_records("call") if record.name == "asyncio" and record.levelname == "ERROR"
    ]


@pytest_asyncio.fixture(params=["loopback", "websocket"])
async def network(request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture) -> AsyncIterator[Network]:
    """A network in memory, and one of sockets."""
    network = Network(request.param)
    yield network
    await network.close()
    await _check_no_task_is_left()
    _check_nothing_was_raised(caplog)


@pytest_asyncio.fixture
async def sockets(caplog: pytest.LogCaptureFixture) -> AsyncIterator[Network]:
    """A network of sockets only."""
    network = Network("websocket")
    yield network
    await network.close()
    await _check_no_task_is_left()
    _check_nothing_was_raised(caplog)


@pytest.fixture
def service() -> Service:
    """What stands behind the listener."""
    return Service()
