"""Commands that look before they are decided, and those that wait behind them: none overtakes another."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from casty_es import ClusteredActorSystem
from casty_es.domain import lock
from casty_es.errors import CastyError
from casty_es.journal.memory import InMemoryJournal
from casty_es.journal.port import EntityName, RecordedEvent
from casty_es.owner.pending import Pending
from casty_es.runtime import SystemRuntime

NAME = EntityName("lock", "l", "")
OTHERS, MINE = "018bcfe5-6a1a-7ba3-9f72-2226c32168ca", "4f282690-40ee-869d-8080-fc258f6ba058"


class Gated(InMemoryJournal):
    """A journal in which nobody finds a key before the gate is open."""

    def __init__(self) -> None:
        super().__init__(slots=4)
        self.gate, self.asked = asyncio.Event(), asyncio.Event()

    async def find_key(self, entity: int, idempotency_key: str) -> list[RecordedEvent]:
        """Wait at the gate."""
        self.asked.set()
        await self.gate.wait()
        return await super().find_key(entity, idempotency_key)


async def events(journal: InMemoryJournal) -> list[tuple[str, str]]:
    """Return what happened to the lock: the types of its events, and whose requests they are of."""
    [stored] = await journal.entities([NAME])
    assert stored is not None
    read = [event for slot in range(4) for event in await journal.records(slot)]
    return [(event.type, event.payload) for event in read if event.entity == stored.id]


@pytest.mark.parametrize("later", ["while it is read again", "before it is forgotten", "behind another key"])
async def test_a_withdrawal_waits_for_its_request_whose_entity_is_forgotten(later: str) -> None:
    """Given a request that looks, when its entity is forgotten meanwhile, then its withdrawal does not pass it."""
    journal = Gated()
    async with ClusteredActorSystem(journal=journal) as system:
        await system.distributed().lock("l").acquire()
        assert system._node is not None
        owner = system._node.owner
        slot = owner.in_memory(NAME)
        assert slot is not None

        def send(command: Any, **how: Any) -> Pending:
            return owner.submit(NAME, 100, command, SystemRuntime().new_id(), slot=slot, term=slot.term, **how)

        request = send(lock.Acquire("me", MINE), idempotency_key="k")
        await journal.asked.wait()
        told = []
        if later == "before it is forgotten":
            told.append(send(lock.Withdraw(MINE, keep_grant=False)))
        owner.drop([slot])
        if later == "behind another key":
            told.append(send(lock.Acquire("other", OTHERS), idempotency_key="k2"))
        told.append(send(lock.Withdraw(MINE, keep_grant=False)))
        journal.gate.set()
        with pytest.raises(CastyError, match="withdrawn"):
            await request.future
        assert await told[-1].future is None

        log = [(type_, MINE in payload) for type_, payload in await events(journal)]
    assert log.index(("lock.requested", True)) < log.index(("lock.withdrawn", True))
