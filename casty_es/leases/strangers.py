"""Sessions that hold the locks of slots and are no node.

An advisory lock asks for no privilege: whoever may connect can take one, and a slot whose lock is taken has no owner
for as long as that session lasts. Nothing that is written is harmed by it; who it is can be said.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

from casty_es.journal.sql import SqlJournal
from casty_es.leases.lease_connection import node_key

NODES: Final = "SELECT node_id FROM casty_nodes"

STRANGERS: Final = """
    WITH locks AS MATERIALIZED (
        SELECT pid, objid::int AS key FROM pg_locks
        WHERE locktype = 'advisory' AND objsubid = 2 AND granted
        AND classid::int = coalesce($1::int, to_regclass('casty_events')::oid::int)
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    )
    SELECT l.key, l.pid, a.usename::text, a.application_name, host(a.client_addr), a.backend_start IS NOT NULL
    FROM locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid
    WHERE l.key >= 0 AND l.pid NOT IN (SELECT n.pid FROM locks n WHERE n.key = ANY ($2::int[]))
    ORDER BY l.pid, l.key"""
"""With the first half of the keys, or ``NULL`` for the usual one, and the presences of all nodes (``keys_of``)."""

_NAMED: Final = 3


class Stranger(NamedTuple):
    """A session that is no node and holds locks of slots."""

    pid: int  # of the server's process
    role: str  # who it says that it is
    application: str
    address: str  # where it comes from, in words
    slots: tuple[int, ...]  # what it holds

    @property
    def told(self) -> str:
        """Who it is, in words."""
        # Whoever connects chooses the application's name; repr leaves no character in it that a terminal would obey.
        return (
            f"process {self.pid} of the server, which is no node (role {self.role!r}, application "
            f"{self.application!r}, {self.address})"
        )


def keys_of(rows: Iterable[Sequence[Any]]) -> list[int]:
    """Return the keys of the presences of the nodes that are written down (``NODES``); what is no id has none."""
    return [node_key(node_id) for (node_id,) in rows if isinstance(node_id, str)]


def strangers_in(rows: Iterable[Sequence[Any]]) -> list[Stranger]:
    """Return who holds locks of slots, from the rows of ``STRANGERS``."""
    found: dict[int, Stranger] = {}
    for slot, pid, role, application, address, seen in rows:
        where = f"from {address}" if address else "over a Unix socket" if seen else "from where this role may not see"
        known = found.get(pid) or Stranger(pid, role or "?", application or "", where, ())
        found[pid] = known._replace(slots=(*known.slots, slot))
    return list(found.values())


async def strangers_of(journal: SqlJournal) -> list[Stranger]:
    """Return who holds locks of a journal's slots, by their usual keys; nobody in a file."""
    if journal.file is not None:
        return []
    return strangers_in(await journal.query(STRANGERS, None, keys_of(await journal.query(NODES))))


def told_strangers(strangers: Sequence[Stranger]) -> str:
    """Return who holds how many slots' locks."""
    named = "; ".join(f"{one.told} holds {len(one.slots)}" for one in strangers[:_NAMED])
    more = f"; and {len(strangers) - _NAMED} more sessions" if len(strangers) > _NAMED else ""
    return f"{named}{more}"
