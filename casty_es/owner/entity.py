"""An entity in memory: what the journal has committed of it, and what was decided on top of that."""

from __future__ import annotations

from typing import Any, Final

from casty_es import runtime
from casty_es.commands import has_warrant
from casty_es.domain.decider import WAITING, Event, Kind, Query, Warranted
from casty_es.domain.upkeep import Redact, Seal
from casty_es.errors import InvalidArgumentError, NotDoneError
from casty_es.format.codec import concluded, encode_event
from casty_es.journal.port import EntityName
from casty_es.owner.fingerprint import fingerprint
from casty_es.owner.pending import Pending
from casty_es.owner.slot import Slot
from casty_es.replay import with_binding

__all__ = ["Entity", "Entry"]

_SALT_BYTES: Final = 16


class Entry:
    """A command that was decided: its events, the state after them, and what its caller is told after the commit."""

    __slots__ = (
        "encoded",
        "entity",
        "epoch",
        "events",
        "hash",
        "metadata",
        "new_salt",
        "pending",
        "reply",
        "salt",
        "size",
        "state",
    )

    def __init__(
        self,
        entity: Entity,
        pending: Pending,
        events: tuple[Event, ...],
        encoded: list[tuple[str, int, str]],
        state: Any,
        reply: Any,
    ) -> None:
        self.entity = entity
        self.epoch = entity.slot.epoch
        self.pending = pending
        self.events = events
        self.encoded = encoded
        self.state = state
        self.reply = reply
        self.salt = entity.salt
        self.new_salt = b""  # of the entity from here on, if this redacts it
        self.metadata = pending.metadata  # of the first event
        if events and pending.idempotency_key is not None:
            self.metadata = fingerprint(pending.command, entity.salt, pending.metadata)
        self.hash = b""
        self.size = sum([len(payload) for _, _, payload in encoded])


class Entity:
    """One entity of a slot that this node owns.

    ``state`` and ``sequence`` are speculative: everything decided so far. ``committed`` and its companions are what
    the journal holds. Both are values, so keeping both costs nothing.
    """

    __slots__ = (
        "alive",
        "binding",
        "committed",
        "committed_hash",
        "committed_sequence",
        "id",
        "in_batch",
        "kind",
        "name",
        "recorded",
        "salt",
        "salted_from",
        "sequence",
        "slot",
        "snapshot_bytes",
        "state",
        "tail_bytes",
        "tail_events",
    )

    def __init__(self, name: EntityName, kind: Kind[Any, Any, Any], slot: Slot, id_: int, salt: bytes) -> None:
        self.name = name
        self.kind: Final = kind
        self.slot = slot
        self.id = id_
        self.salt = salt
        self.salted_from = 0  # the sequence of its last redaction: earlier events had another salt
        self.recorded = False  # whether the directory has it
        self.alive = False  # what the directory says of it
        self.state: Any = kind.initial
        self.sequence = 0
        self.committed: Any = kind.initial
        self.committed_sequence = 0
        self.committed_hash = b""
        self.in_batch = 0  # entries that are not committed yet
        self.tail_events = 0
        self.tail_bytes = 0
        self.snapshot_bytes = 0
        self.binding: str | None = None  # what the next event is to say of a snapshot

    def decide(self, pending: Pending) -> Entry | None:
        """Decide a command on the speculative state; return the entry to commit, or ``None`` when nothing happens.

        A command with an idempotency key that has nothing to do leaves an event all the same, which holds its reply.
        Not one that stands in line: its request is recorded, and the reply is not known yet.

        Raises
        ------
        CastyError
            The command is refused. Nothing changed.
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
        state = self.state
        encoded = []
        for event in events:
            encoded.append(encode_event(event))
            state = kind.evolve(state, event)
        entry = Entry(self, pending, events, encoded, state, reply)
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
