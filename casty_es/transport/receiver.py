"""What stands behind a channel: first whoever does the handshake, then whoever speaks the frames."""

from __future__ import annotations

from typing import Protocol

__all__ = ["Greeter", "Receiver"]


class Receiver(Protocol):
    """What stands behind an authenticated channel."""

    def received(self, message: bytes | bytearray) -> None:
        """Take a whole message."""

    def writable(self) -> None:
        """Learn that the transport takes more, after it did not."""

    def lost(self, reason: str) -> None:
        """Learn that the channel is closed; called once."""


class Greeter(Receiver, Protocol):
    """What stands behind a channel until it is authenticated."""

    def connected(self) -> None:
        """Learn that bytes can flow."""

    def opened(self) -> None:
        """Learn that the WebSocket is there; messages may be sent."""
