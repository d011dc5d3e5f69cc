"""Whether the nodes that run can be reached: from here, and by each other."""

from __future__ import annotations

import asyncio
from typing import Final

from casty_es.cli.dialling import ask, dialler
from casty_es.cli.reaching import living
from casty_es.cli.where import Where
from casty_es.errors import CastyError, PeerError
from casty_es.journal.port import NodeRow
from casty_es.journal.sql import SqlJournal
from casty_es.leases.checks import Check

_ADVICE: Final = (
    "Let such a node say where others reach it, with advertise= or CASTY_ES_ADVERTISE, or open the way to its port. If "
    "nodes use TLS, or a secret or a name of their own, give this command the same."
)


async def examined(journal: SqlJournal, where: Where) -> Check:
    """Return the check of the nodes that live."""
    try:
        rows = [row for row in await journal.nodes() if row.address]
        alive = await living(journal, rows, where.session_url) if rows else set()
        missing = await _missing(journal, where, [row for row in rows if row.node_id in alive])
    except CastyError as error:
        return Check("nodes", ok=False, found=f"they could not be asked: {error}", required=False)
    well = f"{len(alive)} alive, reached from here and by each other" if alive else "none is alive"
    return Check("nodes", not missing, "; ".join(missing) or well, _ADVICE, required=False)


async def _missing(journal: SqlJournal, where: Where, rows: list[NodeRow]) -> list[str]:
    """Return who cannot be reached, from where."""
    if not rows:
        return []
    async with dialler(where, where.secret or await journal.secret(), journal.file) as dialer:
        answers = await asyncio.gather(*(ask(dialer, row) for row in rows))
    known = {row.node_id: row for row in rows}
    found = []
    for row, answer in zip(rows, answers, strict=True):
        if isinstance(answer, PeerError):
            found.append(f"{_told(row)} cannot be reached from here: {answer}")
        else:
            found += [
                f"node {row.node_id} cannot reach {_told(known[node_id])}"
                for node_id in answer.unreached
                if node_id in known
            ]
    return found


def _told(row: NodeRow) -> str:
    return f"node {row.node_id} at {row.address} (process {row.pid} on host {row.host})"
