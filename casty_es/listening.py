"""Where a node listens, and at which address others reach it.

1. Who says nothing is reached where this host meets the others: at the address that the connection to Postgres shows,
   or beside the SQLite file, where a socket leads to the node from every network of the machine.
2. Where there is no such address (the database is on this host) or there can be no socket, the node listens at the
   loopback address, and whoever cannot reach it there says so (``cluster/reach.py``).
3. A host, an address or TLS that was asked for is taken at its word: then there is no socket, and the port has TLS.
"""

from __future__ import annotations

import asyncio
from ipaddress import ip_address
from pathlib import Path
from ssl import SSLContext
from typing import Final

from casty_es.addresses import LOOPBACK, is_loopback, is_wildcard, joined
from casty_es.arguments import Place
from casty_es.assembly import NodeParts
from casty_es.errors import ConfigurationError
from casty_es.journal.port import EventJournal
from casty_es.journal.sql import SqlJournal
from casty_es.leases import lock_files
from casty_es.leases.postgres_session import PostgresLeaseSession
from casty_es.printing import log_of
from casty_es.transport import sockets
from casty_es.transport.keyring import Keyring
from casty_es.transport.websocket import WebSocketListener, listen

_LOG: Final = log_of("casty_es.node")


async def begin_to_listen(
    node: NodeParts, place: Place, journal: EventJournal, keyring: Keyring, ssl: SSLContext | None
) -> WebSocketListener:
    """Open the port of a node, and what else leads to it; tell its parts where others reach it.

    Raises ``ConfigurationError`` if nobody can listen there, or nobody could reach the node there, and
    ``JournalError`` if the journal's connection could not be opened, to see which address it has.
    """
    own = await _own_host(node) if place.host is None or is_wildcard(place.host) else None
    listener = node.listener = await _listener(node, place.host or own or LOOPBACK, place.port, keyring, ssl)
    host, port = listener.address
    if ssl is None and not is_loopback(host):
        _LOG.warning(
            "The node listens at %s:%d without TLS: what is said there can be read on the way, not changed. Give "
            "ssl= (casty-es node: --tls-cert, --tls-key), or keep the network to those who may read it.",
            host,
            port,
        )
    if isinstance(place.advertise, tuple):
        address = joined(*place.advertise)
    else:
        address = joined(place.advertise or _reached_at(host, own), port)
    node.advertise(address)
    file = journal.file if isinstance(journal, SqlJournal) else None
    if file is not None and place.host is None and place.advertise is None and ssl is None and sockets.AVAILABLE:
        await _listen_beside(node, listener, await asyncio.to_thread(file.resolve))
    return listener


async def _listener(
    node: NodeParts, host: str, port: int, keyring: Keyring, ssl: SSLContext | None
) -> WebSocketListener:
    try:
        return await listen(host, port, service=node.service, identity=node.identity, secret=keyring, ssl=ssl)
    except (OSError, UnicodeError) as error:
        raise ConfigurationError(
            f"Nobody can listen at {joined(host, port)}: {getattr(error, 'strerror', None) or error}. Nothing was "
            f"started. Give a free port and an address of this machine, or port 0."
        ) from error


async def _own_host(node: NodeParts) -> str | None:
    """Return the address of this host that the connection to the database shows, if it is one for others."""
    session = await node.owner.leases.session()
    return session.own_host if isinstance(session, PostgresLeaseSession) else None


def _reached_at(host: str, own: str | None) -> str:
    if not is_wildcard(host):
        return host
    if own is not None and ip_address(own).version == ip_address(host).version:
        return own
    raise ConfigurationError(
        f"A node that listens at {host} listens at every address of its host, and others have to know one of them. "
        f"Nothing was started. Give it with advertise= or CASTY_ES_ADVERTISE."
    )


async def _listen_beside(node: NodeParts, listener: WebSocketListener, database: Path) -> None:
    await node.owner.leases.session()  # with its lock, the socket's name is this node's
    path = lock_files.socket_file(database, node.identity.node_id)
    try:
        await listener.serve_at(path, lock_files.lock_mode(database, database))
    except OSError as error:
        _LOG.info(
            "Node %s is reached at %s only, because there can be no socket at %s: %s",
            node.identity.node_id,
            joined(*listener.address),
            path,
            error,
        )
