"""Bad arguments and values: a clear error, nothing appended, and everything else keeps working."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias
from uuid import UUID

import pytest
import pytest_asyncio

from casty_es import (
    BoundsError,
    CastyError,
    ClusterClient,
    ClusteredActorSystem,
    ConfigurationError,
    Distributed,
    InvalidArgumentError,
    InvalidTypeError,
    InvalidValueError,
    Settings,
    SqlJournal,
    arguments,
    connect,
)
from casty_es.errors import Sent

Rows: TypeAlias = Callable[..., Awaitable[list[tuple[Any, ...]]]]

ROWS = (
    "SELECT count(*), (SELECT count(*) FROM casty_entities), (SELECT count(*) FROM casty_structures) FROM casty_events"
)


@pytest_asyncio.fixture
async def untouched(journal_url: str, rows: Rows) -> AsyncIterator[Distributed]:
    """A journal that must have the same rows after the test as before, and must work then."""
    async with connect(journal_url, settings=Settings(max_value_bytes=1000)) as d:
        await d.counter("before").increment()
        before = await rows(journal_url, ROWS)
        yield d
        assert await rows(journal_url, ROWS) == before
        assert await d.counter("before").increment() == 2


MAKERS = {
    "counter": lambda d, name: d.counter(name),
    "map": lambda d, name: d.map[str, int](name),
    "set": lambda d, name: d.set[str](name),
    "queue": lambda d, name: d.queue[str](name),
    "lock": lambda d, name: d.lock(name),
    "semaphore": lambda d, name: d.semaphore(name, permits=1),
    "barrier": lambda d, name: d.barrier(name),
    "barrier's node_id": lambda d, name: d.barrier("b", node_id=name),
}


@pytest.mark.parametrize("kind", MAKERS)
async def test_names_that_cannot_be_stored_are_refused(volatile: Distributed, kind: str) -> None:
    """A name is a text of 1 to 512 bytes without NUL and without lone surrogates."""
    make = MAKERS[kind]
    for name, says in (
        ("", "1 to 512 bytes"),
        ("x" * 513, "1 to 512 bytes"),
        ("é" * 257, "1 to 512 bytes"),
        ("a\0b", "NUL"),
        ("\ud800", "surrogate"),
    ):
        with pytest.raises(InvalidArgumentError, match=says):
            make(volatile, name)
    for not_a_name in (None, 7, b"x"):
        if (kind, not_a_name) != ("barrier's node_id", None):
            with pytest.raises(InvalidTypeError, match="must be a str"):
                make(volatile, not_a_name)


async def test_the_longest_names_and_keys_work(d: Distributed) -> None:
    """512 bytes are not too long, on any database."""
    long = "é" * 256

    assert await d.counter(long).increment() == 1
    await d.map[str, int](long).put(long, 1)

    assert await d.map[str, int](long).get(long) == 1


@pytest.mark.parametrize("key", ["", "x" * 513, "a\0b", "\udfff", 1, True, None, 1.5, b"k"])
async def test_keys_that_cannot_be_stored_are_refused(untouched: Distributed, key: Any) -> None:
    """A key obeys the rules of names and the declared type, in every operation of a map."""
    users = untouched.map[str, int]("users")

    for attempt in (lambda: users.put(key, 1), lambda: users.get(key), lambda: users.delete(key)):
        with pytest.raises((InvalidArgumentError, InvalidTypeError)):
            await attempt()
    with pytest.raises((InvalidArgumentError, InvalidTypeError)):
        await users.contains(key)


async def test_a_number_as_key_has_an_end(untouched: Distributed) -> None:
    """An int key has at most 500 digits, and a bool is not one."""
    users = untouched.map[int, int]("users")

    for key in (10**500, -(10**500), True, "1"):
        with pytest.raises((InvalidArgumentError, InvalidTypeError)):
            await users.put(key, 1)  # type: ignore[arg-type]


@dataclass
class Point:
    """A value with two numbers."""

    x: float
    y: float


def circular() -> list[Any]:
    """A list that contains itself."""
    itself: list[Any] = []
    itself.append(itself)
    return itself


@pytest.mark.parametrize(
    ("declared", "value"),
    [
        pytest.param(Any, lambda: None, id="function"),
        pytest.param(Any, object(), id="object"),
        pytest.param(float, math.nan, id="nan"),
        pytest.param(float, math.inf, id="infinity"),
        pytest.param(Point, Point(0.0, -math.inf), id="infinity inside"),
        pytest.param(Any, "\ud800", id="surrogate"),
        pytest.param(Any, {1, 2}, id="set as any"),
        pytest.param(Any, (1, 2), id="tuple as any"),
        pytest.param(Any, circular(), id="circular"),
        pytest.param(Point, {"x": 1.0, "y": 2.0}, id="dict for a class"),
        pytest.param(int, "1", id="text for a number"),
        pytest.param(int, True, id="bool for a number"),
        pytest.param(str, None, id="None for a text"),
        pytest.param(str, "x" * 999, id="too long"),
    ],
)
async def test_values_that_would_not_come_back_are_refused(untouched: Distributed, declared: Any, value: Any) -> None:
    """Map, set and queue refuse what cannot be stored, and say so before anything is sent."""
    users, tags, jobs = (
        untouched.map[str, declared]("m"),
        untouched.set[declared]("s"),
        untouched.queue[declared]("q"),
    )

    for attempt in (users.put, lambda _, value: tags.add(value), lambda _, value: jobs.enqueue(value)):
        with pytest.raises(InvalidValueError, match="Nothing was stored"):
            await attempt("k", value)


async def test_an_open_file_is_not_a_value(untouched: Distributed, tmp_path: Path) -> None:
    """An open file, as it is or inside of a list, is refused."""
    with (tmp_path / "file").open("w") as file:
        for value in (file, [file]):
            with pytest.raises(InvalidValueError):
                await untouched.queue[Any]("q").enqueue(value)


async def test_the_limit_of_a_value_is_a_setting(open_d: Callable[..., Any]) -> None:
    """By default a value has at most 1 MiB of JSON; the setting ``max_value_bytes`` moves the limit."""
    text = "x" * (1_048_576 - 2)  # two quotation marks
    async with open_d() as d:
        await d.map[str, str]("m").put("k", text)
        with pytest.raises(InvalidValueError, match="max_value_bytes"):
            await d.map[str, str]("m").put("k", text + "x")
        assert await d.map[str, str]("m").get("k") == text

    async with open_d(max_value_bytes=2_000_000) as d:
        await d.map[str, str]("m").put("k", text + "x")
        assert await d.map[str, str]("m").get("k") == text + "x"


async def test_declared_types_that_cannot_be_decoded_are_refused(volatile: Distributed) -> None:
    """A type that no JSON can become is refused when the handle is made."""
    for declared in (Callable[[], int], type(lambda: None), complex):
        with pytest.raises(InvalidTypeError, match="cannot be stored"):
            volatile.queue[declared]("q")
        with pytest.raises(InvalidTypeError):
            volatile.set[declared]("s")
        with pytest.raises(InvalidTypeError):
            volatile.map[str, declared]("m")
    for key_type in (float, bytes, dict, Any, bool):
        with pytest.raises(InvalidTypeError, match="str, int or UUID"):
            volatile.map[key_type, int]("m")


async def test_structures_that_need_types_say_so(volatile: Distributed) -> None:
    """Leaving out the types gives the line to write instead."""
    with pytest.raises(InvalidTypeError, match=r"d\.map\[str, dict\]"):
        volatile.map("users")  # type: ignore[operator]
    with pytest.raises(InvalidTypeError, match=r"d\.map\[str, dict\]"):
        volatile.map[str]("users")  # type: ignore[index]
    with pytest.raises(InvalidTypeError, match=r"d\.set\[str\]"):
        volatile.set("tags")  # type: ignore[operator]
    with pytest.raises(InvalidTypeError, match=r"d\.queue\[str\]"):
        volatile.queue("jobs")  # type: ignore[operator]


@pytest.mark.parametrize("number", [0, -1])
async def test_numbers_below_one_are_refused(untouched: Distributed, number: int) -> None:
    """Shards, permits and expected are 1 or more."""
    for attempt in (
        lambda: untouched.counter("x", shards=number),
        lambda: untouched.map[str, int]("x", shards=number),
        lambda: untouched.barrier("x", shards=number),
        lambda: untouched.semaphore("x", permits=number),
    ):
        with pytest.raises(InvalidArgumentError, match="1 or more"):
            attempt()
    with pytest.raises(InvalidArgumentError, match="expected must be 1 or more"):
        await untouched.barrier("x").arrive(expected=number)


async def test_numbers_of_the_wrong_type_are_refused(untouched: Distributed) -> None:
    """Neither a text nor a float nor a bool says how many."""
    for number in ("3", 3.0, True, None):
        with pytest.raises(InvalidTypeError, match="shards must be an int"):
            untouched.lock("x", shards=number)  # type: ignore[arg-type]
        with pytest.raises(InvalidTypeError, match="permits must be an int"):
            untouched.semaphore("x", permits=number)  # type: ignore[arg-type]
        with pytest.raises(InvalidTypeError, match="expected must be an int"):
            await untouched.barrier("x").arrive(number)  # type: ignore[arg-type]


@pytest.mark.parametrize("shards", [2**31, 2**63, 10**100], ids=["2**31", "2**63", "10**100"])
async def test_a_number_of_shards_that_cannot_be_recorded_is_refused(untouched: Distributed, shards: int) -> None:
    """More shards than the journal has room for is a clear error of ours, on both databases."""
    with pytest.raises(InvalidArgumentError):
        await untouched.counter("x", shards=shards).increment()


async def test_a_bad_number_of_shards_harms_nobody_else(d: Distributed) -> None:
    """A call that is made together with a refused one is done."""

    async def bad() -> int:
        return await d.counter("x", shards=2**31).increment()

    refused, done = await asyncio.gather(bad(), d.counter("y").increment(), return_exceptions=True)

    assert done == 1
    assert isinstance(refused, InvalidArgumentError)


@pytest.mark.parametrize("permits", [2**63, 10**100], ids=["2**63", "10**100"])
async def test_a_number_of_permits_beyond_any_use_is_refused(volatile: Distributed, permits: int) -> None:
    """A number of permits that no column holds is refused as a bad argument when the handle is made."""
    with pytest.raises(InvalidArgumentError, match="permits must be at most"):
        volatile.semaphore("x", permits=permits)


@pytest.mark.parametrize("seconds", [0, 0.0, -1, -0.5, math.nan, math.inf, -math.inf])
async def test_timeouts_that_make_no_sense_are_refused(volatile: Distributed, seconds: float) -> None:
    """A timeout is above zero and finite, for every structure."""
    for make in (
        volatile.counter,
        volatile.map[str, int],
        volatile.set[int],
        volatile.queue[int],
        volatile.lock,
        volatile.barrier,
    ):
        with pytest.raises(InvalidArgumentError, match="timeout must be above zero"):
            make("x", timeout=seconds)
    with pytest.raises(InvalidArgumentError):
        volatile.semaphore("x", permits=1, timeout=seconds)


async def test_a_timeout_is_a_number(volatile: Distributed) -> None:
    """A text, a bool or ``None`` is not a timeout."""
    for timeout in ("5", True, None):
        with pytest.raises(InvalidTypeError, match="number of seconds"):
            volatile.counter("x", timeout=timeout)  # type: ignore[arg-type]


async def test_a_refused_step_of_a_counter_appends_nothing(untouched: Distributed) -> None:
    """An amount beyond the bounds, or not a whole number, leaves no trace."""
    counter = untouched.counter("before")
    for amount, error in ((10**4000 + 2, BoundsError), (0.5, InvalidTypeError), (False, InvalidTypeError)):
        with pytest.raises(error):
            await counter.increment(amount)  # type: ignore[arg-type]
        with pytest.raises(error):
            await counter.decrement(amount)  # type: ignore[arg-type]
    assert await counter.get() == 1


@pytest.mark.parametrize("value", [0, -1, math.nan, math.inf, True, "30"])
def test_settings_are_positive_numbers(value: Any) -> None:
    """A setting that cannot work is refused by its name."""
    for name in set(Settings.__struct_fields__) - {"lock_class", "allow_network_filesystem"}:
        with pytest.raises(ConfigurationError, match=name):
            Settings(**{name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [("lock_class", 2**31), ("lock_class", True), ("lock_class", "7"), ("allow_network_filesystem", 1)],
)
def test_settings_of_other_types_are_checked_too(name: str, value: Any) -> None:
    """A lock class that Postgres cannot hold, or a yes that is none, is refused by its name."""
    with pytest.raises(ConfigurationError, match=name):
        Settings(**{name: value})


@pytest.mark.parametrize("value", [1.5, 2.0, 10**9 + 1, 10**5_000], ids=["1.5", "2.0", "too large", "endless"])
def test_settings_that_count_are_whole_numbers(value: Any) -> None:
    """Half an event, or more than any column holds, is refused by the name of the setting."""
    for name in ("max_value_bytes", "max_entities", "max_pending", "max_batch_events", "max_batch_bytes"):
        with pytest.raises(ConfigurationError, match=rf"{name} is .*whole number"):
            Settings(**{name: value})


def test_leases_outlive_the_end_of_a_session(
    sqlite_url: str, postgres_journal_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On Postgres, leases that nobody could renew in time when an owner falls silent are refused with what to set."""
    monkeypatch.setattr(arguments, "SESSIONS_PER_LEASE", 1.5)
    for settings in (Settings(lease_seconds=8.9), Settings(session_seconds=21.0)):
        for make in (
            lambda one=settings: connect(postgres_journal_url, settings=one),
            lambda one=settings: ClusteredActorSystem(journal=SqlJournal(postgres_journal_url), settings=one),
        ):
            with pytest.raises(ConfigurationError, match=r"lease_seconds is .*session_seconds.*at least 1\.5 times"):
                make()
        connect(sqlite_url, settings=settings)  # there are no seconds in its sessions
        ClusteredActorSystem(settings=settings)
    connect(postgres_journal_url, settings=Settings(lease_seconds=9.0))


async def test_a_place_that_is_taken_is_told(sqlite_journal_url: str) -> None:
    """Listening where somebody else listens, or where nobody can, is a configuration error, and the journal is free."""
    async with ClusteredActorSystem(journal=SqlJournal(sqlite_journal_url)) as system:
        for host, port in (("127.0.0.1", system.self_node.port), ("no.such.host.invalid", 0), ("x" * 70, 0)):
            other = ClusteredActorSystem(journal=SqlJournal(sqlite_journal_url), host=host, port=port)
            with pytest.raises(ConfigurationError, match=f"Nobody can listen at {host}:{port}.*Nothing was started"):
                await other.__aenter__()


@pytest.mark.parametrize(
    "sent",
    [
        Sent("x", 0, 0, 0),
        Sent("counter", -1, 0, 0),
        Sent("counter", 256, 0, 0),
        Sent("counter", 0, 2**63, 0),
        Sent("counter", 0, 0, 2**64),
        Sent("counter", 0, 0, None),  # type: ignore[arg-type]
        Sent(None, 0, 0, 0),  # type: ignore[arg-type]
        ("counter", 0, 0, 0),
    ],
)
async def test_a_question_after_no_command_is_refused(sqlite_journal_url: str, sent: Any) -> None:
    """What no error said where a command went is refused, by a node and through a client."""
    async with ClusteredActorSystem(journal=SqlJournal(sqlite_journal_url)) as system:
        secret = await system.journal.secret()
        async with ClusterClient(contact_points=[tuple(system.self_node)], secret=secret) as client:
            for one in (system, client):
                with pytest.raises((InvalidArgumentError, InvalidTypeError)):
                    await one.outcome(UUID(int=1), sent=sent)


async def test_a_journal_that_is_none_is_refused() -> None:
    """A URL where a journal belongs is answered with what to write."""
    with pytest.raises(InvalidTypeError, match="SqlJournal"):
        ClusteredActorSystem(journal="sqlite:///casty.db")  # type: ignore[arg-type]


async def test_errors_are_all_of_one_family(volatile: Distributed) -> None:
    """``except CastyError`` catches bad input, and so do the built-in types."""
    with pytest.raises(CastyError):
        volatile.counter("")
    with pytest.raises(ValueError, match="name"):
        volatile.counter("")
    with pytest.raises(TypeError):
        volatile.counter(None)  # type: ignore[arg-type]
