"""Those who hold something or stand in line: who is to be told, and whose lease runs out when.

1. A lease is a time of this owner's monotonic clock, never of the wall clock and never in the log. A new owner starts
   every lease afresh, because it cannot know when the holder last renewed.
2. When leases run out, one command per entity expires all of them together, so that no grant goes to a dead waiter.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
from collections.abc import Callable, Collection
from typing import Any, Final

from casty_es.actors.entity import Entity, Entry
from casty_es.actors.pending import Pending, Stage
from casty_es.actors.slot import Slot
from casty_es.domain.decider import WAITING, Command, Effects
from casty_es.journal.port import EntityName
from casty_es.verdicts import left_the_line

__all__ = ["Waiters"]

_LOG: Final = logging.getLogger("casty_es.leases")

# An expiry that the journal refused is tried again after this long.
_RETRY_SECONDS: Final = 1.0


class Waiters:
    """The live side of locks, semaphores and barriers.

    Parameters
    ----------
    lease_seconds : float
        How long a request lives without being renewed, in seconds.
    expire : Callable[[EntityName, Slot, tuple[str, ...]], asyncio.Future]
        Sends the command that ends requests; the future tells whether it was done.
    look_again : Callable[[EntityName], None]
        Brings an entity back into memory, which reconciles its waiters with its state.
    refusal : Callable[[Slot], Exception]
        What those are told who stand in a line of a slot that is owned no more.
    """

    def __init__(
        self,
        *,
        lease_seconds: float,
        expire: Callable[[EntityName, Slot, tuple[str, ...]], asyncio.Future[Any]],
        look_again: Callable[[EntityName], None],
        refusal: Callable[[Slot], Exception],
    ) -> None:
        self._lease_seconds = lease_seconds
        self._expire = expire
        self.look_again = look_again
        self._refusal = refusal
        self._lines: dict[EntityName, dict[str, Pending]] = {}
        self._slots: dict[EntityName, Slot] = {}
        self._closed = False
        self.in_line = 0  # how many callers stand in a line here
        self._deadlines: dict[str, tuple[float, EntityName, Slot]] = {}
        self._heap: list[tuple[float, str]] = []
        self._timer: asyncio.TimerHandle | None = None

    def wait(self, entity: Entity, pending: Pending) -> None:
        """Remember whom to tell when the request of this command is settled."""
        pending.stage = Stage.IN_LINE
        self._slots[entity.name] = entity.slot
        line = self._lines.setdefault(entity.name, {})
        self.in_line += _request(pending) not in line
        line[_request(pending)] = pending

    def apply(self, entity: Entity, state: Any, entry: Entry) -> None:
        """Carry out what an entry's events mean, now that they are committed; ``state`` is the one before them."""
        kind = entity.kind
        assert kind.effects is not None  # noqa: S101 - the writer asks for such kinds only
        for event in entry.events:
            effects: Effects = kind.effects(state, event)
            for request in effects.began:
                self._start(request, entity.name, entity.slot)
            for request in effects.ended:
                self._deadlines.pop(request, None)
            for request, reply in effects.settled:
                self._settle(entity.name, request, reply)
            state = kind.evolve(state, event)

    def renew(self, requests: tuple[str, ...]) -> None:
        """Give these requests a whole lease from now."""
        for request in requests:
            known = self._deadlines.get(request)
            if known is not None:
                self._start(request, known[1], known[2])

    def reconcile(self, entity: Entity) -> None:
        """Set leases and waiters right after an entity was read from the journal."""
        kind, state = entity.kind, entity.committed
        if kind.claims is None:
            return
        for request in kind.claims(state):
            if request not in self._deadlines:
                self._start(request, entity.name, entity.slot)
        for request, pending in list(self._lines.get(entity.name, {}).items()):
            reply = kind.answer(state, pending.command)
            if reply is not WAITING:
                self._settle(entity.name, request, left_the_line() if reply is None else reply)

    def names(self, slots: Collection[Slot]) -> list[EntityName]:
        """Give the entities of some slots at which somebody waits here."""
        return [name for name, its_slot in self._slots.items() if its_slot in slots]

    def lose(self, slots: Collection[Slot]) -> None:
        """Let no lease of these slots run out here any more: who owns them starts leases afresh, and has the lines."""
        for request in [request for request, known in self._deadlines.items() if known[2] in slots]:
            del self._deadlines[request]
        for name in self.names(slots):
            error = self._refusal(self._slots[name])
            for request in list(self._lines[name]):
                self._settle(name, request, error)

    def close(self) -> None:
        """Tell everybody who still waits that the request stands where it stood: this owner will not grant it."""
        self._closed = True
        self._heap.clear()
        self._deadlines.clear()
        if self._timer is not None:
            self._timer.cancel()
        self.lose(set(self._slots.values()))

    def _settle(self, name: EntityName, request: str, reply: object) -> None:
        line = self._lines.get(name)
        pending = line.pop(request, None) if line is not None else None
        if line is not None and not line:
            del self._lines[name], self._slots[name]
        if pending is not None:
            self.in_line -= 1
            pending.settle(reply)

    def _start(self, request: str, name: EntityName, slot: Slot, seconds: float | None = None) -> None:
        if self._closed:
            return
        deadline = asyncio.get_running_loop().time() + (self._lease_seconds if seconds is None else seconds)
        fresh = request not in self._deadlines
        self._deadlines[request] = (deadline, name, slot)
        if fresh:  # a renewed request keeps its place in the heap, and is put back when that comes up
            heapq.heappush(self._heap, (deadline, request))
            self._arm()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._heap and self._heap[0][1] not in self._deadlines:
            heapq.heappop(self._heap)
        if self._heap:
            self._timer = asyncio.get_running_loop().call_at(self._heap[0][0], self._ring)

    def _ring(self) -> None:
        now = asyncio.get_running_loop().time()
        due: dict[tuple[EntityName, Slot], list[str]] = {}
        while self._heap and self._heap[0][0] <= now:
            _, request = heapq.heappop(self._heap)
            known = self._deadlines.get(request)
            if known is None:
                continue
            deadline, name, slot = known
            if deadline > now:
                heapq.heappush(self._heap, (deadline, request))
            else:
                del self._deadlines[request]
                due.setdefault((name, slot), []).append(request)
        for (name, slot), requests in due.items():
            _LOG.info("The leases of %s on %s ran out", requests, name)
            self._expire(name, slot, tuple(requests)).add_done_callback(self._retry(name, slot, requests))
        self._arm()

    def _retry(self, name: EntityName, slot: Slot, requests: list[str]) -> Callable[[asyncio.Future[Any]], None]:
        epoch = slot.epoch

        def done(expired: asyncio.Future[Any]) -> None:
            if not expired.cancelled() and expired.exception() is not None and slot.epoch == epoch:
                _LOG.warning("Expiring %s on %s failed, trying again: %s", requests, name, expired.exception())
                for request in requests:
                    self._start(request, name, slot, _RETRY_SECONDS)

        return done


def _request(pending: Pending) -> str:
    command: Command = pending.command
    request: str = command.request  # type: ignore[attr-defined]  # only commands that can wait come here
    return request
