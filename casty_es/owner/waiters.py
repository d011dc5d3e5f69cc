"""Those who hold something or stand in line: who is to be told, and whose lease runs out when.

1. A lease is a time of this owner's monotonic clock, never of the wall clock and never in the log. What is in the log
   is how many quarters of it passed without a renewal, from the second quarter on: with that the next owner begins. A
   renewal comes three times in a lease, so none of this is written while renewals arrive.
2. When leases run out, one command per entity expires all of them together, so that no grant goes to a dead waiter. So
   does one for all requests of a process that is gone (``deaths.py``).
3. Who could not be heard is not silent: for as long as the event loop or the process stood still, no lease ran.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import defaultdict
from collections.abc import Callable, Collection
from typing import Any, Final

import msgspec

from casty_es.domain.catalog import CATALOG
from casty_es.domain.decider import WAITING, Command, Effects
from casty_es.domain.requests import QUARTERS, NoteUnheard, Standing
from casty_es.journal.port import EntityName
from casty_es.owner.entity import Entity, Entry
from casty_es.owner.pending import Pending, Stage
from casty_es.owner.ports import Commands
from casty_es.owner.slot import Slot
from casty_es.printing import log_of
from casty_es.verdicts import left_the_line

_LOG: Final = log_of("casty_es.leases")

# An expiry that the journal refused is tried again after this long.
_RETRY_SECONDS: Final = 1.0

# The first one that is written down: a renewal comes after a third of a lease, and may be a little late.
_FIRST_NOTED: Final = 2

# A ring that comes later than half the time between two says that the event loop stood still. Most leases are many
# times as long; a thread that sleeps is woken up some milliseconds late on a busy machine.
_RINGS_PER_LEASE: Final = 10
_LONGEST_RING_SECONDS: Final = 1.0
_SHORTEST_RING_SECONDS: Final = 0.05


class _Lease(msgspec.Struct, eq=False):
    """The lease of one request."""

    name: EntityName
    slot: Slot
    process: str
    ends_at: float  # when it is over, if nobody renews it
    noted: int  # how many quarters of it are written down as passed without a renewal

    def next_at(self, quarter_seconds: float) -> float:
        """When there is something to do: the end, or something to write down before."""
        return self.ends_at - quarter_seconds * (QUARTERS - max(_FIRST_NOTED, self.noted + 1))


class Waiters:
    """The live side of locks, semaphores and barriers: a request lives for a lease without being renewed."""

    def __init__(self, lease_seconds: float, commands: Commands) -> None:
        self._lease_seconds = lease_seconds
        self._quarter_seconds = lease_seconds / QUARTERS
        self._commands = commands
        self._lines: dict[EntityName, dict[str, Pending]] = {}
        self._slots: dict[EntityName, Slot] = {}
        self._closed = False
        self.in_line = 0  # how many callers stand in a line here
        self._leases: dict[str, _Lease] = {}
        self._of_process: defaultdict[str, set[str]] = defaultdict(set)
        self._heap: list[tuple[float, str]] = []
        ring = min(lease_seconds / _RINGS_PER_LEASE, _LONGEST_RING_SECONDS)
        self._ring_seconds = max(ring, _SHORTEST_RING_SECONDS)
        self._timer: asyncio.TimerHandle | None = None

    def wait(self, entity: Entity, pending: Pending) -> None:
        """Remember whom to tell when the request of this command is settled."""
        pending.stage = Stage.IN_LINE
        self._slots[entity.name] = entity.slot
        line = self._lines.setdefault(entity.name, {})
        request = _request(pending)
        self.in_line += request not in line
        line[request] = pending
        self.renew((request,))  # who asks again has been heard

    def apply(self, entity: Entity, state: Any, entry: Entry) -> None:
        """Carry out what an entry's events mean, now that they are committed; ``state`` is the one before them."""
        kind = entity.kind
        assert kind.effects is not None  # the writer asks for such kinds only
        for event in entry.events:
            effects: Effects = kind.effects(state, event)
            state = kind.evolve(state, event)
            for request in effects.began:
                if request not in self._leases:  # a grant renews nothing
                    self._start(request, entity, state)
            for request in effects.ended:
                self._end(request)
            for request, reply in effects.settled:
                self._settle(entity.name, request, reply)

    def hear(self, name: EntityName, command: Command) -> None:
        """Renew the leases that a command renews, also while it has to wait: its sender has been heard."""
        renewed = CATALOG[name.kind].renewed
        if renewed is not None and (requests := renewed(command)):
            self.renew(requests)

    def renew(self, requests: tuple[str, ...]) -> None:
        """Give these requests a whole lease from now."""
        back: dict[tuple[EntityName, Slot], list[str]] = {}
        for request in requests:
            lease = self._leases.get(request)
            if lease is None:
                continue
            lease.ends_at = self._now() + self._lease_seconds
            if lease.noted:
                lease.noted = 0
                back.setdefault((lease.name, lease.slot), []).append(request)
        for (name, slot), heard in back.items():
            self._note(name, slot, heard, 0)

    def reconcile(self, entity: Entity) -> None:
        """Set leases and waiters right after an entity was read from the journal."""
        kind, state = entity.kind, entity.committed
        if kind.claims is None:
            return
        for request in kind.claims(state):
            if request not in self._leases:
                self._start(request, entity, state)
        for request, pending in list(self._lines.get(entity.name, {}).items()):
            reply = kind.answer(state, pending.command)
            if reply is not WAITING:
                self._settle(entity.name, request, left_the_line() if reply is None else reply)

    def processes(self) -> list[str]:
        """Return the processes whose requests stand here."""
        return list(self._of_process)

    def bury(self, processes: Collection[str]) -> None:
        """End every request of processes that are gone, together: none of them is granted what another one held."""
        _LOG.info("Processes %s are gone, and with them their requests", sorted(processes))
        self._expire([one for process in sorted(processes) for one in self._of_process.get(process, ())], died=True)

    def names(self, slots: Collection[Slot]) -> list[EntityName]:
        """Return the entities of some slots at which somebody waits here."""
        return [name for name, its_slot in self._slots.items() if its_slot in slots]

    def lose(self, slots: Collection[Slot]) -> None:
        """Let no lease of these slots run out here any more: who owns them starts leases afresh, and has the lines."""
        # Two owners that count the same lease would end it at two times; only the one who may write it does.
        for request in [request for request, lease in self._leases.items() if lease.slot in slots]:
            self._end(request)
        for name in self.names(slots):
            error = self._slots[name].gone()
            for request in list(self._lines[name]):
                self._settle(name, request, error)

    def close(self) -> None:
        """Tell everybody who still waits that the request stands where it stood: this owner will not grant it."""
        self._closed = True
        self._heap.clear()
        self._leases.clear()
        self._of_process.clear()
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

    def _now(self) -> float:
        """Return the time, after no lease has run while nobody could be heard."""
        now = asyncio.get_running_loop().time()
        late = 0.0 if self._timer is None else now - self._timer.when()
        if late > self._ring_seconds / 2:
            # Those who wait elsewhere have to find their way back first.
            afresh = late > self._lease_seconds / QUARTERS
            for lease in self._leases.values():
                lease.ends_at = now + self._lease_seconds if afresh else lease.ends_at + late
            self._ring_at(now + self._ring_seconds)
        return now

    def _start(self, request: str, entity: Entity, state: Any) -> None:
        kind = entity.kind
        known = (None if kind.standings is None else kind.standings(state).get(request)) or Standing()
        seconds = self._quarter_seconds * (QUARTERS - known.unheard)
        self._put(request, _Lease(entity.name, entity.slot, known.process, self._now() + seconds, known.unheard))

    def _put(self, request: str, lease: _Lease) -> None:
        if self._closed:
            return
        self._leases[request] = lease
        if lease.process:
            self._of_process[lease.process].add(request)
        at = lease.next_at(self._quarter_seconds)
        heapq.heappush(self._heap, (at, request))  # a renewed one keeps its place, and is put back when that comes up
        if self._timer is None or at < self._timer.when():
            self._arm()

    def _end(self, request: str) -> None:
        lease = self._leases.pop(request, None)
        if lease is not None and lease.process:
            left = self._of_process[lease.process]
            left.discard(request)
            if not left:
                del self._of_process[lease.process]

    def _arm(self) -> None:
        while self._heap and self._heap[0][1] not in self._leases:
            heapq.heappop(self._heap)
        if self._heap:
            latest = asyncio.get_running_loop().time() + self._ring_seconds
            self._ring_at(min(self._heap[0][0], latest))
        else:
            self._ring_at(None)

    def _ring_at(self, when: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if when is None else asyncio.get_running_loop().call_at(when, self._ring)

    def _ring(self) -> None:
        now = self._now()
        over: set[str] = set()
        unheard: dict[tuple[EntityName, Slot, int], list[str]] = {}
        while self._heap and self._heap[0][0] <= now:
            _, request = heapq.heappop(self._heap)
            lease = self._leases.get(request)
            if lease is None:
                continue
            if lease.ends_at <= now:
                over.add(request)
                continue
            if lease.next_at(self._quarter_seconds) <= now:
                passed = QUARTERS - 1 - int((lease.ends_at - now) / self._quarter_seconds)
                lease.noted = max(_FIRST_NOTED, lease.noted + 1, passed)
                unheard.setdefault((lease.name, lease.slot, lease.noted), []).append(request)
            heapq.heappush(self._heap, (lease.next_at(self._quarter_seconds), request))
        for (name, slot, quarters), requests in unheard.items():
            self._note(name, slot, requests, quarters)
        self._expire(over, died=False)
        self._arm()

    def _give(self, name: EntityName, slot: Slot, command: Command) -> asyncio.Future[Any]:
        """Give an entity a command of the owner's own; the future tells whether it was done."""
        pending = self._commands.own(slot, command)
        self._commands.again(name, pending)
        return pending.future

    def _note(self, name: EntityName, slot: Slot, requests: list[str], quarters: int) -> None:
        """Write down what was counted. If that fails the next owner counts more than it had to, which costs time."""
        self._give(name, slot, NoteUnheard(tuple(requests), quarters))

    def _expire(self, requests: Collection[str], *, died: bool) -> None:
        due: dict[tuple[EntityName, Slot], dict[str, _Lease]] = {}
        for request in requests:
            lease = self._leases[request]
            due.setdefault((lease.name, lease.slot), {})[request] = lease
            self._end(request)
        for (name, slot), leases in due.items():
            _LOG.info("%s of %s on %s", "The process died" if died else "The leases ran out", [*leases], name)
            expire = CATALOG[name.kind].expire
            assert expire is not None  # only kinds that have it know leases
            expired = self._give(name, slot, expire(tuple(leases), died))
            expired.add_done_callback(self._retry(slot, leases))

    def _retry(self, slot: Slot, leases: dict[str, _Lease]) -> Callable[[asyncio.Future[Any]], None]:
        epoch = slot.epoch

        def done(expired: asyncio.Future[Any]) -> None:
            if not expired.cancelled() and expired.exception() is not None and slot.epoch == epoch:
                _LOG.warning("Expiring %s failed, trying again: %s", [*leases], expired.exception())
                for request, lease in leases.items():
                    lease.ends_at, lease.noted = self._now() + _RETRY_SECONDS, QUARTERS - 1
                    self._put(request, lease)

        return done


def _request(pending: Pending) -> str:
    command: Command = pending.command
    request: str = command.request  # type: ignore[attr-defined]  # only commands that can wait come here
    return request
