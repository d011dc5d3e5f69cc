"""The edge to Postgres: sessions that end at any moment, warnings, outages; callers hear the library's own errors."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from casty_es import ClusteredActorSystem, Distributed
from casty_es.config import Settings
from casty_es.errors import CastyError, JournalUnavailableError, OutcomeUnknownError, UnsafeDurabilityError
from casty_es.journal.sql import SqlJournal
from casty_es.journal.urls import postgres_dsn

from .quiet import no_complaints
from .servers import Server, own_database, own_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

_LOG = logging.getLogger(__name__)

_SETTINGS = Settings(membership_seconds=0.2, heartbeat_seconds=0.2, session_seconds=2.0)
_STORM_SECONDS = 6.0
_OUTAGE_SECONDS = 10.0
_DOUBT_SECONDS = 7.0
_FREEZE_SECONDS = 11.0  # an answer may take 10
_END_ALL = """
    SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
    WHERE application_name = 'casty_es' AND datname = current_database()"""
_BACKENDS = "SELECT pid FROM pg_stat_activity WHERE application_name = 'casty_es' AND datname = current_database()"
_LEASES = "SELECT count(*) FROM casty_events WHERE type = 'lease.acquired'"


class Callers:
    """Callers that ask again and again, and note what they were told."""

    def __init__(self, counters: int = 40) -> None:
        self.errors: list[BaseException] = []
        self.answers = 0
        self.slowest = 0.0
        self._counters = counters
        self._tasks: list[asyncio.Task[None]] = []

    def begin(self, system: ClusteredActorSystem, number: int, timeout: float = 2.0) -> None:
        """Let one more ask through this node."""
        self._tasks.append(asyncio.create_task(self._ask(Distributed(system), number, timeout)))

    async def _ask(self, d: Distributed, number: int, timeout: float) -> None:  # noqa: ASYNC109
        turn = 0
        while True:
            turn += 1
            counter = d.counter(f"c{(number + turn) % self._counters}", timeout=timeout)
            began = time.monotonic()
            try:
                await (counter.get() if turn % 3 == 0 else counter.increment())
            except Exception as error:  # noqa: BLE001 - whatever it is, it is what a caller was told
                self.errors.append(error)
                await asyncio.sleep(0)
            else:
                self.answers += 1
            finally:
                self.slowest = max(self.slowest, time.monotonic() - began)

    async def more(self, number: int = 30) -> None:
        """Wait until so many more were answered."""
        wanted = self.answers + number
        async with asyncio.timeout(60):
            while self.answers < wanted:  # noqa: ASYNC110 - nothing tells
                await asyncio.sleep(0.01)

    async def end(self) -> None:
        """Stop asking."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def strangers(self) -> list[str]:
        """Errors that are not the library's."""
        return [repr(error) for error in self.errors if not isinstance(error, CastyError)]


@asynccontextmanager
async def three(url: str) -> AsyncIterator[tuple[list[ClusteredActorSystem], Callers]]:
    """Three nodes that know each other, each with callers."""
    async with AsyncExitStack() as stack:
        systems = [
            # Each has an URL of its own, as three processes would have nothing in common.
            await stack.enter_async_context(
                ClusteredActorSystem(
                    journal=SqlJournal(f"{url}{'&' if '?' in url else '?'}options=-cwork_mem%3D{n}MB"),
                    settings=_SETTINGS,
                )
            )
            for n in (4, 5, 6)
        ]
        for system in systems:
            await system.wait_for(3)
        callers = Callers()
        for number in range(9):
            callers.begin(systems[number % 3], number)
        try:
            await callers.more()
            yield systems, callers
        finally:
            await callers.end()


@pytest.fixture(scope="module")
def private_server() -> Iterator[Server]:
    """A server that no other test uses."""
    with own_server() as server:
        yield server


@pytest.fixture
def private_url(private_server: Server, sql: Callable[..., Any]) -> str:
    """A migrated database on that server."""
    return own_database(private_server, sql)


async def sees_all(systems: list[ClusteredActorSystem]) -> None:
    """Wait until each node has looked at the cluster again and sees all of them."""
    everybody = {system.node_id for system in systems}
    async with asyncio.timeout(30):
        for system in systems:
            membership = system._running().membership
            seen = membership.topology
            async with membership.renewed:  # the poll's own looks count, not one that is asked for
                await membership.renewed.wait_for(
                    lambda m=membership, s=seen: m.topology is not s and set(m.topology.nodes) == everybody
                )


async def test_sessions_that_end_at_any_moment(postgres_journal_url: str) -> None:
    """The server ends all sessions for seconds: callers hear the library's errors only, and nobody is forgotten."""
    async with no_complaints(), three(postgres_journal_url) as (systems, callers):
        operator = await asyncpg.connect(postgres_dsn(postgres_journal_url))
        end = time.monotonic() + _STORM_SECONDS
        ended = 0
        while time.monotonic() < end:
            ended += await operator.fetchval(_END_ALL)
            await asyncio.sleep(0.005)  # the storm's own pace
        await operator.close()
        assert ended > 50
        await callers.more()
        await sees_all(systems)
    assert callers.strangers == []


async def test_an_outage_is_not_stormed(
    private_server: Server, private_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the server is away three nodes try it tens of times and not hundreds, and go on soon after it is back."""
    tries = 0
    connect = asyncpg.connect

    async def counted(*arguments: Any, **options: Any) -> Any:
        nonlocal tries
        tries += 1
        return await connect(*arguments, **options)

    async with no_complaints(), three(private_url) as (systems, callers):
        await asyncio.to_thread(private_server.control, "stop", "-m", "immediate")
        monkeypatch.setattr(asyncpg, "connect", counted)
        await asyncio.sleep(_OUTAGE_SECONDS)  # the outage's length is what is tested
        during, said = tries, len(callers.errors)
        await asyncio.to_thread(private_server.start)
        back = time.monotonic()
        await callers.more(1)
        first = time.monotonic() - back
        await callers.more()
        await sees_all(systems)
    _LOG.info("%d tries, %d errors, first answer after %.2f s", during, said, first)
    assert callers.strangers == []
    assert during <= 60
    assert first <= 2.5


async def test_a_frozen_server_leaves_no_error_behind(postgres_journal_url: str) -> None:
    """Sessions whose backends stand still for longer than an answer may take are replaced, without a lost exception."""
    async with no_complaints(), three(postgres_journal_url) as (systems, callers):
        operator = await asyncpg.connect(postgres_dsn(postgres_journal_url))
        frozen = [row["pid"] for row in await operator.fetch(_BACKENDS)]
        for pid in frozen:
            os.kill(pid, signal.SIGSTOP)
        try:
            await asyncio.sleep(_FREEZE_SECONDS)  # the length of the freeze is what is tested
        finally:
            for pid in frozen:
                os.kill(pid, signal.SIGCONT)
        await operator.close()
        await callers.more()
        await sees_all(systems)
    assert callers.strangers == []


async def test_closing_under_load_leaves_no_error_behind(postgres_journal_url: str) -> None:
    """Nodes are closed one after the other while callers ask: they hear the library's errors, and nobody's is lost."""
    async with no_complaints():
        async with three(postgres_journal_url) as (systems, callers):
            for system in systems:
                await callers.more()
                await system.__aexit__(None, None, None)
        assert callers.strangers == []


async def execute(url: str, *statements: str) -> Any:
    """Run statements as the operator; return the value of the last."""
    connection = await asyncpg.connect(postgres_dsn(url))
    try:
        return [await connection.fetchval(statement) for statement in statements][-1]
    finally:
        await connection.close()


async def test_a_warning_is_no_doubt(postgres_journal_url: str, caplog: pytest.LogCaptureFixture) -> None:
    """An operator's trigger warns at every write: the operations are committed, and the log says it once."""
    await execute(
        postgres_journal_url,
        "CREATE FUNCTION warn() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE WARNING 'row % of many', txid_current(); RETURN NULL; END $$",
        "CREATE TRIGGER warn AFTER INSERT ON casty_events FOR EACH STATEMENT EXECUTE FUNCTION warn()",
    )
    async with ClusteredActorSystem(journal=SqlJournal(postgres_journal_url), settings=_SETTINGS) as system:
        counter = Distributed(system).counter("hits")
        assert [await counter.increment() for _ in range(20)] == [*range(1, 21)]
    assert await execute(postgres_journal_url, _LEASES) == 1
    warnings = [record.getMessage() for record in caplog.records if "of many" in record.getMessage()]
    assert len(warnings) == 1


_CANCEL_WAITS = "SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"


async def test_a_standing_doubt_piles_nothing_up(private_url: str) -> None:
    """Every wait for the standby is cancelled: callers are told in time what is known, and few records are written."""
    operator = await asyncpg.connect(postgres_dsn(private_url))
    async with no_complaints(), ClusteredActorSystem(journal=SqlJournal(private_url), settings=_SETTINGS) as system:
        callers = Callers(counters=1)
        for number in range(4):
            callers.begin(system, number, timeout=1.0)
        await callers.more()
        await operator.execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
        await operator.fetchval("SELECT pg_reload_conf()")
        before, said = await operator.fetchval(_LEASES), len(callers.errors)
        end = time.monotonic() + _DOUBT_SECONDS
        while time.monotonic() < end:
            await operator.fetchval(_CANCEL_WAITS)
            await asyncio.sleep(0.005)  # as fast as an operator's script could be
        after = await operator.fetchval(_LEASES)
        told = callers.errors[said:]
        await operator.execute("ALTER SYSTEM RESET synchronous_standby_names")
        await operator.fetchval("SELECT pg_reload_conf()")
        await operator.fetchval(_CANCEL_WAITS)
        await callers.more()
        await callers.end()
    await operator.close()
    assert callers.strangers == []
    assert any(isinstance(error, OutcomeUnknownError) for error in told)
    assert callers.slowest < 2.0
    assert 1 <= after - before <= 12


async def test_a_slot_that_cannot_be_written_is_left_alone(postgres_journal_url: str) -> None:
    """A trigger ends the session at one counter's writes: few records are written for it, and others go on."""
    await execute(
        postgres_journal_url,
        "CREATE FUNCTION hurt() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS "
        "$$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NEW; END $$",
        "CREATE TRIGGER hurt BEFORE INSERT ON casty_events FOR EACH ROW "
        "WHEN (NEW.payload LIKE '%666%') EXECUTE FUNCTION hurt()",
    )
    async with (
        no_complaints(),
        ClusteredActorSystem(journal=SqlJournal(postgres_journal_url), settings=_SETTINGS) as system,
    ):
        d = Distributed(system)
        poisoned, other = d.counter("poisoned", timeout=1.0), d.counter("other", timeout=5.0)
        await poisoned.increment()
        await other.increment()
        before = await execute(postgres_journal_url, _LEASES)
        errors: list[BaseException] = []

        async def poison() -> None:
            while True:
                try:
                    await poisoned.increment(666)
                except CastyError as error:
                    errors.append(error)

        callers = [asyncio.create_task(poison()) for _ in range(4)]
        end = time.monotonic() + _DOUBT_SECONDS
        done = 0
        while time.monotonic() < end:
            await asyncio.sleep(0.05)  # the other's own pace
            await other.increment()
            done += 1
        for caller in callers:
            caller.cancel()
        assert await asyncio.gather(*callers, return_exceptions=True)
        records = await execute(postgres_journal_url, _LEASES) - before
    _LOG.info("%d lease records, %d other increments, %d errors", records, done, len(errors))
    assert done > 50
    assert records <= 15


async def test_a_server_that_is_not_to_be_trusted_any_more(postgres_journal_url: str) -> None:
    """The database stops waiting for its disk: callers are told just that and not that the outcome is unknown."""
    database = postgres_journal_url.split("?", maxsplit=1)[0].rpartition("/")[2]
    async with (
        no_complaints(),
        ClusteredActorSystem(journal=SqlJournal(postgres_journal_url), settings=_SETTINGS) as system,
    ):
        counter = Distributed(system).counter("hits", timeout=5.0)
        await counter.increment()
        writer = system.journal._backend._writer  # type: ignore[attr-defined]
        end = f"SELECT pg_terminate_backend({writer._connection.get_server_pid()})"

        await execute(postgres_journal_url, f'ALTER DATABASE "{database}" SET synchronous_commit = off', end)
        while not writer.gone():  # noqa: ASYNC110 - nothing tells that a connection is closed
            await asyncio.sleep(0.01)
        with pytest.raises((UnsafeDurabilityError, JournalUnavailableError), match="Nothing was"):
            await counter.increment()

        await execute(postgres_journal_url, f'ALTER DATABASE "{database}" RESET synchronous_commit')
        assert await counter.increment() == 2
