"""What a node refuses to start on, each refusal produced by a real server."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import pytest_asyncio

from casty_es import ClusteredActorSystem, Distributed
from casty_es.errors import ConfigurationError, JournalUnavailableError
from casty_es.journal import schema, sessions
from casty_es.journal.migrating import upgrade
from casty_es.journal.sessions import Connection
from casty_es.journal.sql import SqlJournal
from casty_es.leases import checks
from casty_es.leases.checks import Check, Facts, refuse
from casty_es.leases.lease_connection import lease_settings
from casty_es.leases.postgres import PostgresLeaseManager
from casty_es.leases.preflight import preflight
from tests.leases.transaction_pooler import transaction_pooler

Sql = Callable[..., list[tuple[Any, ...]]]


def wrong(found: list[Check]) -> dict[str, Check]:
    """Return the checks that are not well, by name."""
    return {check.name: check for check in found if not check.ok}


@pytest.fixture
def socket_folder() -> Iterator[Path]:
    """A folder with a short path, as a socket needs it."""
    folder = Path(tempfile.mkdtemp(prefix="casty-pool-"))
    yield folder
    shutil.rmtree(folder)


@pytest_asyncio.fixture(params=["one backend", "two backends"])
async def pooler_url(
    request: pytest.FixtureRequest, postgres_journal_url: str, socket_folder: Path
) -> AsyncIterator[str]:
    """A pooler whose backends have the settings of lease sessions, so that only its being one is wrong."""
    settings = {**lease_settings(6.0), "transaction_timeout": "3000", "default_transaction_isolation": "read committed"}
    number = 1 if request.param == "one backend" else 2
    async with transaction_pooler(postgres_journal_url, socket_folder, backends=number, settings=settings) as url:
        yield url


async def test_all_is_well(postgres_journal_url: str) -> None:
    """Given a migrated database on a server as it comes, when it is looked at, then nothing is wrong."""
    found = await preflight(postgres_journal_url, slots=256)

    assert wrong(found) == {}
    assert len({check.name for check in found}) == len(found)
    refuse(found)


async def test_it_leaves_nothing_behind(postgres_journal_url: str, sql: Sql) -> None:
    """Given a look, when it is over, then its connections and its locks are gone."""
    await preflight(postgres_journal_url, slots=256)

    sessions = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    while await asyncio.to_thread(sql, postgres_journal_url, sessions):  # noqa: ASYNC110 - see below
        await asyncio.sleep(0.01)  # a backend ends a moment after its connection
    locks = "SELECT 1 FROM pg_locks l JOIN pg_database d ON d.oid = l.database AND d.datname = current_database()"
    locks += " WHERE l.locktype = 'advisory'"
    assert await asyncio.to_thread(sql, postgres_journal_url, locks) == []


async def test_pooler_in_transaction_mode(pooler_url: str) -> None:
    """Given a pooler in transaction mode, when it is looked at, then it is found out, and a node refuses to start."""
    assert "pooler" in wrong(await preflight(pooler_url, slots=256))

    with pytest.raises(ConfigurationError, match=r"connection pooler.*Nothing was started.*session_url"):
        await PostgresLeaseManager(pooler_url, slots=256).open("a")


async def test_pooler_that_drops_settings(postgres_journal_url: str, socket_folder: Path) -> None:
    """Given a pooler that drops what a session asks for, when it is looked at, then the settings are named."""
    async with transaction_pooler(postgres_journal_url, socket_folder) as url:
        found = wrong(await preflight(url, slots=256))

    assert "idle_session_timeout is 0 and not 6000" in found["session settings"].found
    assert "session_url" in found["session settings"].advice
    assert "pooler" in found


async def test_pooler_that_refuses_settings(postgres_journal_url: str, socket_folder: Path) -> None:
    """Given a pooler that refuses what a session asks for, when a node starts, then it is told to go around it."""
    async with transaction_pooler(postgres_journal_url, socket_folder, refuses=True) as url:
        assert [check.ok for check in await preflight(url, slots=256)] == [False]

        with pytest.raises(ConfigurationError, match=r"pooler.*idle_session_timeout.*Set session_url"):
            await PostgresLeaseManager(url, slots=256).open("a")


async def test_pooler_in_front_of_the_journal_alone(pooler_url: str, postgres_journal_url: str) -> None:
    """Given a pooler for the journal and a session_url around it, when a node starts, then it may."""
    assert wrong(await preflight(pooler_url, postgres_journal_url, slots=256)).keys() <= {"timeouts"}

    session = await PostgresLeaseManager(postgres_journal_url, journal_url=pooler_url, slots=256).open("a")
    assert await session.acquire([1]) == {1}
    await session.close()


async def test_two_databases(postgres_journal_url: str, postgres_url: str) -> None:
    """Given a session_url of another database, when a node starts, then it is refused."""
    with pytest.raises(ConfigurationError, match=r"lead to two places.*same server and database"):
        await PostgresLeaseManager(postgres_url, journal_url=postgres_journal_url, slots=256).open("a")


async def test_small_lock_table(postgres_journal_url: str) -> None:
    """Given more slots than fit a quarter of the lock table, when a node starts, then it is told what to set."""
    manager = PostgresLeaseManager(postgres_journal_url, slots=8_192)
    with pytest.raises(ConfigurationError, match=r"room for \d+\..*Set max_locks_per_transaction to \d+ or more"):
        await manager.open("a")


@pytest.mark.parametrize("setting", ["synchronous_commit"])
async def test_database_that_loses_commits(postgres_journal_url: str, sql: Sql, setting: str) -> None:
    """Given a database that acknowledges too early, when a node starts, then it is refused unless that is fine."""
    name = urlsplit(postgres_journal_url).path.removeprefix("/")
    await asyncio.to_thread(sql, postgres_journal_url, f'ALTER DATABASE "{name}" SET {setting} = off')

    with pytest.raises(ConfigurationError, match=f"{setting} is off.*Set {setting} to on"):
        await PostgresLeaseManager(postgres_journal_url, slots=256).open("a")

    session = await PostgresLeaseManager(postgres_journal_url, slots=256, unsafe_durability=True).open("a")
    await session.close()


async def test_short_timeouts_are_told(postgres_journal_url: str, sql: Sql) -> None:
    """Given a database that ends idle sessions soon, when it is looked at, then that is told, and a node may start."""
    name = urlsplit(postgres_journal_url).path.removeprefix("/")
    await asyncio.to_thread(sql, postgres_journal_url, f"ALTER DATABASE \"{name}\" SET idle_session_timeout = '3s'")

    found = await preflight(postgres_journal_url, slots=256)

    assert wrong(found).keys() == {"timeouts"}
    assert "idle_session_timeout is 3000 ms" in wrong(found)["timeouts"].found
    refuse(found)


async def test_encoding(postgres_url: str, sql: Sql) -> None:
    """Given a database that is not UTF-8, when a node starts, then it is told how to make one that is."""
    name = f"{urlsplit(postgres_url).path.removeprefix('/')}_ascii"
    await asyncio.to_thread(
        sql, postgres_url, f"CREATE DATABASE \"{name}\" TEMPLATE template0 ENCODING 'SQL_ASCII' LOCALE 'C'"
    )
    url = urlsplit(postgres_url)._replace(path=f"/{name}").geturl()
    try:
        with pytest.raises(ConfigurationError, match=r"encoding is SQL_ASCII.*ENCODING 'UTF8'"):
            await PostgresLeaseManager(url, slots=256).open("a")
    finally:
        await asyncio.to_thread(sql, postgres_url, f'DROP DATABASE "{name}" WITH (FORCE)')


async def test_role_that_may_not_write(postgres_journal_url: str, sql: Sql) -> None:
    """Given a role that may only read, when a node starts with it, then it is told what to grant."""
    grant = "GRANT SELECT ON ALL TABLES IN SCHEMA public TO casty_reader"
    await asyncio.to_thread(sql, postgres_journal_url, "CREATE ROLE casty_reader LOGIN", grant)
    parts = urlsplit(postgres_journal_url)
    url = parts._replace(netloc=f"casty_reader@{parts.netloc.rpartition('@')[2]}").geturl()
    try:
        with pytest.raises(ConfigurationError, match=r"may not write the journal's tables.*casty-es db grants"):
            await PostgresLeaseManager(url, slots=256).open("a")
    finally:
        await asyncio.to_thread(sql, postgres_journal_url, "DROP OWNED BY casty_reader", "DROP ROLE casty_reader")


async def test_own_server_without_fsync(embedded_server: str, sql: Sql) -> None:
    """Given a server without fsync, full page writes and free connections, when it is looked at, then each is named."""
    for change in ("fsync = off", "full_page_writes = off"):
        await asyncio.to_thread(sql, embedded_server, f"ALTER SYSTEM SET {change}", "SELECT pg_reload_conf()")
    shown = "SELECT current_setting('fsync') || current_setting('full_page_writes')"
    while await asyncio.to_thread(sql, embedded_server, shown) != [("offoff",)]:  # noqa: ASYNC110 - see below
        await asyncio.sleep(0.01)  # a reload is over when a new session sees it

    found = wrong(await preflight(embedded_server, slots=256))

    assert found.keys() == {"fsync", "full_page_writes"}
    for name in found:
        with pytest.raises(ConfigurationError, match=f"{name} is off.*Nothing was started.*Set {name} to on"):
            refuse([found[name]])
    assert not any(
        check.required for check in wrong(await preflight(embedded_server, slots=1, unsafe_durability=True)).values()
    )


@pytest.fixture(scope="module")
def embedded_server() -> Iterator[str]:
    """A migrated server of one's own, whose settings may be ruined."""
    from tests.conftest import embedded

    folder = tempfile.mkdtemp(prefix="casty-pg-")
    try:
        server = embedded().get_server(folder)
        try:
            upgrade(server.get_uri())
            yield server.get_uri()
        finally:
            server.cleanup()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def test_unreachable(tmp_path: Path) -> None:
    """Given no server, when it is looked at, then it cannot be reached."""
    with pytest.raises(JournalUnavailableError, match="cannot be reached"):
        await preflight(f"postgresql://app@/shop?host={tmp_path}", slots=256)


def facts(**changes: Any) -> Facts:
    """Return what a well server says, but for some of it."""
    row = {"standby": False, "may_write": True, "clients": 3, **changes}
    settings = {"max_connections": "10", "superuser_reserved_connections": "3", "reserved_connections": "1"}
    return Facts(row, {**settings, **changes}, changes.get("version", 18), changes.get("skew", 0.0))


def test_old_server() -> None:
    """Given what a server of version 13 says, when it is checked, then the version is refused."""
    assert not checks.version(facts(version=13)).ok
    assert checks.version(facts(version=14)).ok


def test_standby() -> None:
    """Given what a standby says, on either URL, when it is checked, then it is refused."""
    assert not checks.primary(facts(standby=True), facts()).ok
    assert not checks.primary(facts(), facts(standby=True)).ok


@pytest.mark.parametrize(("clients", "ok"), [(4, True), (5, False), (8, False)])
def test_spare_connections(clients: int, *, ok: bool) -> None:
    """Given six connections that a role may have, two of them the look's own, when four are left, then it will do."""
    assert checks.connections(facts(clients=clients)).ok is ok


@pytest.mark.parametrize(("skew", "ok"), [(0.1, True), (-4.9, True), (5.1, False), (-60.0, False)])
def test_clock(skew: float, *, ok: bool) -> None:
    """Given a server's clock, when it is further away than five seconds, then that is told, and required of nobody."""
    check = checks.clock(facts(skew=skew))

    assert check.ok is ok
    assert not check.required


async def test_checked_once(postgres_journal_url: str, sql: Sql) -> None:
    """Given a manager that has looked, when its session is lost, then the next one is opened without another look."""
    manager = PostgresLeaseManager(postgres_journal_url, slots=256)
    first = await manager.open("a")
    await first.close()
    name = urlsplit(postgres_journal_url).path.removeprefix("/")
    await asyncio.to_thread(sql, postgres_journal_url, f'ALTER DATABASE "{name}" SET synchronous_commit = off')

    again = await manager.open("a")

    assert not again.lost.done()
    await again.close()


async def test_a_node_starts_with_few_connections(postgres_journal_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a journal, when a node starts and writes, then it opened its own three and the one that it looked with."""
    opened: list[str] = []
    dial = sessions.dial

    async def counted(url: str, settings: dict[str, str]) -> Connection:
        opened.append(url)
        return await dial(url, settings)

    monkeypatch.setattr(sessions, "dial", counted)
    monkeypatch.setattr(schema, "dial", counted)

    async with ClusteredActorSystem(journal=SqlJournal(postgres_journal_url)) as system:
        await Distributed(system).counter("visits").increment()

    assert len(opened) == 4


async def test_the_journal_is_looked_at_before_a_session_waits(
    postgres_journal_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given another way to the leases, when a session is opened, then nothing slow is done while it is silent."""
    opened: list[str] = []
    dial = sessions.dial

    async def counted(url: str, settings: dict[str, str]) -> Connection:
        opened.append("lease" if "idle_session_timeout" in settings else "journal" if url == journal_url else "other")
        return await dial(url, settings)

    monkeypatch.setattr(sessions, "dial", counted)
    journal_url = f"{postgres_journal_url}&application_name=journal"

    session = await PostgresLeaseManager(postgres_journal_url, journal_url=journal_url, slots=256).open("a")
    await session.close()

    assert opened == ["journal", "lease", "other"]
