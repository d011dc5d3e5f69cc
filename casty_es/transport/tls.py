"""The listening side of TLS: a connection counts as a stranger's from its first byte on, not only once TLS is there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from ssl import SSLContext
from typing import cast

from casty_es.background import Errands
from casty_es.transport.channel import Channel
from casty_es.transport.limits import Limits


class Doors:
    """Makes the protocol of each new connection, which becomes a channel's once TLS is there."""

    def __init__(self, accept: Callable[[], Channel], ssl: SSLContext, limits: Limits) -> None:
        self._accept = accept
        self._ssl = ssl
        self._limits = limits
        self._upgrades = Errands()

    def open(self) -> asyncio.Protocol:
        """Make the protocol of a new connection."""
        return _Door(self._accept(), self._begin)

    async def wait_closed(self) -> None:
        """Wait until no connection is half inside."""
        await self._upgrades.settled()

    def _begin(self, transport: asyncio.Transport, channel: Channel) -> None:
        self._upgrades.begin(self._upgrade(transport, channel), name="casty-tls")

    async def _upgrade(self, transport: asyncio.Transport, channel: Channel) -> None:
        try:
            secure = await asyncio.get_running_loop().start_tls(
                transport,
                channel,
                self._ssl,
                server_side=True,
                ssl_handshake_timeout=self._limits.handshake_seconds,
                ssl_shutdown_timeout=self._limits.close_seconds,
            )
        except OSError as error:  # ssl.SSLError and TimeoutError are such
            channel.heard = not isinstance(error, ConnectionError)  # one that only left may have said nothing
            channel.abort(f"failed its TLS handshake: {error!r}")
            channel.connection_lost(error)
            return
        # It may have been closed meanwhile, by either side; asyncio does not tell a protocol that waits for TLS.
        if secure is None or transport.is_closing():
            channel.connection_lost(None)
        else:
            channel.secured(secure)


class _Door(asyncio.Protocol):
    """What the bytes belong to until TLS takes them over, which is at the next turn of the event loop."""

    def __init__(self, channel: Channel, begin: Callable[[asyncio.Transport, Channel], None]) -> None:
        self._channel = channel
        self._begin = begin

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count the connection in, and begin with TLS."""
        plain = cast("asyncio.Transport", transport)
        plain.pause_reading()
        self._channel.securing = True
        self._channel.connection_made(plain)
        self._begin(plain, self._channel)

    def connection_lost(self, exc: Exception | None) -> None:
        """Count it out again, if it did not even last until then."""
        self._channel.connection_lost(exc)
