"""Which processes are gone: those without a session for good, and nobody of whom that cannot be said."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import pytest
import pytest_asyncio

from casty_es.errors import JournalUnavailableError
from casty_es.journal.memory import InMemoryJournal
from casty_es.leases.memory import ProcessLeaseManager, ProcessLeaseSession
from casty_es.owner import deaths
from casty_es.owner.deaths import Deaths
from casty_es.processes import NodeProcess, called, process_of

HERE = UUID("0f3cb64d-5d0b-4a43-8ad4-7b0a0b7b6b0e")
THERE = UUID("9e40fb9c-5827-4d36-882e-365fb5362bf2")


class Looker:
    """A node that looks, and its cluster."""

    def __init__(self) -> None:
        self.manager = ProcessLeaseManager(InMemoryJournal())
        self.connected: set[str] = set()
        self.asked = asyncio.Event()
        self.session: ProcessLeaseSession | None = None

    async def own_session(self) -> ProcessLeaseSession:
        """Return the looking node's session."""
        if self.session is None:
            raise JournalUnavailableError("not now")
        self.asked.set()
        return self.session


@pytest_asyncio.fixture
async def looker() -> AsyncIterator[Looker]:
    """A node with a session, in a cluster where others can open theirs."""
    looker = Looker()
    looker.session = await looker.manager.open("here", str(HERE))
    yield looker
    await looker.session.close()


@pytest.fixture
def looks(looker: Looker) -> Deaths:
    """What looks for it."""
    leases: Any = SimpleNamespace(session=looker.own_session)
    node: Any = SimpleNamespace(connected=looker.connected.__contains__)
    return Deaths(leases, node, called("node", HERE.hex, "here"))


async def test_a_process_with_a_session_lives_and_one_without_is_gone(looker: Looker, looks: Deaths) -> None:
    """Its name is in use by another one: that is another process."""
    there, before = called("node", THERE.hex, "there"), called("node", uuid4().hex, "there")
    session = await looker.manager.open("there", str(THERE))
    assert await looks.gone([there, before]) == {before}
    await session.close()
    assert await looks.gone([there, before]) == {there, before}


async def test_a_process_that_opens_another_session_in_time_is_not_gone(looker: Looker, looks: Deaths) -> None:
    """Between two looks a living process comes back."""
    there = called("node", THERE.hex, "there")
    look = asyncio.create_task(looks.gone([there]))
    await looker.asked.wait()
    await looker.manager.open("there", str(THERE))
    assert await look == set()


async def test_a_process_that_is_connected_is_not_gone(looker: Looker, looks: Deaths) -> None:
    """It is cut off from the database and not from here, where it may renew."""
    there = called("node", THERE.hex, "there")
    looker.connected.add(THERE.hex)
    assert await looks.gone([there]) == set()
    looker.connected.clear()
    assert await looks.gone([there]) == {there}


async def test_a_process_that_comes_back_late_lives_again(
    looker: Looker, looks: Deaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was cut off for long and counted as gone: what it asks for from then on is not."""
    there = called("node", THERE.hex, "there")
    assert await looks.gone([there]) == {there}
    session = await looker.manager.open("there", str(THERE))
    assert await looks.gone([there]) == set()
    await session.close()
    looker.connected.add(THERE.hex)
    assert await looks.gone([there]) == set()
    looker.connected.clear()
    # and who is known to be gone is not waited for
    assert await looks.gone([there]) == {there}
    monkeypatch.setattr(deaths, "_COME_BACK_SECONDS", 3_600.0)
    assert await looks.gone([there]) == {there}


async def test_a_predecessor_of_this_name_is_gone_at_once(looks: Deaths, monkeypatch: pytest.MonkeyPatch) -> None:
    """It cannot come back while this process has the name."""
    monkeypatch.setattr(deaths, "_COME_BACK_SECONDS", 3_600.0)
    before = called("node", THERE.hex, "here")
    assert looks.concern(before)
    assert await looks.gone([before]) == {before}


async def test_nothing_is_said_of_who_cannot_be_asked(looker: Looker, looks: Deaths) -> None:
    """Clients, requests of older versions, and everybody while there is no session to ask."""
    client, there = called("client", THERE.hex, "client-1"), called("node", THERE.hex, "there")
    assert [looks.concern(process) for process in (client, "", called("node", HERE.hex, "here"))] == [False] * 3
    assert await looks.gone([client, ""]) == set()
    looker.session, session = None, looker.session
    assert await looks.gone([there]) == set()
    looker.session = session
    assert await looks.gone([there]) == {there}


@pytest.mark.parametrize("node_id", ["shop", "a:b", "node:x", "", str(THERE)])
def test_a_process_is_told_from_what_it_is_called(node_id: str) -> None:
    """Whatever its name is made of."""
    assert process_of(called("node", THERE.hex, node_id)) == NodeProcess(str(THERE), node_id or str(THERE))
    assert process_of(called("client", THERE.hex, node_id)) is None
