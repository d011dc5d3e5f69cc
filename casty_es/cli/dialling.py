"""Asking nodes one by one, each where it is written down: as an operator looks at them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final
from uuid import uuid4

from casty_es.access import parse_token
from casty_es.cli.where import Where
from casty_es.errors import PeerError, PeerLostError
from casty_es.journal.port import NodeRow
from casty_es.leases import lock_files
from casty_es.transport.identity import Identity
from casty_es.transport.port import Dialer
from casty_es.transport.websocket import WebSocketDialer
from casty_es.transport.wire import GetTopology, Topology

# Long enough for a busy node; one that needs longer keeps its callers waiting, too.
_ANSWER_SECONDS: Final = 2.0


@contextlib.asynccontextmanager
async def dialler(where: Where, secret: bytes | None, file: Path | None) -> AsyncIterator[Dialer]:
    """Yield the way to nodes as the user said it; with the secret of the journal, if that was read.

    Beside the journal's file, if it is one, nodes may have sockets.
    """
    known = parse_token(where.token) if where.token is not None else where.secret or secret or b""
    dialer = WebSocketDialer(
        Identity(system=where.system, node_id=f"client-{uuid4()}", role="client"),
        known,
        ssl=where.tls,
        socket_of=None if file is None or where.tls else lock_files.sockets_beside(file),
    )
    try:
        yield dialer
    finally:
        await dialer.close()


async def ask(dialer: Dialer, row: NodeRow) -> Topology | PeerError:
    """Ask a node for the cluster as it sees it; give why there is no answer of that node."""
    if not row.address:
        return PeerLostError("it has no address", sent=False)
    try:
        async with asyncio.timeout(_ANSWER_SECONDS):
            link = await dialer.link(row.address, row.node_id)
            answer = await link.request(GetTopology())
    except PeerError as error:
        return error
    except TimeoutError:
        return PeerLostError(f"{row.address} does not answer in {_ANSWER_SECONDS:g} s", sent=False)
    return answer if isinstance(answer, Topology) else PeerLostError(f"it answers {answer}", sent=False)
