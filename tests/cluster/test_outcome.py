"""Asking later what became of a command whose caller was never answered."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

import pytest

from casty_es import ClusteredActorSystem, Counter, OutcomeUnknownError
from casty_es.cluster.outcome import CommandStatus
from casty_es.errors import Sent
from casty_es.journal.port import LEASE_ACQUIRED

from .nodes import PATIENT, client, named_for, node, settled, slot, until
from .proxy import Proxy, behind_proxy


@asynccontextmanager
async def an_owner_and_a_caller(
    url: str,
) -> AsyncIterator[tuple[ClusteredActorSystem, ClusteredActorSystem, Proxy, Counter]]:
    """Yield an owner behind a proxy, a node that reaches it, and a counter there that the node has incremented once."""
    async with node(url) as caller, behind_proxy(url) as (owner, proxy):
        for system in (owner, caller):
            await system.wait_for(2)
        hits = caller.distributed().counter(named_for(owner, [owner, caller]), timeout=1.0)
        assert await caller.distributed().counter(hits.name, timeout=PATIENT).increment() == 1
        await settled([owner, caller], [slot("counter", hits.name)])
        assert await caller.distributed().counter(hits.name, timeout=PATIENT).increment() == 2
        yield owner, caller, proxy, hits


async def test_a_command_whose_answer_was_lost_was_executed(journal_url: str) -> None:
    """The log has it: who asks later is told so, with the reply that got lost, by a node and through a client."""
    async with an_owner_and_a_caller(journal_url) as (owner, caller, proxy, hits):
        proxy.swallowed = {False}
        with pytest.raises(OutcomeUnknownError) as caught:
            await hits.increment(5)
        error = caught.value
        assert error.command_id is not None
        assert error.sent is not None
        assert str(error.command_id) in str(error)

        async def executed() -> bool:
            return (await caller.outcome(error.command_id, sent=error.sent)).status is CommandStatus.EXECUTED

        assert await until(executed)
        async with client(caller) as connected:
            for gateway in (caller, owner, connected):
                outcome = await gateway.outcome(error.command_id, sent=error.sent)
                assert (outcome.status, outcome.reply) == ("executed", 7)
        proxy.swallowed = set()
        proxy.break_all()
        assert await caller.distributed().counter(hits.name, timeout=PATIENT).get() == 7


async def test_a_command_that_never_arrived_is_unknown_until_the_slot_has_another_epoch(journal_url: str) -> None:
    """While its term lasts it could still arrive: the owner ends the term when it is asked, and then it cannot."""
    async with an_owner_and_a_caller(journal_url) as (owner, caller, proxy, hits):
        proxy.swallowed = {True}
        with pytest.raises(OutcomeUnknownError) as caught:
            await hits.increment(5)
        error = caught.value
        assert error.command_id is not None
        assert error.sent is not None
        outcome = await caller.outcome(error.command_id, sent=error.sent)
        assert (outcome.status, outcome.reply) == ("unknown", None)

        async with client(owner) as connected:
            for gateway in (connected, owner, caller):
                outcome = await gateway.outcome(error.command_id, sent=error.sent)
                assert (outcome.status, outcome.reply) == ("not executed", None)
        proxy.swallowed = set()
        proxy.break_all()
        assert await caller.distributed().counter(hits.name, timeout=PATIENT).increment() == 3


async def test_asking_settles_what_was_sent_to_an_owner_that_others_reach(journal_url: str) -> None:
    """Whoever asks anywhere, for a command sent under the term that lasts, has the owner make sure of it, once."""
    async with an_owner_and_a_caller(journal_url) as (owner, caller, _, hits):
        number = slot("counter", hits.name)
        sent = Sent("counter", number, 0, owner._node.owner.slots[number].term)  # type: ignore[union-attr]
        async with client(caller) as connected:
            for gateway in (caller, connected, owner):
                for _ in range(2):
                    assert (await gateway.outcome(uuid4(), sent=sent)).status == "not executed"
        # That was one more lease record, and nobody was disturbed for longer than it takes.
        records = await owner.journal.records(number, after=0, limit=100)
        assert [record.type for record in records].count(LEASE_ACQUIRED) <= 3
        assert await hits.increment() == 3


async def test_a_question_without_an_effect_is_never_in_doubt(journal_url: str) -> None:
    """A read whose answer was lost certainly changed nothing: it is a plain timeout, or answered by the journal."""
    async with an_owner_and_a_caller(journal_url) as (_, _, proxy, hits):
        proxy.swallowed = {True, False}

        with pytest.raises(TimeoutError) as caught:
            await hits.get()

        assert not isinstance(caught.value, OutcomeUnknownError)


async def test_what_another_call_did_under_the_key_was_executed(journal_url: str) -> None:
    """Its record may stand before the place at which this caller sent it, and gives this caller's reply, too."""
    async with an_owner_and_a_caller(journal_url) as (owner, caller, proxy, hits):
        assert await hits.increment(5, idempotency_key="order") == 7
        assert await hits.increment() == 8
        proxy.swallowed = {True}
        with pytest.raises(OutcomeUnknownError) as caught:
            await hits.increment(5, idempotency_key="order")
        proxy.swallowed = set()
        proxy.break_all()
        error = caught.value
        assert error.command_id is not None
        assert error.sent is not None
        for gateway in (caller, owner):
            outcome = await gateway.outcome(error.command_id, sent=error.sent)
            assert (outcome.status, outcome.reply) == ("executed", 7)
