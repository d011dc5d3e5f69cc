"""Replacing the cluster's secret while two nodes and a client work, without a restart and without a lost command."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from casty_es import ClusterClient, ClusteredActorSystem, ConfigurationError, SqlJournal
from casty_es.errors import PeerLostError, PeerRefusedError

from .nodes import PATIENT, client, named_for, node, nodes, secret_of
from .test_tokens import change


async def reaches(system: ClusteredActorSystem, secret: bytes) -> bool:
    """Return whether a secret is valid at a node."""
    try:
        async with ClusterClient(contact_points=[tuple(system.self_node)], secret=secret) as connected:
            return len((await connected.topology()).nodes) > 0
    except PeerRefusedError:
        return False
    except PeerLostError:  # it became invalid between the two questions
        return await reaches(system, secret)


async def within(seconds: float, check: Callable[[], Awaitable[Any]]) -> None:
    """Wait until something is so, which has to be soon."""
    async with asyncio.timeout(seconds):
        while not await check():  # noqa: ASYNC110 - it is asked over a connection, and sets no event
            await asyncio.sleep(0.02)


async def test_a_secret_is_replaced_under_load(journal_url: str) -> None:
    """Given callers at two nodes and at a client, when the secret is replaced, then no command is lost or refused."""
    async with AsyncExitStack() as stack:
        two = await stack.enter_async_context(nodes(journal_url, 2))
        old = await secret_of(two[0])
        names = [named_for(one, two) for one in two]
        stop = asyncio.Event()
        told: dict[str, list[int]] = {name: [] for name in names}

        async def caller(gateway: ClusteredActorSystem | ClusterClient, name: str) -> None:
            counter = gateway.distributed().counter(name, timeout=PATIENT)
            while not stop.is_set():
                told[name].append(await counter.increment())

        new = await change(journal_url, lambda tables: tables.begin_rotation())
        assert await change(journal_url, lambda tables: tables.begin_rotation()) == new
        assert len(new) == 32
        assert new != old
        connected = await stack.enter_async_context(client(*two, secret=new))  # at once, though just made
        callers = [asyncio.create_task(caller(gateway, name)) for gateway in (*two, connected) for name in names]
        for one in two:
            assert await reaches(one, old)
            assert await reaches(one, new)
        await change(journal_url, lambda tables: tables.end_rotation(keep_new=True))
        for one in two:
            await within(5.0, lambda one=one: _not(reaches(one, old)))
            assert await reaches(one, new)
        async with node(journal_url) as third:  # knows the new one alone
            await third.wait_for(3)
            assert await third.distributed().counter(names[0], timeout=PATIENT).increment() > 0
        stop.set()
        await asyncio.gather(*callers)
        assert await secret_of(two[0]) == new

        for name in names:
            last = await two[0].distributed().counter(name).get()
            assert last == len(told[name]) + (name == names[0])
            assert len(set(told[name])) == len(told[name])


async def _not(check: Awaitable[bool]) -> bool:
    return not await check


async def test_connections_by_the_old_secret_end(journal_url: str) -> None:
    """Given a client that keeps the old secret, when it is valid no more, then its open connection ends too."""
    async with nodes(journal_url, 2) as two, client(*two) as connected:
        await connected.topology()
        await change(journal_url, lambda tables: tables.begin_rotation())
        await change(journal_url, lambda tables: tables.end_rotation(keep_new=True))

        async def refused() -> bool:
            try:
                await connected.topology()
            except PeerRefusedError:
                return True
            except PeerLostError:
                return False
            return False

        await within(5.0, refused)


async def test_a_new_secret_can_be_taken_back(journal_url: str) -> None:
    """When a rotation is cancelled, then the old secret is valid and the new one is not; there is none to end twice."""
    async with node(journal_url) as only:
        old = await secret_of(only)
        new = await change(journal_url, lambda tables: tables.begin_rotation())
        assert await reaches(only, new)
        await change(journal_url, lambda tables: tables.end_rotation(keep_new=False))
        await within(5.0, lambda: _not(reaches(only, new)))
        assert await reaches(only, old)
        for keep_new in (True, False):
            with pytest.raises(ConfigurationError, match="secret rotate"):
                await change(journal_url, lambda tables, keep_new=keep_new: tables.end_rotation(keep_new=keep_new))
        assert await secret_of(only) == old


async def test_a_short_secret_in_the_journal_is_refused(
    journal_url: str, sql: Callable[..., list[tuple[Any, ...]]]
) -> None:
    """Given a secret in the database that can be guessed, when a node starts, then it says what helps."""
    value = "CAST('sunshine7' AS BLOB)" if journal_url.startswith("sqlite") else "'sunshine7'::bytea"
    await asyncio.to_thread(sql, journal_url, f"UPDATE casty_secrets SET value = {value} WHERE name = 'cluster'")
    with pytest.raises(ConfigurationError, match=r"9 bytes.*at least 16.*casty-es secret rotate"):
        async with node(journal_url):
            pass
    await change(journal_url, lambda tables: tables.begin_rotation())
    await change(journal_url, lambda tables: tables.end_rotation(keep_new=True))
    async with node(journal_url) as only:
        assert await only.distributed().counter("c").increment() == 1


async def test_a_node_with_a_secret_of_its_own_keeps_it(journal_url: str) -> None:
    """Given a node that was given its secret, when the journal's is replaced, then it goes on with its own."""
    own = b"a secret that was given to it..."
    async with node(journal_url, secret=own) as only:
        new = await change(journal_url, lambda tables: tables.begin_rotation())
        await change(journal_url, lambda tables: tables.end_rotation(keep_new=True))
        assert await reaches(only, own)
        assert not await reaches(only, new)


async def test_what_is_wrong_in_the_database_takes_nothing_away(journal_url: str) -> None:
    """Given a running node, when the secret in the database gets lost, then the node goes on with what it knows."""
    async with node(journal_url) as only:
        old = await secret_of(only)
        journal = SqlJournal(journal_url)
        await journal.open()
        await journal.maintain([("DELETE FROM casty_secrets", ())])
        await journal.close()
        parts = only._node
        assert parts is not None
        assert parts.credentials is not None
        await parts.credentials.refresh()
        assert await reaches(only, old)
