"""Asking later what became of a command whose caller was never answered."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from casty_es import ClusteredActorSystem, Counter, OutcomeUnknownError
from casty_es.cluster.outcome import CommandStatus

from .nodes import PATIENT, client, named_for, node, settled, slot, until
from .proxy import Proxy, behind_proxy


@asynccontextmanager
async def an_owner_and_a_caller(
    url: str,
) -> AsyncIterator[tuple[ClusteredActorSystem, ClusteredActorSystem, Proxy, Counter]]:
    """Give an owner behind a proxy, a node that reaches it, and a counter there that the node has incremented once."""
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
    """While its epoch lasts it could still arrive; under the next one it certainly was not executed."""
    async with an_owner_and_a_caller(journal_url) as (owner, caller, proxy, hits):
        proxy.swallowed = {True}
        with pytest.raises(OutcomeUnknownError) as caught:
            await hits.increment(5)
        error = caught.value
        assert error.command_id is not None
        assert error.sent is not None
        for gateway in (caller, owner):
            outcome = await gateway.outcome(error.command_id, sent=error.sent)
            assert (outcome.status, outcome.reply) == ("unknown", None)

        await owner.__aexit__(None, None, None)
        assert await caller.distributed().counter(hits.name, timeout=PATIENT).increment() == 3

        outcome = await caller.outcome(error.command_id, sent=error.sent)
        assert (outcome.status, outcome.reply) == ("not executed", None)
        async with client(caller) as connected:
            assert (await connected.outcome(error.command_id, sent=error.sent)).status == "not executed"


async def test_a_question_without_an_effect_is_never_in_doubt(journal_url: str) -> None:
    """A read whose answer was lost certainly changed nothing: it is a plain timeout, or answered by the journal."""
    async with an_owner_and_a_caller(journal_url) as (_, _, proxy, hits):
        proxy.swallowed = {True, False}

        with pytest.raises(TimeoutError) as caught:
            await hits.get()

        assert not isinstance(caught.value, OutcomeUnknownError)
