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


class _Held:
    """Who is there, and who holds which slot."""

    def __init__(self) -> None:
        self.sessions: dict[str, ProcessLeaseSession] = {}  # by the name of the node, and by the id of its process
        self.slots: dict[int, ProcessLeaseSession] = {}


_HELD: Final[WeakKeyDictionary[EventJournal, _Held]] = WeakKeyDictionary()


class ProcessLeaseSession:
    """A node among the nodes of one process. Setting ``lost`` from outside ends it, as losing a database would."""

    lasts = False

    def __init__(self, names: set[str], held: _Held) -> None:
        self._held = held
        self.lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        held.sessions.update(dict.fromkeys(names, self))
        self.lost.add_done_callback(self._end)

    def stands(self) -> bool:
        """Return whether the session is not closed."""
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

    async def living(self, names: Collection[str]) -> set[str]:
        """Return which nodes and processes have a session."""
        return set(names) & self._held.sessions.keys()

    async def strangers(self) -> dict[int, str]:
        """Return who holds slots and is no node: nobody can."""
        return {}

    async def close(self) -> None:
        """Give everything back."""
        self.lost.cancel()
        self._end(self.lost)

    def abandon_after_fork(self) -> None:
        """Do nothing: a forked child has a copy of everything, and nothing in it reaches the parent."""

    def _end(self, _lost: asyncio.Future[str]) -> None:
        for name in [name for name, session in self._held.sessions.items() if session is self]:
            del self._held.sessions[name]
        for slot in [slot for slot, session in self._held.slots.items() if session is self]:
            del self._held.slots[slot]


class ProcessLeaseManager:
    """Gives out leases within a process: the managers of one journal object know of each other."""

    def __init__(self, journal: EventJournal) -> None:
        self._journal = journal

    async def open(self, node_id: str, process: str = "") -> ProcessLeaseSession:
        """Open the session of a node."""
        held = _HELD.setdefault(self._journal, _Held())
        if node_id in held.sessions:
            raise NodeInUseError(
                f"A system of this process runs as node {node_id!r} already. Nothing was started. Close that one, or "
                f"give this one another node_id."
            )
        return ProcessLeaseSession({node_id, process or node_id}, held)
