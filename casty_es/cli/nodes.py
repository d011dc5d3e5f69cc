"""``casty-es nodes`` and ``casty-es slots``: who is there, and who holds what."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from casty_es.access import check_secrets
from casty_es.cli.common import FOUND, Json, dumps, say
from casty_es.cli.dialling import ask, dialler
from casty_es.cli.reaching import living, look
from casty_es.cli.table import Table, iso_time, short_time
from casty_es.cli.where import Where, takes_where
from casty_es.errors import ConfigurationError, JournalCorruptError
from casty_es.journal.damaged import damage_of
from casty_es.journal.port import NodeRow, SlotRow
from casty_es.journal.sql import SqlJournal
from casty_es.leases.strangers import Stranger, strangers_of, told_strangers
from casty_es.transport.wire import Topology


class Cluster(msgspec.Struct):
    """What was found out."""

    nodes: list[NodeRow]  # who is written down, or known to the node that was asked; the newest first
    slots: list[SlotRow]  # who is written down for each slot that anybody took
    alive: set[str]  # whose lease session lives
    answers: set[str]  # who answers at the address that is written down
    strangers: list[Stranger] = []  # who holds locks of slots and is no node, if the database was asked
    wrong: list[str] = []  # what cannot be read, or could not be asked
    damaged: bool = False  # whether ``casty_meta`` is


@takes_where
def nodes(*, where: Where, json: Json = False) -> None:
    """Show the nodes: who is alive, where it listens and whether it answers there, and how many slots it holds."""
    found = _look(where)
    held = Counter(slot.node_id for slot in found.slots)
    if json:
        rows = [_node(row, found, held[row.node_id]) for row in found.nodes]
        strangers = [one._asdict() for one in found.strangers]
        say(dumps({"nodes": rows, "strangers": strangers, "unreadable": found.wrong}))
        _end(found)
        return
    table = Table("nodes", ("node id", "address", "host", "pid>", "since", "slots>", "alive", "answers"))
    for row in found.nodes:
        alive, answers = row.node_id in found.alive, row.node_id in found.answers
        style = "" if alive and answers else "yellow" if alive else "red"
        since, words = short_time(row.started_at), (_yes(alive), _yes(answers))
        table.add(row.node_id, row.address, row.host, row.pid, since, held[row.node_id], *words, style=style)
    if found.nodes:
        table.print()
    say(_summary(found))
    if found.strangers:
        say(f"Locks of slots are held by others than nodes: {told_strangers(found.strangers)}.")
    _end(found)


@takes_where
def slots(
    *,
    where: Where,
    owner: Annotated[
        str | None, typer.Option("--owner", help="Only this node's slots; the beginning of its id will do.")
    ] = None,
    json: Json = False,
) -> None:
    """Show who holds which slot, under which epoch and since when. Slots that nobody ever took are left out."""
    found = _look(where)
    rows = [row for row in found.slots if row.node_id.startswith(owner or "")]
    if json:
        say(dumps({"slots": [_slot(row, found) for row in rows], "unreadable": found.wrong}))
        _end(found)
        return
    table = Table("slots", ("slot>", "owner", "epoch>", "address", "since", ""))
    for row in rows:
        alive = row.node_id in found.alive
        cells = (row.slot, row.node_id, row.epoch, row.address, short_time(row.since))
        table.add(*cells, "" if alive else "owner is gone", style="" if alive else "red")
    if rows:
        table.print()
    orphans = sum(row.node_id not in found.alive for row in rows)
    say(f"Slots with an owner written down: {len(rows)}; with one that is gone: {orphans}.")
    say(_summary(found))
    _end(found)


def _end(found: Cluster) -> None:
    """Say what cannot be read, and exit with that being found; do nothing if all could."""
    say(*(f"casty-es: {one}" for one in found.wrong), err=True)
    if found.wrong or found.damaged:
        raise typer.Exit(FOUND)


def _node(row: NodeRow, found: Cluster, held: int) -> dict[str, Any]:
    return {
        "node_id": row.node_id,
        "address": row.address,
        "host": row.host,
        "pid": row.pid,
        "since": iso_time(row.started_at),
        "slots": held,
        "alive": row.node_id in found.alive,
        "answers": row.node_id in found.answers,
    }


def _slot(row: SlotRow, found: Cluster) -> dict[str, Any]:
    return {
        "slot": row.slot,
        "owner": row.node_id,
        "epoch": row.epoch,
        "address": row.address,
        "since": iso_time(row.since),
        "owner_alive": row.node_id in found.alive,
    }


def _summary(found: Cluster) -> str:
    if not found.alive:
        return "No node is alive. The next one to start takes over every slot that it needs."
    silent = len(found.alive - found.answers)
    trouble = f" {silent} of them cannot be reached from here at the address written down." if silent else ""
    return f"Nodes alive: {len(found.alive)}.{trouble}"


def _yes(true: bool) -> str:  # noqa: FBT001 - a word for it
    return "yes" if true else "no"


def _look(where: Where) -> Cluster:
    if where.node is not None:
        return asyncio.run(_told_by(where, where.node))
    found, damaged = look(where.url, partial(_written, where))
    return msgspec.structs.replace(found, damaged=damaged)


async def _told_by(where: Where, node: tuple[str, int]) -> Cluster:
    """Ask the node that was named."""
    async with where.client(node) as client:
        topology = await client.topology()
    rows = [NodeRow(n.node_id, n.host, n.pid, n.address, n.started_at, n.started_at) for n in topology.nodes.values()]
    written = [SlotRow(o.slot, o.node_id, o.address, o.epoch, o.since) for o in topology.owners.values()]
    answered = await _dial_all(rows, where)
    return Cluster(rows, sorted(written, key=attrgetter("slot")), set(topology.nodes), set(answered))


async def _written(where: Where, journal: SqlJournal) -> Cluster:
    """Ask the nodes that the journal names, and else say what is written down."""
    rows, (written, others) = await journal.nodes(), await journal.slot_rows_and_others()
    found = Cluster(rows, written, set(), set(), await strangers_of(journal), _unreadable(rows, written, others))
    secret = where.secret
    if rows and secret is None and where.token is None:
        secret = await _secret(journal, found)
    answered: dict[str, Topology] = {}
    if rows and (secret is not None or where.token is not None):
        answered = await _dial_all(rows, where, secret, journal.file)
    found.answers = set(answered)
    if answered:
        told = next(iter(answered.values()))
        written = [SlotRow(o.slot, o.node_id, o.address, o.epoch, o.since) for o in told.owners]
        found.slots, found.alive = sorted(written, key=attrgetter("slot")), {node.node_id for node in told.nodes}
    elif rows or written:
        # Alive and unreachable from here, or gone: their lease sessions tell.
        try:
            found.alive = await living(journal, rows, where.session_url)
        except JournalCorruptError as error:
            found.wrong.append(f"Who is alive could not be found out. {error}")
    return found


async def _secret(journal: SqlJournal, found: Cluster) -> bytes | None:
    """Return the cluster's secret; ``None``, and what is wrong with it, where it is damaged."""
    try:
        secret = await journal.secret()
        check_secrets((secret,), "casty_secrets")
    except ConfigurationError as error:
        if error.__cause__ is not None:  # this role may not read it
            raise
        found.wrong.append(f"No node was asked. {error}")
        return None
    return secret


def _unreadable(nodes: Sequence[NodeRow], slots: Sequence[SlotRow], others: Sequence[SlotRow]) -> list[str]:
    wrong = [
        f"A row of {table} is none that a node writes: {damage}."
        for table, rows in (("casty_nodes", nodes), ("casty_slots", slots))
        for damage in map(damage_of, rows)
        if damage is not None
    ]
    if others:
        wrong.append(f"{len(others)} rows of casty_slots are of no slot that the journal has.")
    return wrong


async def _dial_all(
    rows: Iterable[NodeRow], where: Where, secret: bytes | None = None, file: Path | None = None
) -> dict[str, Topology]:
    """Ask every node at once; return what those say that answer under their own name."""
    listed = [row for row in rows if row.address]
    async with dialler(where, secret, file) as dialer:
        answers = await asyncio.gather(*(ask(dialer, row) for row in listed))
    return {
        row.node_id: answer
        for row, answer in zip(listed, answers, strict=True)
        if isinstance(answer, Topology) and row.node_id in {node.node_id for node in answer.nodes}
    }
