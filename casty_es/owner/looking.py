"""Commands that look before they are decided: repeats, and those with an idempotency key, look into the journal.

1. While a command looks, what comes for its entity later waits, in order: a withdrawal must not overtake its request.
   Looks themselves run side by side.
2. What was found is answered from its events. A request that is found to stand in a line is answered from the state: it
   holds what it was granted, or waits, or is lost. It never enters twice.
3. An earlier attempt under this epoch is in the pending table until its outcome is known, and is joined there. One
   under an older epoch was committed before this epoch's lease record, or never. So what a look does not find is not
   there, unless retention has cut events of the entity from where it looks: then nobody can say, and nothing is done.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Collection
from functools import partial
from typing import Final, TypeAlias

from casty_es.background import Errands
from casty_es.errors import CastyError, ConfigurationError, IdempotencyConflictError
from casty_es.journal.port import EntityName, EventJournal
from casty_es.owner.entity import Entity
from casty_es.owner.pending import Behind, Pending, Stage
from casty_es.owner.ports import Commands, Node
from casty_es.owner.repeats import cut_away, look_before_acting, look_up_key
from casty_es.owner.slot import Slot
from casty_es.printing import log_of
from casty_es.verdicts import behind_another, left_the_line, not_searched

_LOG: Final = log_of("casty_es.repeats")

_Look: TypeAlias = Callable[[Pending], Awaitable[None]]


class Looks:
    """The looks on their way, and what waits behind them."""

    def __init__(self, journal: EventJournal, commands: Commands, node: Node) -> None:
        self._journal = journal
        self._commands = commands
        # By entity what waits for a look, its own or another one's. The owner asks it at every command.
        self.held: dict[EntityName, deque[Pending]] = {}
        self._looking: set[Pending] = set()
        self._slots: dict[EntityName, Slot] = {}
        self._errands = Errands(node.ended)

    def hold(self, name: EntityName, entity: Entity | None, pending: Pending, look: _Look | None = None) -> None:
        """Let a command wait for its own look, which may be another one than usual, or for those before it.

        Where the entity was forgotten since they came, it looks once that is read again and all are taken in anew.
        """
        self.held.setdefault(name, deque()).append(pending)
        if entity is None:
            return
        self._slots[name] = entity.slot
        pending.looks = pending.looks or look is not None
        if pending.looks and pending not in self._looking:
            self._looking.add(pending)
            self._errands.begin(self._look(entity, pending, look or partial(self._usual, entity)), name="casty-look")

    def release(self, name: EntityName) -> Collection[Pending]:
        """Hold nothing of an entity any more, and return what was held, in order; looks that are on their way go on."""
        self._slots.pop(name, None)
        return self.held.pop(name, ())

    @staticmethod
    def join(first: Pending, pending: Pending, enter: Callable[[], None]) -> None:
        """Let a command share the outcome of an attempt that is open, or wait until it can be said whose the key is."""
        # Without a key the same id is the same command. Under a key the id is made of it (``keyed_command_id``).
        if first.idempotency_key is None or first.same_operation(pending):
            first.joined += (pending,)
        elif first.stage is Stage.ARRIVED:  # it is looking: the key may be another one's, and this one's, too
            first.joined += (Behind.of(enter),)
        elif pending.repeat_after is not None:  # it may have been done before, which only a look can tell
            pending.fail_alone(behind_another(first.idempotency_key))
        else:
            pending.fail_alone(
                IdempotencyConflictError(
                    f"The idempotency key {first.idempotency_key!r} belongs to another operation on this entity, which "
                    f"is being done. Nothing was done. Use a key of its own for each operation."
                )
            )

    @staticmethod
    def last_word(pending: Pending, reply: object) -> object:
        """Return what a request that was found in the journal is told, by the answer of the state."""
        if pending.cut and (reply is None or reply is False):
            return cut_away(pending)
        if reply is None:
            return left_the_line()
        return reply

    async def _usual(self, entity: Entity, pending: Pending) -> None:
        by_key = pending.idempotency_key is not None and await look_up_key(self._journal, entity, pending)
        if not by_key and pending.repeat_after is not None:
            await look_before_acting(self._journal, entity, pending)

    async def _look(self, entity: Entity, pending: Pending, look: _Look) -> None:
        try:
            await look(pending)
        except Exception as error:  # noqa: BLE001 - it is the caller's to see
            if not isinstance(error, CastyError):
                _LOG.exception("Looking for a command failed")
            if not isinstance(error, CastyError) or isinstance(error, ConfigurationError):
                error = not_searched(error)
            pending.fail(error)
        pending.looks = False
        self._looking.discard(pending)
        self._advance(entity.name)

    def _advance(self, name: EntityName) -> None:
        held = self.held.get(name)
        # In order of arrival: one that has looked waits for those before it that have not.
        while held and held[0] not in self._looking:
            pending = held.popleft()
            if not held:
                del self.held[name], self._slots[name]
            if not pending.settled:
                self._commands.turn(name, pending)

    def lose(self, slots: Collection[Slot]) -> None:
        """Let everything go on whose slot is owned no more: it is refused when its turn comes."""
        for name in [name for name, slot in self._slots.items() if slot in slots]:
            held = self.held.pop(name)
            del self._slots[name]
            for pending in held:
                pending.looks = False
                if not pending.settled:
                    self._commands.turn(name, pending)

    async def settled(self) -> None:
        """Wait until nothing looks any more."""
        await self._errands.settled()
