"""What an owner asks of a lease.

The lock chooses who should write; the log decides who may (every append names its predecessor). So a lease that is lost
unnoticed costs time, never data.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

__all__ = ["Lease", "LeaseManager"]


class Lease(Protocol):
    """The right to write, held until it is released or lost."""

    @property
    def lost(self) -> asyncio.Future[str]:
        """A future that gets the reason when the lease is lost."""
        ...

    async def release(self) -> None:
        """Give the right back. Releasing a lost lease does nothing."""
        ...


class LeaseManager(Protocol):
    """Where leases come from."""

    async def try_acquire(self) -> Lease | None:
        """Give the lease, or ``None`` while another process holds it.

        Raises
        ------
        JournalUnavailableError
            It cannot be found out who holds it.
        """
        ...
