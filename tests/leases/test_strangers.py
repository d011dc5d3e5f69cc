"""Whoever may connect can take the locks of slots: who does, and is no node, is named wherever somebody asks."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from casty_es import ClusteredActorSystem, SqlJournal
from casty_es.cli.app import run
from casty_es.errors import NotDoneError
from casty_es.journal.urls import postgres_dsn
from casty_es.leases.strangers import Stranger, strangers_of

TAKE = "SELECT pg_advisory_lock('casty_events'::regclass::oid::int, slot) FROM generate_series(0, 255) AS s (slot)"


@pytest_asyncio.fixture
async def stranger(postgres_journal_url: str) -> AsyncIterator[Any]:
    """A session of somebody else, with a name that would write on a terminal, before it has taken anything."""
    connection = await asyncpg.connect(
        postgres_dsn(postgres_journal_url), server_settings={"application_name": "report\u202e"}
    )
    yield connection
    await connection.close()


async def test_the_error_names_who_holds_the_slot(postgres_journal_url: str, stranger: Any) -> None:
    """Given a session that took all slots, when a caller's time is up, then the error says which session it was."""
    async with ClusteredActorSystem(journal=SqlJournal(postgres_journal_url)) as system:
        await stranger.execute(TAKE)

        with pytest.raises(NotDoneError) as denied:
            await system.distributed().counter("hits", timeout=1.0).increment()

        text = str(denied.value)
        assert f"process {stranger.get_server_pid()} of the server, which is no node" in text
        assert "role '" in text
        assert "application 'report" in text
        assert "\u202e" not in text
        await stranger.execute("SELECT pg_advisory_unlock_all()")
        assert await system.distributed().counter("hits").increment() == 1


async def test_the_error_of_another_node_and_of_a_client(postgres_journal_url: str, stranger: Any) -> None:
    """Given two nodes and a stranger, when either is asked, then the error names the stranger and no node."""
    url = postgres_journal_url
    async with (
        ClusteredActorSystem(journal=SqlJournal(url), host="127.0.0.1", port=0) as one,
        ClusteredActorSystem(journal=SqlJournal(url), host="127.0.0.1", port=0) as two,
    ):
        await one.wait_for(2)
        await two.wait_for(2)
        await stranger.execute(TAKE)
        for system in (one, two):
            for name in ("a", "b", "c"):  # some are placed at the other node
                with pytest.raises(NotDoneError, match=f"process {stranger.get_server_pid()} of the server"):
                    await system.distributed().counter(name, timeout=1.5).increment()


async def test_nodes_are_no_strangers(postgres_journal_url: str, stranger: Any) -> None:
    """Given a node with slots and a session with others, then only that one is told."""
    async with ClusteredActorSystem(journal=SqlJournal(postgres_journal_url)) as system:
        await system.distributed().counter("hits").increment()
        journal = SqlJournal(postgres_journal_url)
        await journal.open()
        try:
            assert await strangers_of(journal) == []
            free = await stranger.fetch(TAKE.replace("pg_advisory_lock(", "slot, pg_try_advisory_lock("))
            [found] = await strangers_of(journal)
        finally:
            await journal.close()
    assert isinstance(found, Stranger)
    assert (found.pid, found.slots) == (stranger.get_server_pid(), tuple(slot for slot, taken in free if taken))
    assert len(found.slots) == 255


async def test_locks_of_others_are_no_slots(postgres_journal_url: str, stranger: Any) -> None:
    """Given locks of another program, of the other key space and of another class, then nobody is told."""
    await stranger.execute("SELECT pg_advisory_lock(5), pg_advisory_lock(7, 5), pg_advisory_lock_shared(9)")
    journal = SqlJournal(postgres_journal_url)
    await journal.open()
    try:
        assert await strangers_of(journal) == []
    finally:
        await journal.close()


async def test_the_commands_name_it(
    postgres_journal_url: str, capsys: pytest.CaptureFixture[str], stranger: Any
) -> None:
    """Given a session that holds slots, when the doctor or the nodes are asked for, then both name it."""
    await stranger.execute(TAKE)
    named = f"process {stranger.get_server_pid()} of the server"

    assert await asyncio.to_thread(run, ["doctor", "--json", "--url", postgres_journal_url]) == 0
    [check] = [row for row in json.loads(capsys.readouterr().out)["checks"] if row["name"] == "slot locks"]
    assert await asyncio.to_thread(run, ["nodes", "--url", postgres_journal_url]) == 0
    said = capsys.readouterr().out
    assert await asyncio.to_thread(run, ["nodes", "--json", "--url", postgres_journal_url]) == 0
    [told] = json.loads(capsys.readouterr().out)["strangers"]

    assert (check["status"], named in check["found"], "holds 256" in check["found"]) == ("warn", True, True)
    assert named in said
    assert (told["pid"], len(told["slots"])) == (stranger.get_server_pid(), 256)
