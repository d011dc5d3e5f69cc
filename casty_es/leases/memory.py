"""The lease of a journal in memory: nobody else can reach it, so it is always there."""

from __future__ import annotations

import asyncio

__all__ = ["ProcessLeaseManager"]


class ProcessLease:
    """A right that only the process itself can end."""

    def __init__(self) -> None:
        self.lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def release(self) -> None:
        """Nothing is held outside of the process."""


class ProcessLeaseManager:
    """Gives the lease to whoever asks."""

    async def try_acquire(self) -> ProcessLease:
        """Give the lease."""
        return ProcessLease()
