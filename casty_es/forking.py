"""What a forked child does with descriptors that belong to its parent."""

from __future__ import annotations

import asyncio
import os


def let_go(descriptor: int) -> None:
    """Let a descriptor lead nowhere, without a word to whoever is at its other end.

    Closing it by the protocol would end what the parent has; keeping it open would keep it alive when the parent dies.
    The event loop's poller is shared with the parent, so the descriptor itself stays.
    """
    if descriptor < 0:
        return
    nowhere = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    try:
        os.dup2(nowhere, descriptor, inheritable=False)
    finally:
        os.close(nowhere)


def let_go_of_transport(transport: asyncio.BaseTransport | None) -> None:
    """Let go of a transport's socket."""
    socket = None if transport is None else transport.get_extra_info("socket")
    if socket is not None:
        let_go(socket.fileno())
