"""What stands behind a channel: first whoever does the handshake, then whoever speaks the frames."""

from __future__ import annotations

from typing import Protocol

__all__ = ["Greeter", "Receiver"]


class Receiver(Protocol):
    """What stands behind an authenticated channel."""

    def received(self, message: bytes | bytearray) -> None:
        """A whole message has come."""

    def writable(self) -> None:
        """The transport takes more, after it did not."""

    def lost(self, reason: str) -> None:
        """The channel is closed; called once."""


class Greeter(Receiver, Protocol):
    """What stands behind a channel until it is authenticated."""

    def connected(self) -> None:
        """The bytes can flow."""

    def opened(self) -> None:
        """The WebSocket is there; messages may be sent."""
