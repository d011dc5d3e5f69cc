"""A command on its way: who asked, what became of it so far, and what its caller is told when time is up.

Commands with the same timeout run out of time in the order in which they came, so only the first of them needs a timer.
One for each command would be set and cancelled again within milliseconds, at a cost that an increment feels.
"""

from __future__ import annotations

import asyncio
import enum
from collections import OrderedDict
from collections.abc import Callable
from itertools import takewhile
from typing import Any, Final

import msgspec

from casty_es.background import looked_at
from casty_es.domain.decider import Command, Query
from casty_es.owner.slot import Slot
from casty_es.verdicts import Evidence, out_of_time, still_in_line

# Programs use a few timeouts. For one that computes another timeout for each call, a line is no dearer than a timer.
_LINES: Final = 16


class Stage(enum.IntEnum):
    """How far a command came."""

    ARRIVED = 0  # not decided yet: it can still be dropped without a trace
    DECIDED = 1  # its events are in a batch, or its answer waits for a proof
    IN_LINE = 2  # its request is committed and stands in a line


class Pending(msgspec.Struct, eq=False):
    """One command and the future of its caller."""

    command: Command
    command_id: bytes  # the id under which its events are recorded, 16 bytes
    future: asyncio.Future[Any]  # gets the reply, or the error
    # The pending table, by command id: a repeat of the command joins it there while its outcome is open.
    table: dict[bytes, Pending]
    shards: int = 0  # the number of shards that the caller's handle has; 0 for one who knows that it is recorded
    local: bool = False  # whether a query may be answered without a proof that this owner is still the owner
    # For a repeat: the position of the slot after which the first attempt may stand in the journal.
    repeat_after: int | None = None
    # The slot that it is addressed to; without one, a query that anybody who can read the journal may answer.
    slot: Slot | None = None
    term: int = 0  # the term that it is addressed to, the only one under which it is decided
    idempotency_key: str | None = None  # the caller's own name for the operation
    metadata: str | None = None  # what the caller said of itself with ``audit_context``, as JSON text
    looks: bool = False  # whether it has to look into the journal before it is decided
    found: bool = False  # whether it looked, and found that its request was made: it is answered from the state
    # Whether it looked and retention had cut what it would have found: only a state that knows its request tells.
    cut: bool = False
    joined: tuple[Pending, ...] = ()  # other attempts at it that came while its outcome was open, and are told the same
    stage: Stage = Stage.ARRIVED

    def resolve(self, reply: object) -> None:
        """Tell the caller, unless it went away. The outcome is known: the command leaves the table."""
        self._leave()
        if not self.future.done():
            self.future.set_result(reply)
        for repeat in self.joined:
            repeat.resolve(reply)

    def fail(self, error: BaseException) -> None:
        """Tell the caller an error, unless it went away. The command leaves the table."""
        self._leave()
        self.fail_alone(error)
        for repeat in self.joined:
            repeat.fail(error)

    def fail_alone(self, error: BaseException) -> None:
        """Tell an error to this caller only: another attempt has the command's place in the table."""
        if not self.future.done():
            self.future.set_exception(error)
            looked_at(self.future)

    @property
    def settled(self) -> bool:
        """Whether the command's outcome is known."""
        return self.table.get(self.command_id) is not self

    def same_operation(self, other: Pending) -> bool:
        """Return whether another attempt asks for the same: all but the names of who asks."""
        return self.command.essence() == other.command.essence()

    def settle(self, reply: object) -> None:
        """Tell the caller a reply, or raise to it what is an exception."""
        if isinstance(reply, BaseException):
            self.fail(reply)
        else:
            self.resolve(reply)

    def misses(self, slot: Slot) -> bool:
        """Return whether it is addressed to another slot, or to another term than the one the slot is held under."""
        return self.slot is not None and (self.slot is not slot or self.term != slot.term)

    @property
    def awaited(self) -> bool:
        """Whether anybody waits for the outcome."""
        return not self.future.done() or any(not repeat.future.done() for repeat in self.joined)

    def abandoned(self) -> bool:
        """Return whether everybody who asked went away before anything was decided; then the command never happens."""
        # What ``awaited`` says, without the call: each command comes through here more than once.
        if not self.future.done() or (self.joined and self.awaited):
            return False
        self._leave()
        for repeat in self.joined:
            repeat.passed()
        return True

    def passed(self) -> None:
        """Learn that the attempt that this one joined will not be done; nobody waits for either."""

    @property
    def behind(self) -> bool:
        """Whether another operation has its key and is not decided, so that it has not begun itself."""
        first = self.table.get(self.command_id, self)
        return first is not self and self not in first.joined

    def _leave(self) -> None:
        # One that joined another attempt, or was refused before, must not take that attempt's place with it.
        if self.table.get(self.command_id) is self:
            del self.table[self.command_id]

    def dropped(self) -> bool:
        """Drop the command whose caller went away, and tell whether that was before anything was decided.

        One that was refused is not dropped: whoever sent it may have sent it again. Nor is one that joined another
        attempt at the same command, which may go on without it.
        """
        if self.behind:
            return self.future.cancelled()
        return self.stage is Stage.ARRIVED and self.repeat_after is None and not self.settled and self.abandoned()

    def time_out(self) -> None:
        """Tell the caller that its time is up, and what that means for its command.

        The command stays in the table until whoever has it in hand lets go of it.
        """
        if self.future.done():
            return
        what = type(self.command).__name__
        # The attempt that this one repeats, or itself.
        first = self if self.behind else self.table.get(self.command_id, self)
        if first.stage is Stage.IN_LINE:
            self.fail_alone(still_in_line(what))
            return
        in_doubt = first.stage is Stage.DECIDED or bool(first.joined)
        self.fail_alone(
            out_of_time(Evidence(what, self.command_id, in_doubt, changes=not isinstance(self.command, Query)))
        )


class Line:
    """The commands that wait for one timeout, in the order of their deadlines, of which the first is given."""

    __slots__ = ("_loop", "_timer", "_waiting", "kept")

    def __init__(self, loop: asyncio.AbstractEventLoop, deadline: float) -> None:
        self._loop = loop
        self._waiting: dict[Pending, float] = {}
        self._timer: asyncio.TimerHandle | None = loop.call_at(deadline, self._ring, deadline)
        self.kept = True

    def add(self, pending: Pending, deadline: float) -> None:
        """Tell a command's caller when its time is up. No deadline is before the last one's."""
        self._waiting[pending] = deadline
        if self._timer is None:
            self._timer = self._loop.call_at(deadline, self._ring, deadline)

    def leave(self, pending: Pending) -> None:
        """Forget a command that nobody waits for any more."""
        self._waiting.pop(pending, None)
        if not self._waiting and not self.kept:
            self.drop()

    def drop(self) -> None:
        """Keep nothing for further commands: when the last one has left, nothing is left of the line."""
        self.kept = False
        if self._timer is not None and not self._waiting:
            self._timer.cancel()
            self._timer = None

    def _ring(self, until: float) -> None:
        until = max(until, self._loop.time())
        for pending, _ in list(takewhile(lambda one: one[1] <= until, self._waiting.items())):
            del self._waiting[pending]
            pending.time_out()
        first = next(iter(self._waiting.values()), None)
        self._timer = None if first is None else self._loop.call_at(first, self._ring, first)


class Deadlines:
    """The lines of one gateway, by timeout; the least recently made one goes first."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._lines: OrderedDict[float, Line] = OrderedDict()

    def line(self, timeout: float, deadline: float) -> Line:
        """Return the line for a timeout, to which a command with this deadline is added now."""
        line = self._lines.get(timeout)
        if line is None:
            line = self._lines[timeout] = Line(self._loop, deadline)
            if len(self._lines) > _LINES:
                self._lines.popitem(last=False)[1].drop()
        return line

    def close(self) -> None:
        """Keep no timer beyond those that somebody waits for."""
        while self._lines:
            self._lines.popitem()[1].drop()


class Behind(Pending, kw_only=True):
    """No command, but the place of one behind another operation under its key, of which is not known whose the key is.

    Attributes
    ----------
    enter : Callable[[], None]
        Takes the command in once that operation has an outcome, or will have none.
    """

    enter: Callable[[], None]

    @classmethod
    def of(cls, enter: Callable[[], None]) -> Behind:
        """Return one that nobody waits for."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        future.cancel()
        return cls(Query(), b"", future, {}, enter=enter)

    def resolve(self, reply: object) -> None:  # noqa: ARG002 - whatever it was, it is another one's
        """Take the command in: the other operation was done."""
        self.passed()

    def fail(self, error: BaseException) -> None:  # noqa: ARG002 - as above
        """Take the command in: the other operation was not done, or nobody knows."""
        self.passed()

    def passed(self) -> None:
        """Take the command in, once: the other operation was given up, and what it found afterwards is nobody's."""
        enter, self.enter = self.enter, _do_nothing
        enter()


def _do_nothing() -> None:
    pass


class Marker(Pending):
    """No command, but a place in the order of commands: ``reached`` is set when everything before it is settled."""

    reached: asyncio.Event = msgspec.field(default_factory=asyncio.Event)

    @classmethod
    def new(cls) -> Marker:
        """Return one that nobody has reached."""
        return cls(Query(), b"", asyncio.get_running_loop().create_future(), {})

    def resolve(self, reply: object) -> None:
        """Everything before is in the journal."""
        super().resolve(reply)
        self.reached.set()

    def fail(self, error: BaseException) -> None:
        """Settle it: what was before came to nothing, so that is known too."""
        super().resolve(error)
        self.reached.set()

    def abandoned(self) -> bool:
        """Count as reached, and do not decide it again: what was before was thrown away."""
        if not self.future.done():
            self.resolve(None)
        return True
