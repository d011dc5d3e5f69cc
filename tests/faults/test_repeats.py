"""A command that is sent again under its id happens once, and is answered as it was the first time."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import pytest

from casty_es import ClusteredActorSystem
from casty_es.domain import counter, lock, semaphore
from casty_es.errors import NotDoneError
from casty_es.hashes import slot_of
from casty_es.journal.memory import InMemoryJournal
from casty_es.journal.port import EntityName
from casty_es.journal.sql import SqlJournal
from casty_es.processes import called
from casty_es.runtime import SystemRuntime

from .audit import audit, read_memory, read_sql, timelines

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from casty_es.domain.decider import Command
    from casty_es.owner.owner import Owner
    from casty_es.owner.pending import Pending

_HITS = EntityName("counter", "hits", "")
_LOCK = EntityName("lock", "deploy", "")
_PERMITS = EntityName("semaphore", "pool", "")
_new_id = SystemRuntime().new_id


class Journal:
    """A journal, an owner on it, and what the journal holds."""

    def __init__(self, make: Callable[[], Any], url: str | None) -> None:
        self._make = make
        self._url = url
        self._memory = make() if url is None else None

    @asynccontextmanager
    async def owner(self) -> AsyncIterator[Owner]:
        """A fresh process' owner."""
        async with ClusteredActorSystem(journal=self._memory or self._make()) as system:
            assert system._node is not None
            yield system._node.owner

    async def types(self, name: EntityName) -> list[str]:
        """The event types of an entity, and nothing wrong with the journal."""
        log = read_memory(self._memory) if self._url is None else await read_sql(self._url)
        assert audit(log) == []
        lives = timelines(log)
        return [record.type for record in lives[name].records] if name in lives else []


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def journal(request: pytest.FixtureRequest) -> Journal:
    """Each kind of journal."""
    if request.param == "memory":
        return Journal(lambda: InMemoryJournal(slots=1), None)
    url: str = request.getfixturevalue(f"{request.param}_journal_url")
    return Journal(lambda: SqlJournal(url), url)


# One process asks one owner after the other.
_US = uuid4().hex


async def submit(
    owner: Owner, name: EntityName, command: Command, id_: bytes, *, repeat_after: int | None = None
) -> Pending:
    """Submit to the owner's slot, which is taken first."""
    slot = owner.slots[slot_of(name.kind, name.name, 0, len(owner.slots))]
    await owner.locate(slot)
    return owner.submit(
        name, 1, command, id_, slot=slot, term=slot.term, repeat_after=repeat_after, process=called("client", _US, "")
    )


async def ask(owner: Owner, name: EntityName, command: Command, id_: bytes, *, after: int | None = None) -> Any:
    """Submit and await the answer."""
    return await (await submit(owner, name, command, id_, repeat_after=after)).future


def acquire(id_: bytes, owner: str = "me") -> lock.Acquire:
    """A request for the lock, named as a handle names it."""
    return lock.Acquire(owner, str(UUID(bytes=id_)))


async def test_a_repeat_joins_its_pending_first_attempt(journal: Journal) -> None:
    """While the first attempt is open its repeats get the same answer, and it happens once."""
    id_ = _new_id()
    async with journal.owner() as owner:
        # given a first attempt that is not answered yet
        first = (await submit(owner, _HITS, counter.Increment(5), id_)).future
        assert not first.done()
        # when it is repeated at once, and again
        repeats = [(await submit(owner, _HITS, counter.Increment(5), id_, repeat_after=0)).future for _ in range(3)]
        # then all are told the same
        assert await asyncio.gather(first, *repeats) == [5, 5, 5, 5]
    assert await journal.types(_HITS) == ["counter.incremented"]


async def test_a_repeat_after_the_answer_gets_the_first_answer(journal: Journal) -> None:
    """However much happened since, a repeat is told what the first attempt was told, and appends nothing."""
    id_ = _new_id()
    async with journal.owner() as owner:
        # given a command that is done, and others after it
        assert await ask(owner, _HITS, counter.Increment(5), id_) == 5
        assert await ask(owner, _HITS, counter.Increment(10), _new_id()) == 15
        # when it is repeated
        # then it is told the old value
        assert await ask(owner, _HITS, counter.Increment(5), id_, after=0) == 5
        # and the counter did not move
        assert await ask(owner, _HITS, counter.Get(), _new_id()) == 15
    assert len(await journal.types(_HITS)) == 2


async def test_a_repeat_after_a_restart_gets_the_first_answer(journal: Journal) -> None:
    """A new owner answers the repeat of a command that the old one did."""
    id_ = _new_id()
    # given a command that an owner did
    async with journal.owner() as owner:
        assert await ask(owner, _HITS, counter.Increment(5), id_) == 5
        assert await ask(owner, _HITS, counter.Increment(1), _new_id()) == 6
    # when the next owner gets it again, as its first command
    async with journal.owner() as owner:
        assert await ask(owner, _HITS, counter.Increment(5), id_, after=0) == 5
        # then nothing was added
        assert await ask(owner, _HITS, counter.Get(), _new_id()) == 6
    assert len(await journal.types(_HITS)) == 2


async def test_a_repeat_of_what_never_happened_happens(journal: Journal) -> None:
    """A repeat whose first attempt never arrived is done, once."""
    id_ = _new_id()
    async with journal.owner() as owner:
        # given a command that only its repeats bring, two at the same time
        repeats = [(await submit(owner, _HITS, counter.Increment(5), id_, repeat_after=0)).future for _ in range(2)]
        # when both are answered, then it happened once
        assert await asyncio.gather(*repeats) == [5, 5]
    assert await journal.types(_HITS) == ["counter.incremented"]


async def test_repeats_under_load_change_nothing(journal: Journal) -> None:
    """Each of many commands on one entity is repeated while others run; each counts once and is told its own value."""
    ids = [_new_id() for _ in range(60)]
    async with journal.owner() as owner:

        async def insisted(id_: bytes) -> set[int]:
            first = (await submit(owner, _HITS, counter.Increment(1), id_)).future
            joined = (await submit(owner, _HITS, counter.Increment(1), id_, repeat_after=0)).future
            answers = {await first, await joined}
            for _ in range(2):
                answers.add(await ask(owner, _HITS, counter.Increment(1), id_, after=0))
            return answers

        # given and when: all at once
        answers = await asyncio.gather(*map(insisted, ids))
        # then every command has one answer, and together they are the numbers from 1
        assert sorted(value for values in answers for value in values) == list(range(1, len(ids) + 1))
        assert await ask(owner, _HITS, counter.Get(), _new_id()) == len(ids)
    assert len(await journal.types(_HITS)) == len(ids)


async def test_a_repeat_outlives_the_first_caller(journal: Journal) -> None:
    """Who gave up waiting does not take the answer away from a repeat."""
    id_ = _new_id()
    async with journal.owner() as owner:
        await ask(owner, _HITS, counter.Increment(1), _new_id())
        # given a decided command whose caller's time is up before the commit
        first = await submit(owner, _HITS, counter.Increment(5), id_)
        first.time_out()
        # when it is repeated
        repeat = (await submit(owner, _HITS, counter.Increment(5), id_, repeat_after=0)).future
        # then the repeat gets the answer
        assert await repeat == 6
        with pytest.raises(TimeoutError):
            await first.future
    assert len(await journal.types(_HITS)) == 2


async def test_a_granted_lock_is_told_its_token_again(journal: Journal) -> None:
    """The repeat of a granted request gets the same token, also from the next owner."""
    id_ = _new_id()
    async with journal.owner() as owner:
        token = await ask(owner, _LOCK, acquire(id_), id_)
        assert await ask(owner, _LOCK, acquire(id_), id_, after=0) == token
    async with journal.owner() as owner:
        assert await ask(owner, _LOCK, acquire(id_), id_, after=0) == token
    assert await journal.types(_LOCK) == ["lock.granted"]


async def test_a_request_in_line_is_not_put_in_line_again(journal: Journal) -> None:
    """The repeat of a request that stands in line waits with it, also at the next owner, and is granted once."""
    holder, waiter = _new_id(), _new_id()
    async with journal.owner() as owner:
        # given a request in line
        await ask(owner, _LOCK, acquire(holder, "first"), holder)
        first = await submit(owner, _LOCK, acquire(waiter), waiter)
        await ask(owner, _LOCK, lock.GetHolder(), _new_id())
        # when it is repeated here
        joined = await submit(owner, _LOCK, acquire(waiter), waiter, repeat_after=0)
        await ask(owner, _LOCK, lock.GetHolder(), _new_id())
        assert not joined.future.done()
        closing = asyncio.gather(first.future, joined.future, return_exceptions=True)
    await closing
    async with journal.owner() as owner:
        # and at the next owner
        again = await submit(owner, _LOCK, acquire(waiter), waiter, repeat_after=0)
        await ask(owner, _LOCK, lock.GetHolder(), _new_id())
        assert not again.future.done()
        # then the release grants it, once
        assert await ask(owner, _LOCK, lock.Release("first"), _new_id()) is True
        token = await again.future
        assert (await ask(owner, _LOCK, lock.GetHolder(), _new_id())).token == token
    assert await journal.types(_LOCK) == ["lock.granted", "lock.requested", "lock.released", "lock.granted"]


@pytest.mark.parametrize("reopened", [False, True], ids=["same owner", "next owner"])
async def test_a_withdrawn_request_never_comes_back(journal: Journal, *, reopened: bool) -> None:
    """The repeat of a request that was withdrawn is told that it is over, and never stands in line again."""
    holder, waiter = _new_id(), _new_id()
    async with journal.owner() as owner:
        # given a request that stood in line and was withdrawn
        await ask(owner, _LOCK, acquire(holder, "first"), holder)
        first = (await submit(owner, _LOCK, acquire(waiter), waiter)).future
        await ask(owner, _LOCK, lock.Withdraw(str(UUID(bytes=waiter)), keep_grant=True), _new_id())
        with pytest.raises(NotDoneError):
            await first
        if not reopened:
            # when it is repeated, then it is over
            with pytest.raises(NotDoneError):
                await ask(owner, _LOCK, acquire(waiter), waiter, after=0)
    if reopened:
        async with journal.owner() as owner:
            with pytest.raises(NotDoneError):
                await ask(owner, _LOCK, acquire(waiter), waiter, after=0)
    assert await journal.types(_LOCK) == ["lock.granted", "lock.requested", "lock.withdrawn"]


async def test_a_grant_that_was_released_is_not_granted_again(journal: Journal) -> None:
    """A late repeat of a request that was granted and released takes no lock."""
    id_ = _new_id()
    async with journal.owner() as owner:
        # given a lock that was taken and given back
        token = await ask(owner, _LOCK, acquire(id_), id_)
        await ask(owner, _LOCK, lock.Release("me"), _new_id())
        # when the request comes late once more, then it is told what it was told, and nobody holds the lock
        assert await ask(owner, _LOCK, acquire(id_), id_, after=0) == token
        assert await ask(owner, _LOCK, lock.GetHolder(), _new_id()) is None
    assert await journal.types(_LOCK) == ["lock.granted", "lock.released"]


async def test_a_permit_is_taken_once(journal: Journal) -> None:
    """Repeats of a semaphore's request take one permit."""
    id_ = _new_id()
    request = str(UUID(bytes=id_))
    async with journal.owner() as owner:
        first = (await submit(owner, _PERMITS, semaphore.Acquire("me", request, 2), id_)).future
        joined = (await submit(owner, _PERMITS, semaphore.Acquire("me", request, 2), id_, repeat_after=0)).future
        grant = await first
        assert await joined == grant
        assert await ask(owner, _PERMITS, semaphore.Acquire("me", request, 2), id_, after=0) == grant
    assert (await journal.types(_PERMITS)).count("semaphore.granted") == 1
