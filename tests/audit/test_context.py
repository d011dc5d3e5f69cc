"""What a program says of itself goes with its commands into the journal, and nothing else does."""

from __future__ import annotations

import asyncio
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from casty_es import (
    ClusterClient,
    ClusteredActorSystem,
    Distributed,
    IdempotencyConflictError,
    InvalidArgumentError,
    InvalidTypeError,
    SqlJournal,
    audit_context,
    context,
)
from casty_es.context import MAX_CONTEXT_BYTES, Recorded, checked, current_metadata, metadata_in, stamped
from casty_es.domain.counter import Increment
from casty_es.gateway import CommandContext, ShardEnvelope, StructureFactory
from casty_es.journal.port import EntityName

WORDS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20).filter(str.isprintable)


async def words(d: Distributed, name: str) -> list[tuple[str | None, str | None, str | None]]:
    """Return what the events of a counter say of their callers."""
    return [(event.actor, event.reason, event.correlation_id) async for event in d.counter(name).history()]


async def test_words_go_with_the_operations_inside(d: Distributed) -> None:
    """Given contexts one in another, when operations run in and out of them, then each has the words around it."""
    hits = d.counter("hits")
    await hits.increment()
    with audit_context(actor="alice", correlation_id="r-1"):
        await hits.increment()
        with audit_context(actor="bob", reason="because"):
            await hits.increment()
        await hits.increment()
    await hits.increment()

    assert await words(d, "hits") == [
        (None, None, None),
        ("alice", None, "r-1"),
        ("bob", "because", "r-1"),
        ("alice", None, "r-1"),
        (None, None, None),
    ]


async def test_tasks_have_their_own_words(d: Distributed) -> None:
    """Given tasks at once, when each says who it is, then no operation has another's words."""

    async def work(number: int) -> None:
        with audit_context(actor=f"task-{number}"):
            for _ in range(5):
                await d.counter(f"c-{number}").increment()

    await asyncio.gather(*map(work, range(10)))

    for number in range(10):
        assert await words(d, f"c-{number}") == [(f"task-{number}", None, None)] * 5


async def test_words_of_a_keyed_operation(d: Distributed) -> None:
    """Given an operation with a key and words, when it is repeated by another, then it is the first one's."""
    hits = d.counter("hits")
    with audit_context(actor="alice"):
        assert await hits.increment(5, idempotency_key="k") == 5
    with audit_context(actor="bob"):
        assert await hits.increment(5, idempotency_key="k") == 5
        with pytest.raises(IdempotencyConflictError):
            await hits.increment(6, idempotency_key="k")

    [event] = [event async for event in hits.history()]
    assert (event.actor, event.idempotency_key, event.payload) == ("alice", "k", {"amount": 5, "value": 5})


async def test_words_travel(system: ClusteredActorSystem, journal: SqlJournal) -> None:
    """Given a client, when it says who it is, then the node writes that down, and the client reads it."""
    secret = await journal.secret()
    async with ClusterClient(contact_points=[system.self_node], secret=secret) as client:
        with audit_context(actor="çélia", reason="over the wire", correlation_id="42"):
            await client.distributed().counter("hits").increment()

        assert await words(client.distributed(), "hits") == [("çélia", "over the wire", "42")]


async def test_words_of_a_release_that_grants(d: Distributed) -> None:
    """Given somebody in line, when another's release grants the lock, then the grant has the releaser's words."""
    first, second = d.lock("deploy"), d.lock("deploy")
    with audit_context(actor="alice"):
        await first.acquire()
    with audit_context(actor="bob"):
        waiting = asyncio.create_task(second.acquire())
    history = [event async for event in first.history()]
    while len(history) < 2:
        history = [event async for event in first.history()]

    with audit_context(actor="alice", reason="done"):
        await first.release()
    await waiting

    found = [(event.type, event.actor) async for event in first.history()]
    assert found[:3] == [("lock.granted", "alice"), ("lock.requested", "bob"), ("lock.released", "alice")]
    await second.release()


@pytest.mark.parametrize("text", ["", "x" * (MAX_CONTEXT_BYTES + 1), "é" * 257, "a\nb", "a\0b", "\udc80", "\x7f"])
def test_unusable_words(text: str) -> None:
    """Given a text that is empty, too long or not printable, when it is said, then it is refused and not in force."""
    for what in ("actor", "reason", "correlation_id"):
        with pytest.raises(InvalidArgumentError, match=what), audit_context(**{what: text}):
            pytest.fail("it was taken")
    assert current_metadata() is None
    with pytest.raises(InvalidTypeError, match="actor"), audit_context(actor=5):  # type: ignore[arg-type]
        pytest.fail("it was taken")


@given(actor=st.none() | WORDS, reason=st.none() | WORDS, correlation_id=st.none() | WORDS)
def test_words_come_back(actor: str | None, reason: str | None, correlation_id: str | None) -> None:
    """Given any printable words, when they are said, then the text in force reads back as they were, on any node."""
    with audit_context(actor=actor, reason=reason, correlation_id=correlation_id):
        text = current_metadata()
    assert metadata_in(text) == Recorded(actor, reason, correlation_id)
    stamp = stamped(checked(text), "token:dashboard")
    assert metadata_in(stamp) == Recorded(actor, reason, correlation_id, "token:dashboard")
    with pytest.raises(InvalidArgumentError):  # what a node has written down is nothing that a sender may say
        checked(stamp)
    assert checked(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "null",
        '"alice"',
        '{"actor":5}',
        '{"actor":"a","principal":"token:other"}',
        '{"actor":""}',
        '{"actor":"a","command":"0"}',
        '{"actor":"a\\nb"}',
        '{"actor":"a"} x',
        json.dumps({"reason": "x" * 513}),
    ],
)
async def test_nothing_else_gets_in_from_the_wire(system: ClusteredActorSystem, text: str, journal: SqlJournal) -> None:
    """Given a peer that sends something else as words, when its command arrives, then it fails and writes nothing."""
    with pytest.raises(InvalidArgumentError):
        checked(text)
    secret = await journal.secret()
    async with ClusterClient(contact_points=[system.self_node], secret=secret) as client:
        d = client.distributed()
        await d.counter("hits").increment()
        ref = client.region_ref("hits", StructureFactory("counter"), num_shards=100)
        token = context._current.set(text)  # what audit_context would refuse
        try:
            with pytest.raises(InvalidArgumentError):
                await client.entity_ask(ref, _increment, timeout=5.0)
        finally:
            context._current.reset(token)

    [stored] = await journal.entities([EntityName("counter", "hits", "")])
    assert stored is not None
    assert await journal.bounds(stored.id) == (1, 1)


def _increment(_: CommandContext) -> ShardEnvelope:
    return ShardEnvelope("hits", Increment(1))
