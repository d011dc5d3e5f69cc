"""An entity's life, from the first command for it until it leaves memory.

| | what there is of it | how it goes on |
|---|---|---|
| cold | its log, if anything ever happened to it | a command arrives: activating |
| activating | a ``Cold``: commands that wait while the log is read (``activation.py``) | ``warm``, or ``quarantine`` |
| quarantined | an error for those who waited, nothing else | cold: who comes next has the log read again |
| warm | an ``Entity`` of which everything is committed | ``decide``: speculative; unused, ``passivate``: cold |
| speculative | events that are decided and not committed | ``commit``: warm; the append came to nothing: ``forget`` |

A speculative entity is decided on further, so that one append carries many decisions. If the append fails, nothing is
undone: the entity is forgotten, and read again from the journal, which alone knows (``docs/explanation/safety.md``,
H11). So is every entity of a slot that is lost. What is passivated or forgotten is cold; nothing else remembers it.

An entity that is cold is not an entity that is not there: whether it exists is a question for its state.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Container
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from casty_es import runtime
from casty_es.commands import has_warrant
from casty_es.domain.catalog import CATALOG
from casty_es.domain.decider import WAITING, Event, Kind, Query, Warranted
from casty_es.domain.upkeep import Redact, Seal
from casty_es.errors import EntityQuarantinedError, InvalidArgumentError, NotDoneError
from casty_es.format.codec import concluded, encode_event
from casty_es.journal.port import EntityName, StoredEntity
from casty_es.owner.fingerprint import fingerprint
from casty_es.owner.pending import Pending
from casty_es.owner.slot import Slot
from casty_es.printing import log_of
from casty_es.replay import with_binding

_LOG: Final = log_of("casty_es.activation")

_SALT_BYTES: Final = 16

# How many of the least recently used entities are looked at, at most, to find one that may leave memory.
_PASSIVATION_TRIES: Final = 16

_NOWHERE: Final = Slot(-1)


class Cold(msgspec.Struct, eq=False):
    """An entity that is not in memory: the commands that wait for it, and what was found out about it so far."""

    name: EntityName
    pendings: list[Pending] = []
    batch: list[Cold] = []  # the one that reads it now
    asked: int = 0  # how many of them were there when the journal was asked
    again: bool = False  # whether it is read for the second time
    recorded: bool = False  # whether its structure is
    populated: bool = False  # whether the journal has entities of its structure, although it is not recorded
    slot: Slot = _NOWHERE  # until it is located
    stored: StoredEntity | None = None
    entity: Entity | None = None

    @property
    def shards(self) -> int:
        """The number of shards that its callers have; 0 when they know that it is recorded."""
        return max((pending.shards for pending in self.pendings), default=0)

    def writes(self) -> bool:
        """Return whether any of them may write."""
        return any(not isinstance(pending.command, Query) for pending in self.pendings)

    def begin(self, stored: StoredEntity | None) -> Entity:
        """Return the entity that its log is to be folded into; ``stored`` is what the directory has of it."""
        entity = Entity(self.name, CATALOG[self.name.kind], self.slot, 0, b"")
        if stored is not None:
            entity.id, entity.salt, entity.salted_from = stored.id, stored.salt or b"", stored.salted_from
            entity.recorded, entity.alive = True, stored.alive
        self.stored, self.entity = stored, entity
        return entity

    def quarantine(self, place: str, why: Exception, advice: str) -> None:
        """Refuse its commands: what is in the log at that place is not passed over, and nothing is decided without."""
        kind, name, key = self.name
        entity = f"{kind} {name!r}" + (f", key {key[2:]!r}" if key else "")
        _LOG.error("Quarantined %s at %s: %s", entity, place, why)
        self.entity = None
        self.fail(
            EntityQuarantinedError(
                f"The log of the {entity} cannot be read at {place}: {why} Nothing was changed; everything else goes "
                f"on. {advice}"
            )
        )

    def fail(self, error: BaseException) -> None:
        """Tell an error to all of them."""
        for pending in self.pendings:
            pending.fail(error)
        self.pendings = []


class Entry(msgspec.Struct, eq=False):
    """A command that was decided: its events, the state after them, and what its caller is told after the commit."""

    entity: Entity
    pending: Pending
    epoch: int  # the epoch that it was decided under, and is written under or not at all
    salt: bytes  # the entity's when it was decided, and from here on, if this redacts it
    state: Any
    reply: Any
    events: tuple[Event, ...] = ()
    encoded: list[tuple[str, int, str]] = []  # name, version and JSON of each event
    size: int = 0  # the characters of that JSON
    metadata: str | None = None  # that of the first event
    new_salt: bytes = b""
    hash: bytes = b""  # that of the last event, once it has one


@dataclass(slots=True, eq=False)
class Entity:
    """One entity of a slot that this node owns.

    ``state`` and ``sequence`` are speculative: everything decided so far. ``committed`` and its companions are what
    the journal holds. Both are values, so keeping both costs nothing.
    """

    name: EntityName
    kind: Kind[Any, Any, Any]
    slot: Slot
    id: int
    salt: bytes
    salted_from: int = 0  # the sequence of its last redaction: earlier events had another salt
    recorded: bool = False  # whether the directory has it
    alive: bool = False  # what the directory says of it
    state: Any = None
    sequence: int = 0
    committed: Any = None
    committed_sequence: int = 0
    committed_hash: bytes = b""
    in_batch: int = 0  # entries that are not committed yet
    tail_events: int = 0
    tail_bytes: int = 0
    snapshot_bytes: int = 0
    binding: str | None = None  # what the next event is to say of a snapshot

    def __post_init__(self) -> None:
        self.state = self.committed = self.kind.initial

    def warm(self) -> None:
        """Note that its log is folded to the end: what it is now is what is committed."""
        self.committed, self.committed_sequence = self.state, self.sequence

    def decide(self, pending: Pending) -> Entry | None:
        """Decide a command on the speculative state; return the entry to commit, or ``None`` when nothing happens.

        A command with an idempotency key that has nothing to do leaves an event all the same, which holds its
        reply. Not one that stands in line: its request is recorded, and the reply is not known yet. A command
        that is refused raises its error, and nothing changed.
        """
        kind = self.kind
        command = pending.command
        events: tuple[Event, ...]
        if type(command) is Seal:
            self._check_warrant(command, pending.command_id)
            if command.through < self.salted_from:
                raise NotDoneError("The entity was redacted meanwhile. Nothing was sealed, and nothing is to be cut.")
            events, reply = (command.sealed(),), None
        elif events := kind.decide(self.state, command):
            reply = kind.reply(command, events)
        elif pending.idempotency_key is None or isinstance(command, Query):
            return None
        else:
            reply = kind.answer(self.state, command)
            if reply is WAITING:
                return None
            events = (concluded(reply),)
        if type(command) is Redact:
            self._check_warrant(command, pending.command_id)
        state, encoded, size = self.state, [], 0
        for event in events:
            encoded.append(one := encode_event(event))
            size += len(one[2])
            state = kind.evolve(state, event)
        key, metadata = pending.idempotency_key, pending.metadata
        metadata = metadata if key is None else fingerprint(command, self.salt, metadata)
        entry = Entry(self, pending, self.slot.epoch, self.salt, state, reply, events, encoded, size, metadata)
        if type(command) is Redact:
            self._change_salt(entry)
        elif self.binding is not None:
            entry.metadata, self.binding = with_binding(entry.metadata, self.binding), None
        self.state = state
        self.sequence += len(events)
        return entry

    def _check_warrant(self, command: Warranted, command_id: bytes) -> None:
        """Refuse what came from another process and was not made by maintenance; this one's own has no warrant."""
        if command.warrant is not None and not has_warrant(command, self.salt, self.name, command_id):
            raise InvalidArgumentError(
                f"The warrant of a command {type(command).__name__!r} is not maintenance's. Nothing was done. Use "
                f"`casty-es retention` or `casty-es redact` with access to the database."
            )

    def _change_salt(self, entry: Entry) -> None:
        if not self.recorded:
            raise NotDoneError(
                f"The journal has nothing of this {self.name.kind} that could be redacted. Nothing was appended."
            )
        entry.new_salt = self.salt = runtime.unpredictable(_SALT_BYTES)
        self.binding = None
        self.salted_from = self.sequence + len(entry.events)

    def answer(self, pending: Pending, reply: object) -> Entry:
        """Return an entry without events: a reply that stands on what is decided, and leaves when that is committed."""
        return Entry(self, pending, self.slot.epoch, self.salt, self.state, reply)

    def commit(self, entry: Entry) -> None:
        """Note that an entry's events are in the journal."""
        self.in_batch -= 1
        if not entry.events:
            return
        self.recorded = True
        self.alive = self.kind.exists(entry.state)
        self.committed = entry.state
        self.committed_sequence += len(entry.events)
        self.committed_hash = entry.hash
        self.tail_events += len(entry.events)
        self.tail_bytes += entry.size
        # Not "in_batch == 0" alone: one that was forgotten meanwhile has entries that never come.
        assert self.in_batch or self.sequence == self.committed_sequence, "nothing open, so all of it is committed"


class Entities(OrderedDict[EntityName, Entity]):
    """The entities in memory, the least recently used first."""

    def passivate(self, most: int, held: Container[EntityName]) -> None:
        """Let the least recently used leave memory while there are more than so many.

        One stays on which something is decided that is not committed, or for which commands are ``held`` while one of
        them looks into the journal.
        """
        for _ in range(_PASSIVATION_TRIES):
            if len(self) <= most:
                return
            name, entity = self.popitem(last=False)
            if entity.in_batch or name in held:
                self[name] = entity

    def forget(self, slots: Collection[Slot]) -> None:
        """Drop every entity of some slots, with whatever is decided on it."""
        for name in [name for name, entity in self.items() if entity.slot in slots]:
            del self[name]

    def busy(self, slots: Collection[Slot]) -> Entity | None:
        """Return one of these slots on which something is decided that is not committed."""
        return next((entity for entity in self.values() if entity.in_batch and entity.slot in slots), None)
