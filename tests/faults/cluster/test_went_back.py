"""Databases that go back under nodes: a copy renamed into place, a standby promoted, a restore around a frozen owner.

Each trial tells callers things, lets the database go back, lets everybody who lives ask again, and compares: nobody may
be told what contradicts what somebody who lives was told. An error is no contradiction. The default run has a few
trials of each kind, ``-m long`` has ``CASTY_ES_WENT_BACK_TRIALS`` of each, 100 unless it is given.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import shutil
import sqlite3
from contextlib import AsyncExitStack
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from casty_es import ClusteredActorSystem, Distributed, Settings
from casty_es.client import ClusterClient
from casty_es.errors import JournalMovedError
from casty_es.journal.migrating import upgrade
from casty_es.journal.sql import SqlJournal
from casty_es.journal.urls import is_sqlite
from tests.cluster.nodes import secret_of
from tests.faults.standby import Pair, pair

from .contradictions import ACTIONS, Count, Fact, act_all, ask_everybody, put_entry
from .nodes import SETTINGS, nodes

if TYPE_CHECKING:
    from collections.abc import Callable

    from .loss import Loss
    from .nodes import Nodes

_SETTINGS = Settings(membership_seconds=0.2, session_seconds=2.0)

_PATIENT = 30.0

_LONG = int(os.environ.get("CASTY_ES_WENT_BACK_TRIALS", "100"))
_SEED = int(os.environ.get("CASTY_ES_WENT_BACK_SEED") or secrets.randbelow(1_000_000))

# Each takes some seconds on a busy machine.
TRIALS = [
    pytest.param(1, marks=pytest.mark.timeout(180), id="short"),
    pytest.param(_LONG, marks=[pytest.mark.long, pytest.mark.timeout(60 + 60 * _LONG)], id="long"),
]


def node(url: str) -> ClusteredActorSystem:
    """Make a node."""
    return ClusteredActorSystem(journal=SqlJournal(url), settings=_SETTINGS)


def copied(source: Path, target: Path) -> None:
    """Copy a database that is in use."""
    with contextlib.closing(sqlite3.connect(source)) as read, contextlib.closing(sqlite3.connect(target)) as written:
        read.backup(written)


def renamed(copy: Path, file: Path) -> None:
    """Put a copy where the database is, as whoever restores a backup does."""
    for beside in ("-wal", "-shm"):
        file.with_name(file.name + beside).unlink(missing_ok=True)
    copy.rename(file)


async def rename(count: Count, dice: Random, folder: Path, template: Path) -> None:
    """Put an older copy of the file where it was, under two nodes and a client; then one node is new."""
    file = folder / "casty.db"
    shutil.copyfile(template, file)
    url = f"sqlite:///{file}"
    async with AsyncExitStack() as stack:
        one, two = node(url), node(url)
        for system in (one, two):
            await stack.enter_async_context(system)
        await asyncio.gather(one.wait_for(2), two.wait_for(2))
        client = await stack.enter_async_context(
            ClusterClient(
                contact_points=[tuple(one.self_node), tuple(two.self_node)],
                secret=await secret_of(one),
            )
        )
        crowd: list[tuple[Distributed, list[Fact]]] = [(Distributed(each), []) for each in (one, two, client)]
        await act_all(dice, crowd, 1, seconds=20.0)
        await asyncio.to_thread(copied, file, folder / "copy.db")
        await put_entry(crowd[0][0], seconds=20.0)
        await act_all(dice, crowd, dice.randint(1, 2), seconds=20.0)
        first = dice.random() < 0.5  # whether the file changes under the other node, too
        if not first:
            await one.__aexit__(None, None, None)
        renamed(folder / "copy.db", file)
        if first:
            await one.__aexit__(None, None, None)
        if dice.random() < 0.5:  # a process that goes on, and opens what is there now
            await two.__aexit__(None, None, None)
            await two.__aenter__()
        fresh = node(url)
        try:
            await stack.enter_async_context(fresh)
        except JournalMovedError:  # nobody opens what is there while a living node has the old file open
            await two.__aexit__(None, None, None)
            await two.__aenter__()
            await stack.enter_async_context(fresh)
        count.trials += 1
        await ask_everybody(dice, count, [crowd[1], (Distributed(fresh), [])], [crowd[2]])


async def promotion(count: Count, dice: Random, pair: Pair, url: str) -> None:
    """Let a standby take over that has not seen the end of the log, under three nodes and a client."""
    async with AsyncExitStack() as stack:
        systems = [node(url) for _ in range(3)]
        for system in systems:
            await stack.enter_async_context(system)
        await asyncio.gather(*(system.wait_for(3) for system in systems))
        client = await stack.enter_async_context(
            ClusterClient(
                contact_points=[tuple(system.self_node) for system in systems],
                secret=await secret_of(systems[0]),
            )
        )
        crowd: list[tuple[Distributed, list[Fact]]] = [(Distributed(each), []) for each in (*systems, client)]
        await act_all(dice, crowd, 1, seconds=20.0)
        await asyncio.to_thread(pair.caught_up)
        await asyncio.to_thread(pair.stall)
        await put_entry(crowd[0][0], seconds=20.0)
        await act_all(dice, crowd, 1, seconds=20.0)
        living = crowd[:3]
        if dice.random() < 0.5:  # a node does not live to see it, with what only it was told
            gone = living.pop(dice.randrange(3))
            await systems[crowd.index(gone)].__aexit__(None, None, None)
        await asyncio.to_thread(pair.promote)
        if dice.random() < 0.5:
            living.append((Distributed(await stack.enter_async_context(node(url))), []))
        count.trials += 1
        for _ in range(2):
            await ask_everybody(dice, count, living, crowd[3:])


@pytest.mark.parametrize("trials", TRIALS)
async def test_a_standby_promoted(trials: int, sql: Callable[..., list[tuple[Any, ...]]]) -> None:
    """Given a standby that lagged behind, when it takes over, then nobody is told what contradicts what was told."""
    count = Count("promotion", _SEED)
    with pair(sql) as both:
        for trial in range(trials):
            name = f"trial_{trial}"
            await asyncio.to_thread(sql, both.url(), f'CREATE DATABASE "{name}"')
            await asyncio.to_thread(upgrade, both.url(name))
            await asyncio.to_thread(both.follow)
            await promotion(count, Random(_SEED + trial), both, both.url(name))  # noqa: S311 - a trial
            await asyncio.to_thread(sql, both.url(), f'DROP DATABASE "{name}" WITH (FORCE)')
    count.judge()


@pytest.mark.parametrize("trials", TRIALS)
async def test_a_copy_renamed_into_place(trials: int, tmp_path: Path, sqlite_template: Path) -> None:
    """Given an older copy of the file at its path, then nobody is told what contradicts what was told before."""
    count = Count("rename", _SEED)
    for trial in range(trials):
        folder = tmp_path / str(trial)
        folder.mkdir()
        await rename(count, Random(_SEED + trial), folder, sqlite_template)  # noqa: S311 - a trial
    count.judge()


def frozen(count: Count, dice: Random, running: Nodes, loss: Loss, on: str) -> None:
    """Freeze an owner, let others go on without it, let the database go back to what the owner knew, and thaw it."""
    # On SQLite nobody takes over from a frozen process, so that waiting for it is no use.
    seconds = 1.5 if is_sqlite(running.url) else 6.0
    turns = [(node, what) for node in running.living for what in ACTIONS]
    dice.shuffle(turns)
    facts = [Fact(what, node.ask("act", what, on, _PATIENT)) for node, what in turns]
    stale = dice.choice(running.living)
    before = dice.random() < 0.5
    if before:
        asyncio.run(loss.keep())
    stale.freeze()
    if not before:
        asyncio.run(loss.keep())
    # given others who take over what they can, and are told more
    others = [node for node in running.living if node is not stale]
    dice.choice(others).order("put", on, seconds)
    asked = [(node, what, node.order("act", what, on, seconds)) for node in others for what in ACTIONS]
    for node, what, number in asked:
        came = node.came_of(number)
        if "error" not in came:
            facts.append(Fact(what, came["reply"]))
    # when the database goes back, and the owner goes on with what it has before it
    waiting = [(what, stale.order("act", what, on, 8.0)) for what in ACTIONS]
    asyncio.run(loss.strike())
    known = list(facts)
    stale.thaw()
    for what, number in waiting:
        _count(count, known, what, stale.came_of(number))
    # then nobody is told what contradicts it
    dice.shuffle(turns)
    for node, what in turns:
        fact = _count(count, facts, what, node.came_of(node.order("act", what, on, 8.0)))
        if fact is not None:
            facts.append(fact)
    count.trials += 1
    # the next trial has slots in common with this one
    asyncio.run(_accept(running.url))


async def _accept(url: str) -> None:
    operator = SqlJournal(url)
    await operator.open()
    await operator.raise_incarnation()
    await operator.close()


def _count(count: Count, known: list[Fact], what: str, came: dict[str, Any]) -> Fact | None:
    if "error" in came:
        count.errors[came["error"]] += 1
        return None
    fact = Fact(what, came["reply"])
    count.add(known, fact)
    return fact


@pytest.mark.parametrize("trials", TRIALS)
def test_a_restore_around_a_frozen_owner(trials: int, journal_url: str, loss: Loss) -> None:
    """Given an owner that slept through a takeover and a restore, then nobody is told what contradicts another."""
    count = Count("frozen", _SEED)
    with nodes(journal_url, 3, settings=msgspec.structs.replace(SETTINGS, session_seconds=2.0)) as running:
        for trial in range(trials):
            frozen(count, Random(_SEED + trial), running, loss, f"{trial}-")  # noqa: S311 - a trial
    count.judge()
