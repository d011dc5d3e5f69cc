"""The examples of the interface that this library keeps (casty's ``Distributed``), as they are written there.

Most of them say what they show on a structure that somebody has used before them; ``given`` is that use.
"""

from __future__ import annotations

import asyncio
from typing import NamedTuple

import pytest

from .examples import names, run, run_doctest


class Example(NamedTuple):
    """An example, what happened before it, and by how many callers at once it is run."""

    title: str
    text: str
    given: str = ""
    callers: int = 1


LOCK = 'lock = d.lock("my-resource")\n'
SEMAPHORE = 'sem = d.semaphore("pool", permits=3)\n'
COUNTER = 'counter = d.counter("hits")\n'
USERS = 'users = d.map[str, dict]("users")\n'
ALICE = USERS + 'await users.put("alice", {"age": 30})\n'
TAGS = 'tags = d.set[str]("tags")\n'
PYTHON = TAGS + 'await tags.add("python")\n'
JOBS = 'jobs = d.queue[str]("jobs")\n'
TASK_1 = JOBS + 'await jobs.enqueue("task-1")\n'

EXAMPLES = [
    Example(
        "Distributed",
        """
        >>> d = Distributed(system)
        >>> counter = d.counter("hits", shards=50)
        >>> users = d.map[str, User]("users", shards=10)
        >>> tags = d.set[str]("tags")
        >>> jobs = d.queue[Task]("jobs")
        """,
        "from casty_es import Distributed",
    ),
    Example(
        "Distributed.map",
        """
        >>> users = d.map[str, dict]("users")
        >>> await users.put("alice", {"age": 30})
        """,
    ),
    Example(
        "Distributed.set",
        """
        >>> tags = d.set[str]("tags")
        >>> await tags.add("python")
        True
        """,
    ),
    Example(
        "Distributed.queue",
        """
        >>> jobs = d.queue[str]("jobs")
        >>> await jobs.enqueue("task-1")
        """,
    ),
    Example(
        "Distributed.counter",
        """
        >>> counter = d.counter("page-views")
        >>> await counter.increment()
        1
        """,
    ),
    Example(
        "Distributed.lock",
        """
        >>> lock = d.lock("my-resource")
        >>> await lock.acquire()
        """,
    ),
    Example(
        "Distributed.semaphore",
        """
        >>> sem = d.semaphore("pool", permits=5)
        >>> await sem.acquire()
        """,
    ),
    Example(
        "Distributed.barrier",
        """
        >>> barrier = d.barrier("init-sync")
        >>> await barrier.arrive(expected=3)
        """,
        callers=3,
    ),
    Example(
        "Barrier",
        """
        >>> barrier = d.barrier("init-sync")
        >>> await barrier.arrive(expected=3)
        """,
        callers=3,
    ),
    Example("Barrier.arrive", ">>> await barrier.arrive(expected=3)", 'barrier = d.barrier("init-sync")', callers=3),
    Example(
        "Counter",
        """
        >>> counter = d.counter("hits")
        >>> await counter.increment(5)
        5
        >>> await counter.get()
        5
        """,
    ),
    Example("Counter.increment", ">>> await counter.increment()\n1", COUNTER),
    Example("Counter.decrement", ">>> await counter.decrement()\n-1", COUNTER),
    Example("Counter.get", ">>> await counter.get()\n0", COUNTER),
    Example(
        "Dict",
        """
        >>> users = d.map[str, dict]("users")
        >>> await users.put("alice", {"age": 30})
        >>> await users.get("alice")
        {'age': 30}
        """,
    ),
    Example("Dict.put", '>>> await users.put("alice", {"age": 30})', USERS),
    Example("Dict.get", ">>> await users.get(\"alice\")\n{'age': 30}", ALICE),
    Example("Dict.delete", '>>> await users.delete("alice")\nTrue', ALICE),
    Example("Dict.contains", '>>> await users.contains("alice")\nTrue', ALICE),
    Example(
        "Lock",
        """
        >>> lock = d.lock("my-resource")
        >>> await lock.acquire()
        >>> await lock.release()
        True
        """,
    ),
    Example("Lock.acquire", ">>> await lock.acquire()", LOCK),
    Example("Lock.try_acquire", ">>> await lock.try_acquire()\nTrue", LOCK),
    Example("Lock.release", ">>> await lock.release()\nTrue", LOCK + "await lock.acquire()"),
    Example(
        "Queue",
        """
        >>> jobs = d.queue[str]("jobs")
        >>> await jobs.enqueue("task-1")
        >>> await jobs.dequeue()
        'task-1'
        """,
    ),
    Example("Queue.enqueue", '>>> await jobs.enqueue("task-1")', JOBS),
    Example("Queue.dequeue", ">>> await jobs.dequeue()\n'task-1'", TASK_1),
    Example("Queue.peek", ">>> await jobs.peek()\n'task-1'", TASK_1),
    Example("Queue.size", ">>> await jobs.size()\n0", JOBS),
    Example(
        "Semaphore",
        """
        >>> sem = d.semaphore("pool", permits=3)
        >>> await sem.acquire()
        >>> await sem.release()
        True
        """,
    ),
    Example("Semaphore.acquire", ">>> await sem.acquire()", SEMAPHORE),
    Example("Semaphore.try_acquire", ">>> await sem.try_acquire()\nTrue", SEMAPHORE),
    Example("Semaphore.release", ">>> await sem.release()\nTrue", SEMAPHORE + "await sem.acquire()"),
    Example(
        "Set",
        """
        >>> tags = d.set[str]("tags")
        >>> await tags.add("python")
        True
        >>> await tags.contains("python")
        True
        """,
    ),
    Example("Set.add", '>>> await tags.add("python")\nTrue', TAGS),
    Example("Set.remove", '>>> await tags.remove("python")\nTrue', PYTHON),
    Example("Set.contains", '>>> await tags.contains("python")\nTrue', PYTHON),
    Example("Set.size", ">>> await tags.size()\n1", PYTHON),
]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.title)
async def test_example(example: Example, journal_url: str) -> None:
    """An example of the interface shows what it always showed, on each database."""
    async with names(journal_url) as shared:
        # Given what happened before
        callers = [dict(shared) for _ in range(example.callers)]
        for namespace in callers:
            await run(example.given, namespace, f"<before {example.title}>")
        # When it runs, then it shows what stands below each line
        await asyncio.gather(*(run_doctest(example.text, namespace, example.title) for namespace in callers))
