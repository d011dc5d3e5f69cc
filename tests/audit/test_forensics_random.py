"""Who held what and where a job was, for random histories, against what the states themselves say."""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, TypeVar

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from casty_es import SqlJournal
from casty_es.audit.forensics import (
    Claim,
    Job,
    find_job,
    find_job_by_sequence,
    joblines,
    looking_back,
    queue_timeline,
    timeline,
    who_held,
)
from casty_es.domain.catalog import CATALOG
from casty_es.domain.decider import Command
from casty_es.journal.memory import InMemoryJournal
from casty_es.journal.port import EventJournal
from tests.domain.history import VALUES
from tests.domain.strategies import commands_of

from .scripts import Script, Step, Written

T = TypeVar("T")

SECOND = 1_000_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
EXAMPLES = {"memory": 120, "sqlite": 16, "postgres": 10}


class Place(NamedTuple):
    """A journal, and how many random histories it is given."""

    journal: EventJournal
    examples: int


@pytest.fixture(params=list(EXAMPLES))
def place(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Place:
    """Each journal in turn, not open yet; pages are short, so that there are many."""
    monkeypatch.setattr(looking_back, "_PAGE_EVENTS", 3)
    monkeypatch.setattr(joblines, "_PAGE_EVENTS", 3)
    if request.param == "memory":
        return Place(InMemoryJournal(), EXAMPLES["memory"])
    url = str(request.getfixturevalue(f"{request.param}_journal_url"))
    return Place(SqlJournal(url), EXAMPLES[request.param])


class History(NamedTuple):
    """Commands with the seconds since the one before, after which of their events there are snapshots, two moments."""

    commands: list[tuple[Command, int]]
    snapshots: frozenset[int]
    first: int
    last: int

    def steps(self) -> Iterator[Step]:
        """Yield the commands at their times, from second 1 on."""
        time = SECOND
        for command, delay in self.commands:
            time += delay * SECOND
            yield Step(time, command)


def histories(kind: str) -> st.SearchStrategy[History]:
    """Return histories of a structure in which some commands fall together."""
    commands = commands_of(CATALOG[kind]).flatmap(
        lambda them: st.tuples(*(st.tuples(st.just(one), st.integers(0, 2)) for one in them)).map(list)
    )
    moments = st.integers(0, 60).map(lambda second: second * SECOND)
    return st.builds(History, commands, st.frozensets(st.integers(1, 40), max_size=2), moments, moments)


async def collected(them: AsyncIterator[T]) -> list[T]:
    """Return all."""
    return [one async for one in them]


def moment(microseconds: int) -> datetime:
    """Return a moment as the functions want it."""
    return EPOCH + timedelta(microseconds=microseconds)


class Life(NamedTuple):
    """A request as the states show it: sequences of the events by which it came, was granted and went."""

    owner: str
    request: str
    came: int
    granted: int | None
    went: int | None


def members(kind: str, state: Any) -> dict[str, tuple[str, int | None]]:
    """Return who holds and waits in a state: the owner and the token, by request."""
    holding: dict[str, tuple[str, int | None]] = {}
    if kind != "barrier":
        holding = {request: (holder.owner, holder.token) for request, holder in state.holders.items()}
    return holding | {request: (owner, None) for request, owner in state.line.items()}


def lives(kind: str, written: Written) -> list[Life]:
    """Return every request, from nothing but the states."""
    found: list[Life] = []
    open_: dict[str, Life] = {}
    for sequence, state in enumerate(written.states):
        there = members(kind, state)
        gone = [request for request in open_ if request not in there]
        found.extend(open_.pop(request)._replace(went=sequence) for request in gone)
        for request, (owner, token) in there.items():
            life = open_.setdefault(request, Life(owner, request, sequence, None, None))
            if token is not None and life.granted is None:
                open_[request] = life._replace(granted=sequence)
    return found + list(open_.values())


def told(claim: Claim, written: Written) -> Life:
    """Return what a claim says, after looking that its times are those of its events."""

    def time(sequence: int | None) -> int | None:
        return None if sequence is None else written.times[sequence - 1]

    assert (claim.asked_at, claim.ended_at) == (time(claim.asked_sequence), time(claim.ended_sequence))
    assert claim.granted_at == time(claim.token)
    if claim.ended_sequence is not None:
        assert claim.ending == type(written.events[claim.ended_sequence - 1]).__name__.lower()
    assert claim.asked_sequence is not None
    return Life(claim.owner, claim.request, claim.asked_sequence, claim.token, claim.ended_sequence)


@pytest.mark.parametrize("kind", ["lock", "semaphore", "barrier"])
def test_claims_are_those_of_the_states(place: Place, kind: str) -> None:
    """Given a random history, when asked who held at a moment or between two, then it is what the states say."""
    numbers = itertools.count()
    with asyncio.Runner() as runner:
        runner.run(place.journal.open())
        script = Script(place.journal)

        @settings(max_examples=place.examples, deadline=None)
        @given(histories(kind))
        def check(history: History) -> None:
            runner.run(_check_claims(place.journal, script, kind, f"it-{next(numbers)}", history))

        check()
        runner.run(place.journal.close())


async def _check_claims(journal: EventJournal, script: Script, kind: str, name: str, history: History) -> None:
    written = await script.write(kind, name, history.steps(), snapshots=history.snapshots)
    all_ = lives(kind, written)
    known = await who_held(journal, kind, name, at=moment(history.first))
    if not written.events:
        assert known is None
        return
    assert known is not None
    now = written.last(history.first)
    assert known.sequence == now
    there = [told(claim, written) for claim in (*known.holders, *known.waiters)]
    assert sorted(there) == sorted(life for life in all_ if life.came <= now and (life.went or now + 1) > now)
    assert [life.request for life in there] == list(members(kind, written.states[now]))
    assert len(known.holders) == sum(token is not None for _, token in members(kind, written.states[now]).values())

    if history.first >= history.last:
        return
    end = written.last(history.last)
    spans = await collected(timeline(journal, kind, name, moment(history.first), moment(history.last)))
    expected = [
        life._replace(
            granted=life.granted if (life.granted or 0) <= end else None,
            went=life.went if (life.went or 0) <= end else None,
        )
        for life in all_
        if life.came <= end and (life.went is None or life.went > now)
    ]
    key = lambda life: life.came  # noqa: E731 - one request comes at a time
    assert sorted((told(claim, written) for claim in spans), key=key) == sorted(expected, key=key)


class Stay(NamedTuple):
    """A job as a list of items shows it: the events by which it came and went, and its places."""

    value: str
    came: int
    place_then: int
    went: int | None
    ending: str | None
    place: int | None


def stays(written: Written, until: int) -> list[Stay]:
    """Return every job of a queue up to a sequence: those that left as they left, then those in line."""
    found: list[Stay] = []
    line: deque[Stay] = deque()
    for sequence, event in enumerate(written.events[:until], 1):
        match type(event).__name__, event:
            case "Enqueued", there:
                value = bytes(there.value).decode()  # type: ignore[attr-defined]
                line.append(Stay(value, sequence, len(line) + 1, None, None, None))
            case "GivenBack", there:
                value = bytes(there.value).decode()  # type: ignore[attr-defined]
                line.appendleft(Stay(value, sequence, 1, None, None, None))
            case "Dequeued", _:
                found.append(line.popleft()._replace(went=sequence, ending="dequeued"))
            case name, _:
                found += [stay._replace(went=sequence, ending=name.lower()) for stay in line]
                line.clear()
    return found + [stay._replace(place=number) for number, stay in enumerate(line, 1)]


def stay_of(job: Job, written: Written) -> Stay:
    """Return what a job says, after looking that its times are those of its events."""
    assert job.value is not None
    assert job.enqueued_sequence is not None
    assert job.enqueued_at == written.times[job.enqueued_sequence - 1]
    assert job.left_at == (None if job.left_sequence is None else written.times[job.left_sequence - 1])
    return Stay(job.value, job.enqueued_sequence, job.place_then or 0, job.left_sequence, job.ending, job.place)


def test_jobs_are_those_of_a_list(place: Place) -> None:
    """Given a random history of a queue, when jobs are looked for in every way, then a plain list says the same."""
    numbers = itertools.count()
    with asyncio.Runner() as runner:
        runner.run(place.journal.open())
        script = Script(place.journal)

        @settings(max_examples=place.examples, deadline=None)
        @given(histories("queue"), st.sampled_from(VALUES))
        def check(history: History, value: msgspec.Raw) -> None:
            runner.run(_check_jobs(place.journal, script, f"it-{next(numbers)}", history, value))

        check()
        runner.run(place.journal.close())


async def _check_jobs(journal: EventJournal, script: Script, name: str, history: History, value: msgspec.Raw) -> None:
    written = await script.write("queue", name, history.steps(), snapshots=history.snapshots)
    at = moment(history.first)
    now = written.last(history.first)
    text = bytes(value).decode()

    found = await collected(find_job(journal, name, msgspec.json.decode(text)))
    then = await collected(find_job(journal, name, msgspec.json.decode(text), at=at))
    assert [stay_of(job, written) for job in found] == [
        stay for stay in stays(written, len(written.events)) if stay.value == text
    ]
    assert [stay_of(job, written) for job in then] == [stay for stay in stays(written, now) if stay.value == text]

    for stay in stays(written, now)[:2]:
        one = await find_job_by_sequence(journal, name, stay.came, at=at)
        assert one is not None
        assert stay_of(one, written) == stay

    if history.first < history.last:
        spans = await collected(queue_timeline(journal, name, at, moment(history.last)))
        expected = [
            stay._replace(place_then=0 if stay.came <= now else stay.place_then)  # not counted so far back
            for stay in stays(written, written.last(history.last))
            if stay.went is None or stay.went > now
        ]
        assert [stay_of(job, written) for job in spans] == expected
