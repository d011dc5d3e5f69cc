"""What a holder is told that cannot renew what it holds, and what is sent to keep or give back what is held."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from casty_es.config import Settings
from casty_es.domain.lock import Renew, Withdraw
from casty_es.errors import JournalUnavailableError, UsageError
from casty_es.gateway import CARRIED, RegionRef, ShardEnvelope
from casty_es.handles.renewals import Claims, Renewals

SOON = 10.0  # far more than all leases here

LOCK = Claims(RegionRef("lock", "l", 1), Withdraw)


class Answering:
    """A gateway that answers, or fails, as it is told; it notes what it was asked."""

    settings = Settings(lease_seconds=0.3)

    def __init__(self, answer: Callable[[Any], Any]) -> None:
        self.answer = answer
        self.asked: list[ShardEnvelope] = []
        self.again = asyncio.Event()  # set with every question

    async def entity_ask(self, _ref: RegionRef, make: Any, *, timeout: float) -> Any:  # noqa: ASYNC109
        """Answer, or fail."""
        assert timeout > 0
        self.asked.append(make(None))
        self.again.set()
        return self.answer(self.asked[-1].command)


class Told:
    """A keeper that says when it is told."""

    def __init__(self) -> None:
        self.lost = asyncio.Event()

    def lose(self) -> None:
        """Be told."""
        self.lost.set()


async def soon(something: Awaitable[Any]) -> None:
    """Wait for what comes about at once, or never."""
    async with asyncio.timeout(SOON):
        await something


def failing(error: type[BaseException]) -> Callable[[Any], Any]:
    """Return an answer that is an error."""

    def fail(_command: object) -> Any:
        raise error("no answer")

    return fail


def known(command: Any) -> Any:
    """Say that everything that is renewed is known."""
    return command.requests


def holding(gateway: Answering) -> tuple[Renewals, Told]:
    """Return what renews one grant of a lock, and its holder."""
    renewals, told = Renewals(gateway), Told()  # type: ignore[arg-type]
    renewals.keep("request", LOCK, told, granted=True)
    return renewals, told


async def asked_again(gateway: Answering, times: int) -> None:
    """Wait until the gateway was asked this often once more."""
    for _ in range(times):
        gateway.again.clear()
        await soon(gateway.again.wait())


def renewing() -> asyncio.Task[Any]:
    """Return the task that renews."""
    [task] = [task for task in asyncio.all_tasks() if task.get_name() == "casty-renewals"]
    return task


@pytest.mark.parametrize("error", [JournalUnavailableError, ZeroDivisionError, asyncio.CancelledError])
async def test_a_holder_whose_renewals_fail_for_a_lease_is_told(error: type[BaseException]) -> None:
    """Given a grant, when no renewal is answered within its lease, whatever comes instead, then it counts as lost."""
    gateway = Answering(failing(error))
    renewals, told = holding(gateway)

    await soon(told.lost.wait())

    assert len(gateway.asked) >= 2  # one renewal may fail
    assert renewals.drop("request") is False
    await renewals.close()


async def test_renewing_goes_on_after_an_error_that_nobody_foresaw(caplog: pytest.LogCaptureFixture) -> None:
    """Given a grant, when one renewal fails in an unforeseen way, then the log says how, and the next ones are sent."""
    gateway = Answering(failing(ZeroDivisionError))
    renewals, told = holding(gateway)

    await asked_again(gateway, 1)
    gateway.answer = known
    await asked_again(gateway, 7)  # more than two leases

    assert not told.lost.is_set()
    [record] = [record for record in caplog.records if record.name == "casty_es.leases"]
    assert record.levelno == logging.ERROR
    assert record.exc_info is not None
    assert record.exc_info[0] is ZeroDivisionError
    await renewals.stop()


async def test_a_holder_is_told_when_renewing_is_ended_from_outside(caplog: pytest.LogCaptureFixture) -> None:
    """Given a grant and one who stands in line, when their renewing is cancelled, then the holder is told at once."""
    gateway = Answering(known)
    renewals, told = holding(gateway)
    waiting = Told()
    renewals.keep("in line", LOCK, waiting)
    await asked_again(gateway, 1)

    renewing().cancel()
    await soon(told.lost.wait())

    assert "was cancelled" in caplog.text
    # whoever stands in line is told of its request by the gateway, and is renewed until then
    gateway.asked.clear()
    await asked_again(gateway, 1)
    assert [one.command for one in gateway.asked] == [Renew(("in line",))]
    assert not waiting.lost.is_set()
    await renewals.stop()


async def test_who_acquires_after_renewing_was_ended_is_renewed() -> None:
    """Given a holder that was told that nobody renews, when another one is granted, then that one is renewed."""
    gateway = Answering(known)
    renewals, told = holding(gateway)
    await asked_again(gateway, 1)
    renewing().cancel()
    await soon(told.lost.wait())

    later = Told()
    renewals.keep("later", LOCK, later, granted=True)
    await asked_again(gateway, 1)

    assert gateway.asked[-1].command == Renew(("later",))
    await renewals.stop()


async def test_renewing_rests_while_nothing_is_held(caplog: pytest.LogCaptureFixture) -> None:
    """Given a grant that is given back, when its renewal is due, then the task ends, until the next grant."""
    gateway = Answering(known)
    renewals, told = holding(gateway)
    await asked_again(gateway, 1)
    renewals.drop("request", told)

    await soon(asyncio.wait({renewing()}))
    renewals.keep("request", LOCK, told, granted=True)
    await asked_again(gateway, 1)

    assert not told.lost.is_set()
    assert caplog.messages == []
    await renewals.stop()


async def test_the_holders_of_a_stopped_system_are_told() -> None:
    """Given a grant, when its system says that it has stopped, then it counts as lost: nobody renews it any more."""
    gateway = Answering(failing(UsageError))
    renewals, told = holding(gateway)

    await soon(told.lost.wait())

    await renewals.stop()


async def test_a_lease_is_as_long_as_the_gateway_says_now() -> None:
    """Given renewals of a client that is not open, when it learns of a shorter lease, then they keep to that one."""
    gateway = Answering(known)
    gateway.settings = Settings(lease_seconds=3_000.0)
    renewals = Renewals(gateway)  # type: ignore[arg-type]
    gateway.settings = Settings(lease_seconds=0.3)
    told = Told()
    renewals.keep("request", LOCK, told, granted=True)

    await asked_again(gateway, 2)

    assert not told.lost.is_set()
    await renewals.stop()


async def test_a_handle_that_is_collected_while_a_round_begins_does_not_end_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Given two grants, when the handle of one is collected in the middle of a round, then the other one is renewed."""
    gateway, collected = Answering(known), [Told()]

    class Collecting(RegionRef, frozen=True):
        """A ref that is first looked at when its handle is collected."""

        def __hash__(self) -> int:
            collected.clear()
            return hash(("lock", "gone"))

    renewals, told = Renewals(gateway), Told()  # type: ignore[arg-type]
    gone = Claims(Collecting("lock", "gone", 1), Withdraw)
    renewals.keep("gone", gone, collected[0], granted=True)
    renewals.keep("request", LOCK, told, granted=True)
    await asked_again(gateway, 1)

    assert gateway.asked[-1].command == Renew(("request",))
    assert [record.levelname for record in caplog.records] == ["WARNING"]  # of the collected handle
    await renewals.stop()


async def test_closing_gives_back_what_is_held_whether_or_not_somebody_waits_for_it() -> None:
    """Given a grant, when its system is closed, then the release is one that is carried to its end."""
    gateway = Answering(lambda _: None)
    renewals, told = holding(gateway)

    await renewals.close()

    [envelope] = gateway.asked
    assert envelope.command == Withdraw("request", keep_grant=False)
    assert envelope.undo is CARRIED
    assert told.lost.is_set()
