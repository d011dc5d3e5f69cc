"""The database loses records that it had acknowledged: the slot is closed, and nobody gets a wrong answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from casty_es import ClusteredActorSystem, Settings
from casty_es.errors import JournalRegressedError
from casty_es.journal.sql import SqlJournal

if TYPE_CHECKING:
    from .loss import Loss

# Who waits for an answer here waits for one that does not come.
pytestmark = pytest.mark.timeout(60)

_SETTINGS = Settings(membership_seconds=0.2)


@pytest.mark.parametrize("first", ["read", "write"])
async def test_a_slot_that_lost_records_is_closed(journal_url: str, loss: Loss, first: str) -> None:
    """Neither a read nor a write is answered over a log that is shorter than what was acknowledged; others go on."""
    async with ClusteredActorSystem(journal=SqlJournal(journal_url), settings=_SETTINGS) as system:
        d = system.distributed()
        hits, other = d.counter("hits"), d.counter("other")
        await hits.increment()
        await other.increment()
        await loss.keep()
        assert await hits.increment() == 2
        # given a database that has lost the last increment
        await loss.strike()
        # when the counter is used, by reading it or by writing to it first
        uses = [hits.get, hits.increment] if first == "read" else [hits.increment, hits.get]
        # then its users are told, whatever they try and however often
        for use in (*uses, *uses):
            with pytest.raises(JournalRegressedError, match="accept the loss"):
                await use()
        # and what lost nothing is served
        assert await other.increment() == 2


async def test_another_node_is_told_of_the_loss(journal_url: str, loss: Loss) -> None:
    """A caller at another node gets the same error as one at the owner, and no answer."""
    async with (
        ClusteredActorSystem(journal=SqlJournal(journal_url), settings=_SETTINGS) as one,
        ClusteredActorSystem(journal=SqlJournal(journal_url), settings=_SETTINGS) as two,
    ):
        counters = [system.distributed().counter("hits") for system in (one, two)]
        await counters[0].increment()
        await loss.keep()
        assert await counters[1].increment() == 2
        # given a database that has lost what one of the two nodes acknowledged
        await loss.strike()
        # when both use it, then both are told
        for counter in counters:
            with pytest.raises(JournalRegressedError):
                await counter.increment()
            with pytest.raises(JournalRegressedError):
                await counter.get()


async def test_a_loss_of_what_was_written_under_the_last_epoch_is_noticed(journal_url: str, loss: Loss) -> None:
    """Losing the lease record, too, is no takeover: the owner still knows what it had been told was committed."""
    async with ClusteredActorSystem(journal=SqlJournal(journal_url), settings=_SETTINGS) as system:
        d = system.distributed()
        await d.counter("other").increment()
        await loss.keep()
        # given a slot of which nothing is left
        hits = d.counter("hits")
        assert await hits.increment() == 1
        await loss.strike()
        # when it is used, then it is closed
        for use in (hits.get, hits.increment):
            with pytest.raises(JournalRegressedError):
                await use()


async def test_an_accepted_loss_opens_the_slot_again(journal_url: str, loss: Loss) -> None:
    """When an operator accepts the loss, running nodes go on where the log ends, and tokens go on growing."""
    async with (
        ClusteredActorSystem(journal=SqlJournal(journal_url), settings=_SETTINGS) as one,
        ClusteredActorSystem(journal=SqlJournal(journal_url), settings=_SETTINGS) as two,
    ):
        systems = [system.distributed() for system in (one, two)]
        hits = [d.counter("hits") for d in systems]
        await hits[0].increment()
        lock = systems[0].lock("deploy")
        await lock.acquire()
        await lock.release()
        await loss.keep()
        assert await hits[1].increment() == 2
        await lock.acquire()
        token = lock.token
        assert token is not None
        # given slots that were closed over a loss
        await loss.strike()
        for counter in hits:
            with pytest.raises(JournalRegressedError):
                await counter.increment()
        with pytest.raises(JournalRegressedError):
            await systems[1].lock("deploy", timeout=2.0).acquire()
        # when the loss is accepted
        operator = SqlJournal(journal_url)
        await operator.open()
        await operator.raise_incarnation()
        await operator.close()
        # then both nodes count on from what is there
        assert [await counter.increment() for counter in hits] == [2, 3]
        # and the token of the next grant is higher than the lost one
        next_lock = systems[1].lock("deploy", timeout=10.0)
        await next_lock.acquire()
        assert next_lock.token is not None
        assert next_lock.token > token
