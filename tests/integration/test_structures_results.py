"""What every operation returns, on every kind of journal."""

from __future__ import annotations

import inspect
from uuid import UUID

import pytest

from casty_es import Barrier, BoundsError, Counter, Dict, Distributed, InvalidTypeError, Lock, Queue, Semaphore, Set


async def test_a_counter_counts_up_down_and_starts_again(d: Distributed) -> None:
    """A counter returns its new value, and is 0 before its first change and after ``destroy``."""
    hits = d.counter("hits")

    assert await hits.get() == 0
    assert await hits.increment() == 1
    assert await hits.increment(5) == 6
    assert await hits.decrement() == 5
    assert await hits.decrement(7) == -2
    assert await hits.get() == -2
    assert await hits.destroy() is True
    assert await hits.destroy() is False
    assert await hits.get() == 0
    assert await hits.increment() == 1


async def test_a_counter_is_exact_beyond_every_machine_word(d: Distributed) -> None:
    """2**70 and the next number after it are told apart."""
    counter = d.counter("large")

    assert await counter.increment(2**70) == 2**70
    assert await counter.increment() == 2**70 + 1
    assert await counter.decrement(2**71) == 2**70 + 1 - 2**71


async def test_a_counter_keeps_its_value_at_its_bounds(d: Distributed) -> None:
    """A step beyond ±10**4000 is refused and changes nothing; the bound itself can be reached."""
    counter = d.counter("bounded")
    assert await counter.increment(10**4000) == 10**4000

    with pytest.raises(BoundsError, match="10\\*\\*4000"):
        await counter.increment()
    with pytest.raises(BoundsError):
        await counter.decrement(3 * 10**4000)

    assert await counter.get() == 10**4000
    assert await counter.decrement(2 * 10**4000) == -(10**4000)


async def test_a_map_gives_previous_values(d: Distributed) -> None:
    """``put`` returns what was there, ``delete`` and ``contains`` whether something was."""
    users = d.map[str, dict]("users")

    assert await users.get("alice") is None
    assert await users.contains("alice") is False
    assert await users.put("alice", {"age": 30}) is None
    assert await users.put("alice", {"age": 31}) == {"age": 30}
    assert await users.get("alice") == {"age": 31}
    assert await users.get("alice", local=True) == {"age": 31}
    assert await users.contains("alice") is True
    assert await users.get("bob") is None
    assert await users.delete("alice") is True
    assert await users.delete("alice") is False
    assert await users.get("alice") is None
    assert await users.put("alice", {}) is None


async def test_none_in_a_map_is_a_value(d: Distributed) -> None:
    """A key whose value is ``None`` is there, and can be deleted."""
    notes = d.map[str, str | None]("notes")

    assert await notes.put("empty", None) is None
    assert await notes.contains("empty") is True
    assert await notes.get("empty") is None
    assert await notes.put("empty", "full") is None
    assert await notes.put("empty", None) == "full"
    assert await notes.delete("empty") is True
    assert await notes.contains("empty") is False


async def test_keys_of_different_types_are_different_keys(d: Distributed) -> None:
    """1, "1" and a UUID, written alike, name three entries."""
    uuid = UUID(int=1)
    texts, numbers, ids = d.map[str, str]("m"), d.map[int, str]("m"), d.map[UUID, str]("m")

    await texts.put("1", "text")
    await numbers.put(1, "number")
    await ids.put(uuid, "id")
    await texts.put(str(uuid), "text of an id")

    assert await texts.get("1") == "text"
    assert await numbers.get(1) == "number"
    assert await ids.get(uuid) == "id"
    assert await numbers.get(-1) is None


async def test_a_set_says_whether_it_changed(d: Distributed) -> None:
    """``add`` and ``remove`` are ``True`` only when they changed something."""
    tags = d.set[str]("tags")

    assert await tags.size() == 0
    assert await tags.remove("python") is False
    assert await tags.add("python") is True
    assert await tags.add("python") is False
    assert await tags.add("rust") is True
    assert await tags.contains("python") is True
    assert await tags.contains("go") is False
    assert await tags.size() == 2
    assert await tags.remove("python") is True
    assert await tags.contains("python") is False
    assert await tags.destroy() is True
    assert await tags.destroy() is False
    assert await tags.size() == 0
    assert await tags.add("rust") is True


async def test_a_queue_is_first_in_first_out(d: Distributed) -> None:
    """Items leave in the order they came; ``peek`` leaves them there."""
    jobs = d.queue[str]("jobs")

    assert await jobs.dequeue() is None
    assert await jobs.peek() is None
    assert await jobs.enqueue("first") is None
    await jobs.enqueue("second")
    assert await jobs.size() == 2
    assert await jobs.peek() == "first"
    assert await jobs.dequeue() == "first"
    await jobs.enqueue("third")
    assert [await jobs.dequeue() for _ in range(3)] == ["second", "third", None]
    await jobs.enqueue("gone")
    assert await jobs.destroy() is True
    assert await jobs.destroy() is False
    assert await jobs.size() == 0
    assert await jobs.dequeue() is None


async def test_a_lock_has_one_holder(d: Distributed) -> None:
    """A second handle cannot take or release what the first one holds."""
    mine, other = d.lock("resource"), d.lock("resource")

    assert await mine.release() is False
    assert await mine.acquire() is None
    assert await mine.locked() is True
    assert await other.try_acquire() is False
    assert await other.release() is False
    assert await mine.release() is True
    assert await mine.release() is False
    assert await other.try_acquire() is True
    assert await other.release() is True
    assert await mine.locked() is False
    assert await mine.destroy() is True
    assert await mine.destroy() is False


async def test_a_semaphore_gives_out_its_permits(d: Distributed) -> None:
    """There are as many permits as were declared; one handle may hold several and returns one at a time."""
    mine, other = d.semaphore("pool", permits=2), d.semaphore("pool", 2)

    assert await mine.available() == 2
    assert await mine.acquire() is None
    assert await mine.try_acquire() is True
    assert await other.try_acquire() is False
    assert await mine.available() == 0
    assert await other.release() is False
    assert await mine.release() is True
    assert await other.try_acquire() is True
    assert await mine.release() is True
    assert await mine.release() is False
    assert await other.release() is True
    assert await mine.available() == 2
    assert await mine.destroy() is True
    assert await mine.destroy() is False


async def test_a_barrier_for_one_lets_it_pass(d: Distributed) -> None:
    """Whoever is alone and expected alone does not wait, round after round."""
    barrier = d.barrier("alone")

    assert await barrier.destroy() is False
    assert await barrier.arrive(expected=1) is None
    assert await barrier.arrive(1) is None
    assert await barrier.destroy() is True
    assert await barrier.destroy() is False


async def test_structures_of_one_name_and_different_kinds_are_apart(d: Distributed) -> None:
    """A counter, a queue and a set called alike have nothing to do with each other."""
    await d.counter("x").increment(3)
    await d.queue[int]("x").enqueue(7)
    await d.set[int]("x").add(9)

    assert await d.counter("x").get() == 3
    assert await d.queue[int]("x").peek() == 7
    assert await d.counter("x").destroy() is True
    assert await d.queue[int]("x").size() == 1
    assert await d.set[int]("x").contains(9) is True


async def test_where_the_name_ends_and_the_key_begins_is_never_mistaken(d: Distributed) -> None:
    """Map ``a`` key ``b:c`` and map ``a:b`` key ``c`` are two entries."""
    await d.map[str, int]("a").put("b:c", 1)
    await d.map[str, int]("a:b").put("c", 2)

    assert await d.map[str, int]("a").get("b:c") == 1
    assert await d.map[str, int]("a:b").get("c") == 2
    assert await d.map[str, int]("a").delete("b:c") is True
    assert await d.map[str, int]("a:b").get("c") == 2


@pytest.mark.parametrize("amount", [1.0, True, "1", None])
async def test_an_amount_is_a_whole_number(d: Distributed, amount: object) -> None:
    """A float, a bool or a text is not an amount, and the counter stays as it is."""
    counter = d.counter("strict")

    with pytest.raises(InvalidTypeError, match="amount must be an int"):
        await counter.increment(amount)  # type: ignore[arg-type]

    assert await counter.get() == 0


@pytest.mark.parametrize(
    ("method", "parameters"),
    [
        (Distributed.__init__, "self, gateway, *, journal=None"),
        (Distributed.counter, "self, name, *, shards=100, timeout=5.0"),
        (Distributed.lock, "self, name, *, shards=100, timeout=5.0"),
        (Distributed.semaphore, "self, name, permits, *, shards=100, timeout=5.0"),
        (Distributed.barrier, "self, name, *, node_id=None, shards=10, timeout=60.0"),
        (Counter.__init__, "self, *, gateway, region_ref, name, timeout=5.0"),
        (Counter.increment, "self, amount=1"),
        (Counter.decrement, "self, amount=1"),
        (Dict.__init__, "self, *, gateway, region_ref, name, timeout=5.0"),
        (Dict.put, "self, key, value"),
        (Dict.get, "self, key, *, local=False"),
        (Dict.delete, "self, key"),
        (Dict.contains, "self, key"),
        (Set.__init__, "self, *, gateway, region_ref, name, timeout=5.0"),
        (Set.add, "self, value"),
        (Set.remove, "self, value"),
        (Set.contains, "self, value"),
        (Queue.__init__, "self, *, gateway, region_ref, name, timeout=5.0"),
        (Queue.enqueue, "self, value"),
        (Queue.dequeue, "self"),
        (Queue.peek, "self"),
        (Queue.size, "self"),
        (Lock.__init__, "self, *, gateway, region_ref, name, timeout=5.0"),
        (Lock.acquire, "self"),
        (Lock.try_acquire, "self"),
        (Lock.release, "self"),
        (Semaphore.__init__, "self, *, gateway, region_ref, name, timeout=5.0"),
        (Semaphore.acquire, "self"),
        (Barrier.__init__, "self, *, gateway, region_ref, name, node_id, timeout=60.0"),
        (Barrier.arrive, "self, expected"),
    ],
)
def test_signatures_keep_what_was_published(method: object, parameters: str) -> None:
    """Names, order, kinds and defaults of the published parameters stay; additions are keyword-only with defaults."""
    published = eval(f"lambda {parameters}: None")  # noqa: S307 - the signatures above
    wanted = inspect.signature(published).parameters
    found = inspect.signature(method).parameters  # type: ignore[arg-type]

    kept = {name: found[name].replace(annotation=inspect.Parameter.empty) for name in found if name in wanted}
    added = [parameter for name, parameter in found.items() if name not in wanted]

    assert list(kept.items()) == list(wanted.items())
    assert all(one.kind is one.KEYWORD_ONLY and one.default is not one.empty for one in added)
