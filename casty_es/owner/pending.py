"""A command on its way: who asked, what became of it so far, and what its caller may be told when time is up."""

from __future__ import annotations

import asyncio
import enum
from typing import Any

import msgspec

from casty_es.background import looked_at
from casty_es.domain.decider import Command, Query
from casty_es.owner.slot import Slot
from casty_es.verdicts import Evidence, out_of_time, still_in_line


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
        return True

    def _leave(self) -> None:
        # One that joined another attempt, or was refused before, must not take that attempt's place with it.
        if self.table.get(self.command_id) is self:
            del self.table[self.command_id]

    def dropped(self) -> bool:
        """Drop the command whose caller went away, and tell whether that was before anything was decided.

        One that was refused is not dropped: whoever sent it may have sent it again. Nor is one that joined another
        attempt at the same command, which may go on without it.
        """
        return self.stage is Stage.ARRIVED and self.repeat_after is None and not self.settled and self.abandoned()

    def time_out(self) -> None:
        """Tell the caller that its time is up, and what that means for its command.

        The command stays in the table until whoever has it in hand lets go of it.
        """
        if self.future.done():
            return
        what = type(self.command).__name__
        first = self.table.get(self.command_id, self)  # the attempt that this one repeats, or itself
        if first.stage is Stage.IN_LINE:
            self.fail_alone(still_in_line(what))
            return
        in_doubt = first.stage is Stage.DECIDED or bool(first.joined)
        self.fail_alone(
            out_of_time(Evidence(what, self.command_id, in_doubt, changes=not isinstance(self.command, Query)))
        )


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
