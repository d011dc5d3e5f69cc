"""Processes that share a journal; what happens when one closes, dies, or the database does not answer."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from typing import Any, TypeAlias

import asyncpg
import pytest

from casty_es import (
    ClusterClient,
    ClusteredActorSystem,
    ConfigurationError,
    Distributed,
    InvalidArgumentError,
    JournalError,
    NotDoneError,
    OutcomeUnknownError,
    Settings,
    SqlJournal,
    UsageError,
    connect,
)
from casty_es.journal.urls import is_sqlite, postgres_dsn, sqlite_file

Start: TypeAlias = Callable[..., Any]
Rows: TypeAlias = Callable[..., Awaitable[list[tuple[Any, ...]]]]
Until: TypeAlias = Callable[..., Awaitable[Any]]

WRITER = """
    async def main():
        async with connect(sys.argv[1]) as d:
            say(await d.counter("c").increment())
            while await hear() == "more":
                say(await d.counter("c").increment())
        say("closed")

    asyncio.run(main())
"""

COUNT = "SELECT count(*) FROM casty_events WHERE entity IS NOT NULL"


async def test_a_second_process_writes_too(journal_url: str, child: Start, rows: Rows) -> None:
    """Two processes count on one journal; neither misses what the other did."""
    writer = child(WRITER, journal_url)
    assert await writer.line() == "1"

    async with connect(journal_url) as d:
        for number in range(2, 20, 2):
            assert await d.counter("c").increment() == number
            await writer.tell("more")
            assert await writer.line() == str(number + 1)
        assert await d.lock("l").try_acquire()

    assert await rows(journal_url, f"{COUNT} AND type LIKE 'counter.%'") == [(19,)]


async def test_reading_works_while_another_process_writes(journal_url: str, child: Start) -> None:
    """What a process reads is what another one was told last, every time."""
    writer = child(WRITER, journal_url)
    assert await writer.line() == "1"

    async with connect(journal_url) as d:
        assert await d.counter("c").get() == 1
        for number in range(2, 12):
            await writer.tell("more")
            assert await writer.line() == str(number)
            assert await d.counter("c").get() == number
        assert await d.set[str]("s").size() == 0


async def test_the_next_process_writes_when_the_first_has_closed(journal_url: str, child: Start) -> None:
    """After a close the waiting process goes on, without being opened again."""
    writer = child(WRITER, journal_url)
    assert await writer.line() == "1"

    async with connect(journal_url) as d:
        assert await d.counter("c").get() == 1
        await writer.tell("enough")
        assert await writer.line() == "closed"
        assert await writer.ended() == 0
        assert await d.counter("c").increment() == 2


async def test_the_next_process_writes_when_the_first_was_killed(journal_url: str, child: Start) -> None:
    """After ``kill -9`` nothing acknowledged is lost, and the next process may write."""
    writer = child(WRITER, journal_url)
    assert await writer.line() == "1"

    async with connect(journal_url) as d:
        assert await d.counter("c").increment() == 2
        await writer.kill()
        assert await d.counter("c").increment() == 3


async def test_two_systems_of_one_process_are_two_nodes(journal_url: str) -> None:
    """A second system on the same journal in the same process shares it like another process."""
    async with connect(journal_url) as first, connect(journal_url) as second:
        for number in range(1, 9, 2):
            assert await first.counter("c").increment() == number
            assert await second.counter("c").increment() == number + 1
            assert await first.counter("c").get() == await second.counter("c").get() == number + 1


async def test_the_right_to_write_moves_back_and_forth(journal_url: str) -> None:
    """Two systems that stay open write in turn, whenever the other has closed; no count is lost."""
    systems = [ClusteredActorSystem(journal=SqlJournal(journal_url)) for _ in range(2)]
    for turn in range(6):
        async with systems[turn % 2] as system:
            assert await Distributed(system).counter("c").increment() == turn + 1


async def test_reading_alone_does_not_take_the_right_to_write(journal_url: str) -> None:
    """A system that only reads leaves the journal to others and writes nothing."""
    async with connect(journal_url) as reader:
        assert await reader.counter("c").get() == 0
        assert await reader.queue[str]("q").peek() is None
        assert await reader.map[str, int]("m").contains("k") is False
        async with connect(journal_url) as writer:
            assert await writer.counter("c").increment() == 1
        assert await reader.counter("c").get() == 1


@asynccontextmanager
async def locked(url: str, *, reads: bool = False) -> AsyncIterator[None]:
    """Let another connection hold the database, as a stuck program would."""
    if is_sqlite(url):
        with closing(sqlite3.connect(sqlite_file(url), isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            yield
            other.execute("ROLLBACK")
        return
    other = await asyncpg.connect(postgres_dsn(url))
    try:
        async with other.transaction():
            tables = "casty_events, casty_entities, casty_structures, casty_snapshots"
            mode = "ACCESS EXCLUSIVE" if reads else "EXCLUSIVE"
            await other.execute(f"LOCK TABLE {tables} IN {mode} MODE")
            yield
    finally:
        await other.close()


async def test_what_a_caller_is_told_of_a_locked_database_is_true(journal_url: str, until: Until, rows: Rows) -> None:
    """While the database is locked every answer is honest: done, certainly not done, or unknown, and never twice."""
    async with connect(journal_url) as d:
        counter = d.counter("c", timeout=0.3)
        assert await d.counter("c").increment() == 1
        async with locked(journal_url):
            told = await asyncio.gather(*(counter.increment() for _ in range(5)), return_exceptions=True)
            late = await asyncio.gather(*(counter.increment() for _ in range(5)), return_exceptions=True)
        assert all(isinstance(one, NotDoneError | OutcomeUnknownError | JournalError) for one in [*told, *late])

        patient = d.counter("c")
        value = await until(patient.increment)
        unknown = sum(isinstance(one, OutcomeUnknownError) for one in [*told, *late])
        assert 2 <= value <= 2 + unknown
        (count,) = (await rows(journal_url, COUNT))[0]
        assert value == count

    async with connect(journal_url) as d:
        assert await d.counter("c").get() == value


async def test_an_unknown_outcome_can_be_looked_up(journal_url: str, rows: Rows) -> None:
    """``OutcomeUnknownError`` carries the command id under which the operation stands, if it happened."""
    async with connect(journal_url) as d:
        counter = d.counter("c", timeout=0.2)
        await d.counter("c").increment()
        async with locked(journal_url):
            with pytest.raises(OutcomeUnknownError) as caught:
                await counter.increment()
        value = await d.counter("c").increment()

    assert caught.value.command_id is not None
    assert str(caught.value.command_id) in str(caught.value)
    ids = [bytes(row[0]) for row in await rows(journal_url, "SELECT command_id FROM casty_events WHERE entity > 0")]
    assert ids.count(caught.value.command_id.bytes) == value - 2


async def test_a_locked_database_does_not_stop_reading(sqlite_journal_url: str) -> None:
    """A writer that is stuck on SQLite does not stop anybody who reads."""
    async with connect(sqlite_journal_url) as d:
        await d.counter("c").increment()
        async with locked(sqlite_journal_url), connect(sqlite_journal_url) as other:
            assert await d.counter("c").get() == 1
            assert await other.counter("c").get() == 1


async def test_a_first_write_to_a_locked_database_is_certainly_not_done(journal_url: str, rows: Rows) -> None:
    """Where nothing was sent, the timeout says that nothing happened, and nothing did."""
    async with connect(journal_url) as d:
        async with locked(journal_url, reads=True):
            with pytest.raises(NotDoneError, match="did not happen, and will not"):
                await d.counter("c", timeout=0.2).increment()
            with pytest.raises(NotDoneError, match="did not happen, and will not"):
                await d.counter("c", timeout=0.2).increment()
        assert await d.counter("c", timeout=60.0).increment() == 1

    assert await rows(journal_url, COUNT) == [(1,)]


async def test_a_withdrawal_that_is_not_confirmed_is_not_called_done(
    postgres_journal_url: str, in_line: Callable[..., Awaitable[None]]
) -> None:
    """When nobody could say whether a waiter left the line, its caller is not told that it was not granted."""
    async with connect(postgres_journal_url, settings=Settings(max_entities=1)) as d:
        await d.lock("l").acquire()
        waiting = asyncio.create_task(d.lock("l", timeout=2.0).acquire())
        await in_line(postgres_journal_url, "lock", "l", 1)
        await d.counter("c").increment()  # only one entity stays in memory, and it is this one
        async with locked(postgres_journal_url, reads=True):
            with pytest.raises(OutcomeUnknownError):
                await waiting


async def test_what_is_under_way_at_the_close_is_finished(journal_url: str, rows: Rows) -> None:
    """Closing writes what was decided; every caller is told the truth about its operation."""
    async with connect(journal_url) as d:
        calls = [asyncio.ensure_future(d.counter("c").increment()) for _ in range(50)]
        await asyncio.sleep(0)
    told = await asyncio.gather(*calls, return_exceptions=True)

    done = [one for one in told if isinstance(one, int)]
    assert len(done) + sum(isinstance(one, UsageError | NotDoneError) for one in told) == 50
    assert await rows(journal_url, COUNT) == [(len(done),)]
    async with connect(journal_url) as d:
        assert await d.counter("c").get() == len(done)


async def test_waiting_for_the_nodes_that_are_there() -> None:
    """``wait_for(1)`` returns at once; more nodes than come, or none, is an error."""
    async with ClusteredActorSystem(name="shop", host="127.0.0.1", port=7400) as system:
        await system.wait_for(1, timeout=1.0)
        assert (system.self_node.host, system.self_node.port) == ("127.0.0.1", 7400)
        with pytest.raises(NotDoneError, match="1 of 2 nodes"):
            await system.wait_for(2, timeout=0.05)
        with pytest.raises(ValueError, match="nodes must be 1 or more"):
            await system.wait_for(0)
    with pytest.raises(UsageError):
        await system.wait_for(1)


async def test_an_error_inside_the_block_closes_the_journal(journal_url: str) -> None:
    """A body that raises releases the right to write, and its error comes out unchanged."""

    async def body() -> None:
        async with connect(journal_url) as d:
            await d.counter("c").increment()
            raise KeyError

    with pytest.raises(KeyError):
        await body()

    async with connect(journal_url) as d:
        assert await d.counter("c").increment() == 2


async def test_a_start_that_is_refused_leaves_no_journal_open(postgres_journal_url: str) -> None:
    """A system whose settings are refused once its journal is open closes that again."""
    journal = SqlJournal(postgres_journal_url)
    with pytest.raises(ConfigurationError, match=r"session_seconds is 1;.*Nothing was started"):
        await ClusteredActorSystem(journal=journal, settings=Settings(session_seconds=1.0)).__aenter__()

    with pytest.raises(UsageError, match="The journal is not open"):
        await journal.incarnation()


@pytest.mark.parametrize("argument", ["name", "node_id"])
async def test_a_name_that_other_nodes_could_not_be_told_is_refused_at_once(argument: str) -> None:
    """The name of a system, and of a node, has to fit into what nodes tell each other."""
    async with ClusteredActorSystem(**{argument: "x" * 400}) as system:
        assert await system.distributed().counter("c").increment() == 1
    for text in ("x" * 401, "ü" * 201):
        with pytest.raises(InvalidArgumentError, match="1 to 400 bytes"):
            ClusteredActorSystem(**{argument: text})
    with pytest.raises(InvalidArgumentError, match="1 to 400 bytes"):
        ClusterClient(contact_points=[("localhost", 1)], secret=bytes(32), system_name="x" * 401)


async def test_a_part_that_fails_to_close_does_not_keep_the_others_open(
    sqlite_journal_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node of which one part cannot be closed says so, and has hung up and given its name and slots back."""

    async def fail() -> None:
        raise OSError("not today")

    system = await ClusteredActorSystem(journal=SqlJournal(sqlite_journal_url), node_id="a").__aenter__()
    assert await system.distributed().counter("c").increment() == 1
    monkeypatch.setattr(system._running().membership, "leave", fail)

    with pytest.raises(OSError, match="not today"):
        await system.__aexit__(None, None, None)

    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(*system.self_node)
    async with ClusteredActorSystem(journal=SqlJournal(sqlite_journal_url), node_id="a") as again:
        assert await again.distributed().counter("c").increment() == 2


async def test_a_start_that_failed_can_be_tried_again(sqlite_url: str, sqlite_template: Any) -> None:
    """A system whose journal could not be opened starts once it can be."""
    system = ClusteredActorSystem(journal=SqlJournal(sqlite_url))
    with pytest.raises(JournalError):
        async with system:
            pass
    sqlite_file(sqlite_url).write_bytes(sqlite_template.read_bytes())

    async with system:
        assert await Distributed(system).counter("c").increment() == 1
