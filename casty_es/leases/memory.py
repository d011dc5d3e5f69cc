"""The leases of a journal that lives in this process: kept beside the journal, so that its systems are a cluster.

An aid for tests and trials: several systems over one ``InMemoryJournal`` hold their slots against each other, and what
one gives back another can take. Nothing survives the process.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Final
from weakref import WeakKeyDictionary

from casty_es.errors import JournalUnavailableError, NodeInUseError
from casty_es.journal.port import EventJournal

__all__ = ["ProcessLeaseManager"]


class _Held:
    """Who is there, and who holds which slot."""

    def __init__(self) -> None:
        self.sessions: dict[str, ProcessLeaseSession] = {}
        self.slots: dict[int, ProcessLeaseSession] = {}


_HELD: Final[WeakKeyDictionary[EventJournal, _Held]] = WeakKeyDictionary()


class ProcessLeaseSession:
    """A node among the nodes of one process. Setting ``lost`` from outside ends it, as losing a database would."""

    def __init__(self, node_id: str, held: _Held) -> None:
        self._node_id = node_id
        self._held = held
        self.lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        held.sessions[node_id] = self
        self.lost.add_done_callback(self._end)

    def stands(self) -> bool:
        """Tell whether the session is not closed."""
        return not self.lost.done()

    async def acquire(self, slots: Collection[int]) -> set[int]:
        """Take the slots that nobody else holds."""
        if self.lost.done():
            raise JournalUnavailableError("The lease session has ended. No slot is held. Open another session.")
        return {slot for slot in slots if self._held.slots.setdefault(slot, self) is self}

    async def release(self, slots: Collection[int]) -> None:
        """Give slots back."""
        for slot in slots:
            if self._held.slots.get(slot) is self:
                del self._held.slots[slot]

    async def living(self, node_ids: Collection[str]) -> set[str]:
        """Tell which nodes have a session."""
        return set(node_ids) & self._held.sessions.keys()

    async def close(self) -> None:
        """Give everything back."""
        self.lost.cancel()
        self._end(self.lost)

    def abandon_after_fork(self) -> None:
        """A forked child has a copy of everything; nothing in it reaches the parent."""

    def _end(self, _lost: asyncio.Future[str]) -> None:
        if self._held.sessions.get(self._node_id) is self:
            del self._held.sessions[self._node_id]
        for slot in [slot for slot, session in self._held.slots.items() if session is self]:
            del self._held.slots[slot]


class ProcessLeaseManager:
    """Gives out leases within a process.

    Parameters
    ----------
    journal : EventJournal
        The journal whose slots they are: managers of one journal object know of each other.
    """

    def __init__(self, journal: EventJournal) -> None:
        self._journal = journal

    async def open(self, node_id: str) -> ProcessLeaseSession:
        """Open the session of a node."""
        held = _HELD.setdefault(self._journal, _Held())
        if node_id in held.sessions:
            raise NodeInUseError(
                f"A system of this process runs as node {node_id!r} already. Nothing was started. Close that one, or "
                f"give this one another node_id."
            )
        return ProcessLeaseSession(node_id, held)
