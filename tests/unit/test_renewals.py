"""What a holder is told that cannot renew what it holds."""

from __future__ import annotations

import asyncio
from typing import Any

from casty_es.config import Settings
from casty_es.domain.lock import Renew, Withdraw
from casty_es.errors import JournalUnavailableError
from casty_es.gateway import RegionRef
from casty_es.handles.renewals import Claims, Renewals


class Unreachable:
    """A gateway to nobody, which counts how often it was asked."""

    settings = Settings(lease_seconds=0.03)

    def __init__(self) -> None:
        self.asked = 0

    async def entity_ask(self, _ref: RegionRef, _make: Any, *, timeout: float) -> Any:  # noqa: ASYNC109
        """Fail."""
        assert timeout > 0
        self.asked += 1
        raise JournalUnavailableError("the journal cannot be reached")


class Told:
    """A keeper that says when it is told."""

    def __init__(self) -> None:
        self.lost = asyncio.Event()

    def lose(self) -> None:
        """Be told."""
        self.lost.set()


async def test_a_holder_that_reaches_nobody_for_a_lease_is_told() -> None:
    """Given a grant, when no renewal is answered within its lease, then it counts as lost."""
    gateway, told = Unreachable(), Told()
    renewals = Renewals(gateway)  # type: ignore[arg-type]
    renewals.keep("request", Claims(RegionRef("lock", "l", 1), Renew, Withdraw), told)

    await told.lost.wait()

    assert gateway.asked >= 2  # one renewal may fail
    assert renewals.drop("request") is False
    await renewals.close()
