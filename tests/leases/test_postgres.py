"""Lease sessions on Postgres: how they are lost, and that whoever serves under them hears of it."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import asyncpg
import pytest

from casty_es import runtime
from casty_es.errors import ConfigurationError, JournalUnavailableError, NodeInUseError, SchemaError
from casty_es.journal.port import NodeRow
from casty_es.journal.urls import postgres_dsn
from casty_es.leases.lease_connection import lease_settings, node_key
from casty_es.leases.postgres import PostgresLeaseManager
from casty_es.leases.postgres_session import PostgresLeaseSession
from tests.leases.conftest import Cluster

SESSIONS = """
    SELECT DISTINCT l.pid FROM pg_locks l JOIN pg_stat_activity a USING (pid)
    WHERE l.locktype = 'advisory' AND l.granted AND a.datname = current_database()"""
TERMINATE = f"SELECT pg_terminate_backend(pid) FROM ({SESSIONS}) holder"
CLASS = "SELECT 'casty_events'::regclass::oid::int"


async def opened(cluster: Cluster, node_id: str, **settings: Any) -> PostgresLeaseSession:
    """Open a session whose inside a test looks at."""
    session = await cluster.open(node_id, **settings)
    assert isinstance(session, PostgresLeaseSession)
    return session


async def test_terminated(postgres_cluster: Cluster, watcher: Any) -> None:
    """Given a session with slots, when Postgres ends it, then it is lost with a reason and another gets the slots."""
    a = await opened(postgres_cluster, "a", heartbeat_seconds=3_600.0, session_seconds=21_600.0)
    await a.acquire([1, 2])

    await watcher.execute(TERMINATE)

    assert "connection" in await a.lost
    with pytest.raises(JournalUnavailableError, match="lease session has ended"):
        await a.acquire([1])
    with pytest.raises(JournalUnavailableError, match="lease session has ended"):
        await a.living(["a"])
    await a.release([1, 2])
    b = await opened(postgres_cluster, "b")
    assert await b.acquire([1, 2]) == {1, 2}
    assert await b.living(["a"]) == set()


async def test_terminated_while_it_asks(postgres_cluster: Cluster, watcher: Any) -> None:
    """Given a session that waits for an answer, when Postgres ends it, then the caller hears that nothing is held."""
    a = await opened(postgres_cluster, "a")
    asking = asyncio.ensure_future(a._ask("SELECT pg_sleep(60)"))
    while not await watcher.fetchval(  # noqa: ASYNC110 - see below
        f"SELECT count(*) FROM ({SESSIONS}) s JOIN pg_stat_activity USING (pid) WHERE state = 'active'"
    ):
        await asyncio.sleep(0.01)  # no event tells that a statement has begun

    await watcher.execute(TERMINATE)

    with pytest.raises(JournalUnavailableError, match="lease session has ended"):
        await asking
    assert a.lost.done()


async def test_no_answer(postgres_cluster: Cluster) -> None:
    """Given a server that answers a statement too late, when the time is up, then the session is lost."""
    a = await opened(postgres_cluster, "a", session_seconds=2.0)
    await a.acquire([1])

    with pytest.raises(JournalUnavailableError, match="lease session has ended"):
        await a._ask("SELECT pg_sleep(60)")

    assert a.lost.done()
    b = await opened(postgres_cluster, "b")
    while not await b.acquire([1]):  # noqa: ASYNC110 - see below
        await asyncio.sleep(0.01)  # the server ends the statement, and then the session, when its own time is up


async def test_an_answer_that_came_too_late(postgres_cluster: Cluster) -> None:
    """Given an event loop that was blocked, when an answer is read too late, then it does not count."""
    a = await opened(postgres_cluster, "a", session_seconds=2.0)
    asking = asyncio.ensure_future(a.living(["a"]))
    await asyncio.sleep(0)
    await asyncio.sleep(0)

    time.sleep(1.1)  # noqa: ASYNC251 - what is tested

    with pytest.raises(JournalUnavailableError, match=r"did not a(nswer|sk)"):
        await asking
    assert a.lost.done()


async def test_a_blocked_event_loop(postgres_cluster: Cluster) -> None:
    """Given an event loop that was blocked between heartbeats, when it runs again, then the session is lost."""
    a = await opened(postgres_cluster, "a", session_seconds=2.0)
    await a.acquire([1])

    time.sleep(1.5)  # noqa: ASYNC251 - what is tested

    assert await a.lost
    assert await (await opened(postgres_cluster, "b")).acquire([1]) == {1}


async def test_silent_session(postgres_cluster: Cluster, watcher: Any) -> None:
    """Given a session whose heartbeat has stopped, when it was silent too long, then Postgres ends it."""
    a = await opened(postgres_cluster, "a", session_seconds=2.0)
    a._heart.remove_done_callback(a._stood_still)  # as if the process was frozen
    a._heart.cancel()

    assert "connection" in await a.lost
    assert await watcher.fetch(SESSIONS) == []


async def test_heartbeat_that_ends(postgres_cluster: Cluster) -> None:
    """Given a session, when its heartbeat's task is ended, then whoever serves under it hears at once."""
    a = await opened(postgres_cluster, "a", session_seconds=60.0)

    a._heart.cancel()

    assert await a.lost == "its heartbeat was cancelled"


async def test_heartbeat_keeps_the_session(postgres_cluster: Cluster, watcher: Any) -> None:
    """Given a heartbeat, when the session is older than Postgres lets one be silent, then it is still there."""
    a = await opened(postgres_cluster, "a", session_seconds=4.0)
    await a.acquire([1])
    age = "SELECT clock_timestamp() - backend_start > interval '5s' FROM pg_stat_activity WHERE pid = $1"

    while not await watcher.fetchval(age, a.identity[0]):  # noqa: ASYNC110 - see below
        await asyncio.sleep(0.1)  # Postgres tells nobody how old a session becomes

    assert not a.lost.done()
    assert await a.acquire([1]) == {1}


async def test_another_backend_answers(postgres_cluster: Cluster) -> None:
    """Given a session, when a heartbeat is answered by another backend, then it is lost."""
    a = await opened(postgres_cluster, "a", heartbeat_seconds=0.05)

    a.identity = (a.identity[0] + 1, *a.identity[1:])

    assert "another server or backend" in await a.lost


async def test_the_server_lost_a_lock(postgres_cluster: Cluster) -> None:
    """Given a slot whose lock is gone behind the session's back, when it is released, then the session is lost."""
    a = await opened(postgres_cluster, "a")
    await a.acquire([1])
    await a._connection.execute("SELECT pg_advisory_unlock_all()")

    await a.release([1])

    assert "did not have the locks" in await a.lost


async def test_a_cancelled_acquire_is_known(postgres_cluster: Cluster, watcher: Any) -> None:
    """Given a caller that goes away while it acquires, when it is over, then what is locked is what is held."""
    a = await opened(postgres_cluster, "a")
    for slot in range(20):
        asking = asyncio.ensure_future(a.acquire([slot]))
        for _ in range(slot % 5):
            await asyncio.sleep(0)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)

    await a.living(["a"])  # after whatever is still on its way
    locked = await watcher.fetch(
        "SELECT objid::int AS slot FROM pg_locks WHERE locktype = 'advisory' AND objid::int >= 0"
    )
    assert {row["slot"] for row in locked} == a._held
    await a.release(range(20))
    assert await (await opened(postgres_cluster, "b")).acquire(range(20)) == set(range(20))


async def test_locks_do_not_count_up(postgres_cluster: Cluster, watcher: Any) -> None:
    """Given a slot that was acquired many times, when it is released once, then no lock is left."""
    a = await opened(postgres_cluster, "a")
    for _ in range(10):
        await a.acquire([7])

    await a.release([7])

    assert await watcher.fetchval("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 7") == 0


async def test_own_ghost_is_ended(postgres_cluster: Cluster, watcher: Any) -> None:
    """Given a session that was lost without the server noticing, when its manager opens one, then it gets the name."""
    manager = postgres_cluster.manager(session_seconds=3_600.0)
    a = await manager.open("a")
    assert isinstance(a, PostgresLeaseSession)
    kept_alive, a._connection = a._connection, await asyncpg.connect(postgres_dsn(postgres_cluster.journal.url))  # type: ignore[attr-defined]
    a._lose("the network is silent")

    again = await manager.open("a")

    assert await again.living(["a"]) == {"a"}
    assert [row["pid"] for row in await watcher.fetch(SESSIONS)] != [a.identity[0]]
    await again.close()
    kept_alive.terminate()


async def test_a_living_session_is_no_ghost(postgres_cluster: Cluster) -> None:
    """Given a living session, when its own manager opens another under the name, then that is refused."""
    manager = postgres_cluster.manager()
    a = await manager.open("a")
    await postgres_cluster.journal.register_node(NodeRow("a", "here", 4711, None, 1, 1))

    with pytest.raises(NodeInUseError, match="process 4711 on host here"):
        await manager.open("a")

    assert not a.lost.done()
    await a.close()


async def test_locks_of_the_application(postgres_cluster: Cluster, postgres_url: str, watcher: Any) -> None:
    """Given the application's own advisory locks of the same numbers, when slots are acquired, then they are free."""
    elsewhere = await asyncpg.connect(postgres_dsn(postgres_url))
    [class_] = await watcher.fetchrow(CLASS)
    await watcher.execute("SELECT pg_advisory_lock(1), pg_advisory_lock(0, 1), pg_advisory_lock(1, 1)")
    await watcher.execute(f"SELECT pg_advisory_lock({class_}::bigint << 32 | 1)")
    await elsewhere.execute(f"SELECT pg_advisory_lock({class_}, 1)")

    a = await opened(postgres_cluster, "a")

    assert await a.acquire([1]) == {1}
    await elsewhere.close()


@pytest.mark.parametrize("lock_class", [-(2**31), 0, 2**31 - 1])
async def test_another_lock_class(postgres_cluster: Cluster, watcher: Any, lock_class: int) -> None:
    """Given a lock class of one's own, when nodes use it, then they see each other, and the default's locks do not."""
    a = await opened(postgres_cluster, "a", lock_class=lock_class)
    b = await opened(postgres_cluster, "b", lock_class=lock_class)
    default = await opened(postgres_cluster, "c")

    assert await a.acquire([1]) == {1}
    assert await b.acquire([1]) == set()
    assert await b.living(["a", "b", "c"]) == {"a", "b"}
    assert await default.acquire([1]) == {1}
    keys = await watcher.fetch("SELECT objid::int AS key FROM pg_locks WHERE classid::int = $1", lock_class)
    assert {row["key"] for row in keys} == {1, node_key("a"), node_key("b")}


async def test_session_settings(postgres_cluster: Cluster) -> None:
    """Given a session of 5 s, when its settings are shown, then they are scaled by it."""
    a = await opened(postgres_cluster, "a", session_seconds=5.0)

    shown = {
        name: await a._connection.fetchval(f"SELECT setting FROM pg_settings WHERE name = '{name}'")
        for name in (*lease_settings(5.0), "transaction_timeout")
        if not name.startswith("tcp_")
    }

    assert shown == {
        "idle_session_timeout": "5000",
        "idle_in_transaction_session_timeout": "2500",
        "statement_timeout": "2500",
        "transaction_timeout": "2500",
        "lock_timeout": "1000",
        "client_encoding": "UTF8",
    }


@pytest.mark.parametrize("session_seconds", [0.0, 1.99, float("nan")])
def test_too_short_a_session(session_seconds: float) -> None:
    """Given less than two seconds, when a manager is made, then it is refused with what to set."""
    with pytest.raises(ConfigurationError, match=r"session_seconds.*Set it to 2 or more"):
        PostgresLeaseManager("postgresql://h/d", slots=256, session_seconds=session_seconds)


@pytest.mark.parametrize("lock_class", [2**31, -(2**31) - 1])
def test_too_large_a_class(lock_class: int) -> None:
    """Given a class of more than 32 bits, when a manager is made, then it is refused."""
    with pytest.raises(ConfigurationError, match="lock_class"):
        PostgresLeaseManager("postgresql://h/d", slots=256, lock_class=lock_class)


async def test_presence_keys_are_not_slots() -> None:
    """Given many names, when their keys are made, then all are negative 32-bit numbers and they differ."""
    keys = {node_key(f"node-{number}") for number in range(1_000)}

    assert len(keys) == 1_000
    assert all(-(2**31) <= key < 0 for key in keys)


async def test_without_tables(postgres_url: str) -> None:
    """Given a database without the journal's tables, when a session is opened, then the error says which."""
    with pytest.raises(SchemaError, match="casty_events"):
        await PostgresLeaseManager(postgres_url, slots=256).open("a")


async def test_unreachable_server(tmp_path: Path) -> None:
    """Given no server, when a session is opened, then the error names it without its password."""
    url = f"postgresql://app:secret@/shop?host={tmp_path}"
    with pytest.raises(JournalUnavailableError, match="cannot be reached") as unreachable:
        await PostgresLeaseManager(url, slots=256).open("a")

    assert "secret" not in str(unreachable.value)


async def test_refused_session_leaves_no_connection(postgres_cluster: Cluster, watcher: Any) -> None:
    """Given a living node, when its name is refused to many, then no connection of theirs stays behind."""
    await opened(postgres_cluster, "a")
    before = (
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'casty_es' AND datname = current_database()"
    )
    count = await watcher.fetchval(before)

    refusals = await asyncio.gather(*[postgres_cluster.open("a") for _ in range(3)], return_exceptions=True)

    assert [type(refusal) for refusal in refusals] == [NodeInUseError] * 3
    while await watcher.fetchval(before) > count:  # noqa: ASYNC110 - see below
        await asyncio.sleep(0.01)  # a backend ends a moment after its connection


async def test_an_answer_proves_the_time_of_its_question(
    postgres_cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a clock that jumps while an answer is on its way, when it arrives, then it does not count."""
    from casty_es.leases import postgres_session

    a = await opened(postgres_cluster, "a", heartbeat_seconds=0.05)
    jumps = iter([0.0, *[10.0] * 1_000])
    clock = SimpleNamespace(steady=lambda: runtime.steady() + next(jumps))
    monkeypatch.setattr(postgres_session, "runtime", clock)

    with pytest.raises(JournalUnavailableError):
        await a._ask("SELECT 1")

    assert "did not answer within 3 s" in await a.lost
