"""What an owner asks of leases.

A node opens one session and keeps it for as long as it lives: the session is what others see of its being alive. Under
it the node holds slots. The lock chooses who should write; the log decides who may (every append names its
predecessor). So a lease that is lost unnoticed costs time, never data.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Protocol


class LeaseSession(Protocol):
    """A node's presence, and the slots it holds; all of them end together when the session is lost."""

    @property
    def lost(self) -> asyncio.Future[str]:
        """A future that gets the reason when the session is lost, and is cancelled when it is closed."""

    def stands(self) -> bool:
        """Return whether the session is known to have lasted until now; one that is not ends.

        A process that was stopped finds out by this before it hears of it.
        """

    async def acquire(self, slots: Collection[int]) -> set[int]:
        """Take the slots that nobody else holds; give those that are held now, those held before included.

        Where it cannot be found out, ``JournalUnavailableError``: none is held that was not held before.
        """

    async def release(self, slots: Collection[int]) -> None:
        """Give slots back. Releasing what is not held does nothing."""

    @property
    def lasts(self) -> bool:
        """Whether a process keeps its session for as long as it lives: then one that has none is gone for good."""

    async def living(self, names: Collection[str]) -> set[str]:
        """Return which of these nodes and processes have a session now, or ``JournalUnavailableError``."""

    async def strangers(self) -> dict[int, str]:
        """Return who holds slots and is no node, per slot and in words, or ``JournalUnavailableError``."""

    async def close(self) -> None:
        """End the session and give everything back. Closing a lost session does nothing."""

    def abandon_after_fork(self) -> None:
        """In a forked child: let go of what was inherited, without a word to anybody and without unlocking."""


class LeaseManager(Protocol):
    """Where sessions come from."""

    async def open(self, node_id: str, process: str = "") -> LeaseSession:
        """Open the session of a node, under its name and under the id of its process, as far as that is another.

        Raises
        ------
        NodeInUseError
            A living process has a session under this name.
        ConfigurationError
            Leases cannot work here: a pooler, a network file system, too small a lock table.
        JournalUnavailableError
            The database cannot be reached, or the lock file not be used.
        """
