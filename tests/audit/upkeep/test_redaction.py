"""Whatever was redacted is gone, everything else is as it was, and the journal still verifies."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import msgspec
import pytest

from casty_es import ClusterClient, ClusteredActorSystem, SqlJournal, audit_context
from casty_es.audit.anchor import take_anchor
from casty_es.audit.redaction import Redaction, finish_redactions, redact
from casty_es.audit.verify import verify
from casty_es.cli.app import run
from casty_es.config import Settings
from casty_es.errors import ConfigurationError, InvalidArgumentError, RedactedError
from casty_es.journal.port import EntityName
from casty_es.journal.urls import is_sqlite, postgres_dsn, sqlite_file
from casty_es.names import encode_key
from tests.conftest import run_sql

from .conftest import CrashError, Crashing, findings

ALICE = EntityName("map", "users", encode_key("alice"))
SECRET = "Sesam-öffne-dich-4711"  # noqa: S105 - it is looked for, not used


async def fill(system: ClusteredActorSystem) -> None:
    """Have a person's data in a map, a set and a queue, with snapshots, and somebody else's beside it."""
    d = system.distributed()
    users = d.map[str, dict[str, Any]]("users")
    with audit_context(actor=SECRET, reason=f"about {SECRET}"):
        for number in range(12):
            await users.put("alice", {"name": SECRET, "number": number})
            await users.put("bob", {"name": "Bob", "number": number})
        await users.delete("alice")
        await users.put("alice", {"name": SECRET})
        await d.set[str]("tags").add(SECRET)
        await d.queue[str]("jobs").enqueue(SECRET)
        await d.queue[str]("jobs").dequeue()


async def bytes_of(url: str, programs: Path) -> bytes:
    """Return every byte of the database's files, or of its dump and its tables' files."""
    if is_sqlite(url):
        file = sqlite_file(url)
        return b"".join(one.read_bytes() for one in file.parent.glob(f"{file.name}*"))
    connection = await asyncpg.connect(postgres_dsn(url))
    try:
        rows = await connection.fetch("SELECT * FROM casty_events")
        kept = [repr(tuple(row)) for row in rows]
        for table in ("casty_snapshots", "casty_entities", "casty_retired_salts", "casty_seals"):
            kept += [repr(tuple(row)) for row in await connection.fetch(f"SELECT * FROM {table}")]
    finally:
        await connection.close()
    dump = await asyncio.create_subprocess_exec(
        programs / "pg_dump", "--dbname", postgres_dsn(url), stdout=asyncio.subprocess.PIPE
    )
    text, _ = await dump.communicate()
    assert dump.returncode == 0
    assert b"casty_events" in text
    return text + "".join(kept).encode()


def forms(secret: str) -> list[bytes]:
    """Return the ways in which a text could be written."""
    raw = secret.encode()
    return [
        raw,
        json.dumps(secret).strip('"').encode(),
        raw.hex().encode(),
        raw.hex().upper().encode(),
        base64.b64encode(raw)[:-4],
        raw.decode().encode("utf-16-le"),
    ]


async def test_no_byte_of_it_is_left(
    journal_url: str, system: ClusteredActorSystem, journal: SqlJournal, postgres_programs: Path
) -> None:
    """Given data of a person everywhere, when it is redacted and the database vacuumed, then no byte of it is left."""
    await fill(system)
    before = await bytes_of(journal_url, postgres_programs)
    assert any(form in before for form in forms(SECRET))
    anchor = await take_anchor(journal)

    for name in (ALICE, EntityName("set", "tags", ""), EntityName("queue", "jobs", "")):
        await redact(system, journal, name, reason="asked for it")
    await redact(system, journal, EntityName("map", "users", encode_key("bob")), reason="what was said about him")
    await journal.vacuum()

    after = await bytes_of(journal_url, postgres_programs)
    assert [form for form in forms(SECRET) if form in after] == []
    assert (await verify(journal_url, anchors=[anchor])).findings == []


async def test_it_is_empty_and_goes_on(journal_url: str, system: ClusteredActorSystem, journal: SqlJournal) -> None:
    """Given a redacted key, when it is read, written and read after a restart, then it is as if it were new."""
    await fill(system)
    users = system.distributed().map[str, dict[str, Any]]("users")
    bobs = await journal.history((await journal.entities([EntityName("map", "users", encode_key("bob"))]))[0].id)  # type: ignore[union-attr]

    done = await redact(system, journal, ALICE, reason="asked for it")

    assert done == Redaction("map", "users", ALICE.key, sequence=15, events=14)
    assert await users.get("alice") is None
    assert not await users.contains("alice")
    assert await users.put("alice", {"name": "new"}) is None
    history = [event async for event in users.history("alice")]
    assert [event.redacted for event in history] == [True] * 14 + [False] * 2
    assert (history[14].type, history[14].payload, history[0].actor) == (
        "entity.redacted",
        {"reason": "asked for it"},
        None,
    )
    with pytest.raises(RedactedError):
        await users.at("alice", sequence=3).get("alice")
    assert await users.at("alice", sequence=15).get("alice") is None
    assert await users.get("bob") == {"name": "Bob", "number": 11}
    assert await journal.history(bobs[0].entity or 0) == bobs
    async with ClusteredActorSystem(journal=SqlJournal(journal_url)) as other:
        assert await other.distributed().map[str, dict[str, Any]]("users").get("alice") == {"name": "new"}
    assert await findings(journal_url) == []


async def test_twice(journal_url: str, system: ClusteredActorSystem, journal: SqlJournal) -> None:
    """Given a key that was redacted and used again, when it is redacted again, then the newer values go as well."""
    await fill(system)
    users = system.distributed().map[str, str]("users")
    await redact(system, journal, ALICE, reason="first")
    await users.put("alice", "back again")

    second = await redact(system, journal, ALICE, reason="second")
    third = await redact(system, journal, ALICE, reason="not needed")

    assert (second.sequence, second.events) == (17, 1)
    assert (third.sequence, third.events) == (17, 0)
    assert await findings(journal_url) == []


@pytest.mark.parametrize("after", [False, True])
async def test_a_crash_at_any_step(
    journal_url: str, system: ClusteredActorSystem, journal: SqlJournal, crashing: Crashing, *, after: bool
) -> None:
    """Given a redaction that ends before or after any of its steps, when it is finished, then nothing is left of it."""
    users = system.distributed().map[str, str]("users")
    crashed = []
    for number in range(1, 20):
        for value in range(5):
            await users.put("alice", f"value {value} of try {number}")
        crashing.in_(number, after=after)
        try:
            await redact(system, journal, ALICE, reason=f"try {number}")
        except CrashError as error:
            crashed.append(str(error))
        else:
            break
        crashing.never()
        # The journal is as good as ever, and usable, before anybody finishes.
        assert await findings(journal_url) == []
        assert await users.put("alice", "meanwhile") is None
        done = await finish_redactions(journal)
        assert len(done) == (0 if str(error := crashed[-1]) == "destroy_salts" and after else 1), error
        left = [event.payload async for event in users.history("alice") if event.type == "map.put"]
        assert [payload for payload in left if payload is not None] == [{"value": "meanwhile"}]
        assert await findings(journal_url) == []
        await redact(system, journal, ALICE, reason="cleared")

    assert {"replace_states", "replace_values", "destroy_salts"} <= set(crashed)


async def test_killed(journal_url: str, system: ClusteredActorSystem, journal: SqlJournal) -> None:
    """Given a process that is killed while it redacts, when another one finishes, then the values are gone."""
    await fill(system)
    program = (
        "import asyncio, os, signal, sys\n"
        "from casty_es.journal.maintenance import Maintenance\n"
        "async def killed(_, entity, through):\n"
        "    if entity > 0: os.kill(os.getpid(), signal.SIGKILL)\n"
        "Maintenance.destroy_salts = killed\n"
        "from casty_es.cli.app import run\n"
        "run(['redact', 'map', 'users', '--key', 'alice', '--reason', 'asked', '--yes'])\n"
    )
    environment = {**os.environ, "CASTY_ES_DATABASE_URL": journal_url}
    ended = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", program], env=environment, check=False, capture_output=True
    )
    assert ended.returncode == -9, ended.stderr
    assert await findings(journal_url) == []

    [done] = await finish_redactions(journal)

    assert done.sequence == 15
    assert await finish_redactions(journal) == []
    assert await findings(journal_url) == []


async def test_beside_traffic(journal_url: str, system: ClusteredActorSystem, journal: SqlJournal) -> None:
    """Given callers that go on, when a key is redacted, then none of them notices, and nothing of theirs is lost."""
    await fill(system)
    d = system.distributed()
    users = d.map[str, int]("numbers")
    stop, begun = asyncio.Event(), asyncio.Event()
    counted = 0

    async def work() -> None:
        nonlocal counted
        while not stop.is_set():
            counted += 1
            await asyncio.gather(d.counter("hits").increment(), users.put("alice", counted), users.put("bob", counted))
            begun.set()

    working = asyncio.create_task(work())
    await begun.wait()
    for _ in range(3):
        await redact(system, journal, EntityName("map", "numbers", encode_key("alice")), reason="again")
        await redact(system, journal, ALICE, reason="again")
    stop.set()
    await working

    assert await d.counter("hits").get() == counted
    assert await users.get("bob") == counted
    assert await findings(journal_url) == []


async def test_through_a_client(system: ClusteredActorSystem, journal: SqlJournal) -> None:
    """Given a client without a database, when it sends the redaction, then the owner redacts."""
    await fill(system)
    async with ClusterClient(contact_points=[system.self_node], secret=await journal.secret()) as client:
        done = await redact(client, journal, ALICE, reason="asked for it")

    assert done.events == 14


async def test_an_operation_with_a_key_that_was_redacted(system: ClusteredActorSystem, journal: SqlJournal) -> None:
    """Given an operation under a key that was redacted, when it is asked for again, then it is not done again."""
    users = system.distributed().map[str, str]("users")
    await users.put("alice", "one", idempotency_key="order-1")
    await redact(system, journal, ALICE, reason="asked for it")

    with pytest.raises(RedactedError):
        await users.put("alice", "one", idempotency_key="order-1")

    assert await users.get("alice") is None


async def test_a_key_of_another_operation_that_was_redacted(system: ClusteredActorSystem, journal: SqlJournal) -> None:
    """Given keys of operations that were redacted, when others come under them, then none is told that it was done."""
    users = system.distributed().map[str, str]("users")
    await users.put("alice", "one")
    assert await users.delete("alice", idempotency_key="delete") is True
    assert await users.put_if_absent("alice", "two", idempotency_key="add") is True
    assert await users.pop("alice", idempotency_key="pop") == "two"
    await redact(system, journal, ALICE, reason="asked for it")

    for again in (
        lambda: users.put("alice", "three", idempotency_key="delete"),
        lambda: users.pop("alice", idempotency_key="delete"),
        lambda: users.pop("alice", idempotency_key="pop"),
        lambda: users.put_if_absent("alice", "two", idempotency_key="add"),
    ):
        with pytest.raises(RedactedError):
            await again()
    assert await users.contains("alice") is False


@pytest.mark.parametrize("at_once", [False, True], ids=["in a thread", "at once"])
async def test_a_snapshot_that_comes_late(
    journal_url: str, journal: SqlJournal, request: pytest.FixtureRequest, *, at_once: bool
) -> None:
    """Given a node that keeps snapshots all the time, when it is redacted between them, then none has an old value."""
    if at_once:
        request.getfixturevalue("snapshots_at_once")
    async with ClusteredActorSystem(journal=SqlJournal(journal_url), settings=Settings(snapshot_events=1)) as system:
        users = system.distributed().map[str, str]("users")
        for number in range(30):
            await users.put("alice", f"{SECRET} {number}")
            if number % 7 == 6:
                await redact(system, journal, ALICE, reason="again")
    states = await journal.query("SELECT state FROM casty_snapshots")

    [stored] = await journal.entities([ALICE])
    assert stored is not None
    said = [msgspec.json.decode(text) for (text,) in await journal.query("SELECT metadata FROM casty_events") if text]

    # The last redaction was behind number 27.
    held = [state for (state,) in states if SECRET in state]
    assert all(f"{SECRET} 28" in state or f"{SECRET} 29" in state for state in held)
    # Nor is an old value digested under a salt that is still there.
    digested = [one["snapshot"]["sequence"] for one in said if "snapshot" in one]
    assert all(sequence > stored.salted_from for sequence in digested)
    # A thread on a busy machine may be too late with every one.
    assert {"redacted"} in [one.keys() for one in said] or not at_once
    assert await findings(journal_url) == []


async def test_what_cannot_be_redacted(system: ClusteredActorSystem, journal: SqlJournal) -> None:
    """Given a kind without values, nothing there, or no reason, when it is redacted, then it is refused."""
    await fill(system)
    heads = await journal.heads(range(256))
    for name, reason, why in [
        (EntityName("counter", "hits", ""), "asked", "holds no values"),
        (EntityName("map", "users", encode_key("nobody")), "asked", "has nothing of"),
        (ALICE, "", "reason must be 1 to"),
    ]:
        with pytest.raises(InvalidArgumentError, match=why):
            await redact(system, journal, name, reason=reason)

    assert await journal.heads(range(256)) == heads


async def test_a_role_that_may_not(postgres_journal_url: str) -> None:
    """Given a role that cannot change events, when it redacts, then it is told so, and nothing is begun."""
    async with ClusteredActorSystem(journal=SqlJournal(postgres_journal_url)) as system:
        await fill(system)
        name = f"casty_reader_{os.getpid()}"
        await asyncio.to_thread(
            run_sql,
            postgres_journal_url,
            f"CREATE ROLE {name} LOGIN",
            f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {name}",
        )
        limited = SqlJournal(urlsplit(postgres_journal_url)._replace(netloc=f"{name}@").geturl())
        try:
            await limited.open()
            heads = await limited.heads(range(256))
            with pytest.raises(ConfigurationError, match="may not change events"):
                await redact(system, limited, ALICE, reason="asked for it")
            assert await limited.heads(range(256)) == heads
        finally:
            await limited.close()
            await asyncio.to_thread(run_sql, postgres_journal_url, f"DROP OWNED BY {name}", f"DROP ROLE {name}")


async def test_the_command(journal_url: str, system: ClusteredActorSystem, capsys: pytest.CaptureFixture[str]) -> None:
    """Given a key, when it is redacted on the command line, then it is told what was done; finishing finds nothing."""
    await fill(system)

    def redact_command(*arguments: str) -> int:
        return run(["redact", *arguments, "--url", journal_url])

    await asyncio.to_thread(redact_command, "map", "users", "--key", "alice", "--reason", "asked", "--yes", "--json")
    [told] = json.loads(capsys.readouterr().out)
    assert (told["events"], told["sequence"]) == (14, 15)
    await asyncio.to_thread(redact_command, "--finish")
    assert "No redaction was interrupted" in capsys.readouterr().out
    assert await asyncio.to_thread(redact_command, "map", "users", "--key", "alice") != 0
