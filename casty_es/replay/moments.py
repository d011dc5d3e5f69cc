"""What an entity would have answered: a query on its state as of a moment, a position or a sequence."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from casty_es.bounds import TAGS, Number
from casty_es.config import MAX_SLOTS
from casty_es.domain.catalog import kind_of
from casty_es.domain.decider import Query
from casty_es.errors import InvalidArgumentError, InvalidTypeError
from casty_es.journal.port import EntityName, EventJournal, Stored
from casty_es.replay.history import sequence_at_position, sequence_at_time
from casty_es.replay.reading import Unreadable
from casty_es.replay.state import state_so_far


class Then(msgspec.Struct, frozen=True, array_like=True):
    """A point in an entity's log: the last event up to a time, up to a position of its slot, or of a sequence."""

    time: Stored | None = None  # in microseconds since 1970
    position: Number | None = None  # of the entity's slot
    sequence: Number | None = None  # of the entity
    journal: Number = 0  # when the journal was made that a position belongs to, to notice another one; 0 for any


class Positions(msgspec.Struct, frozen=True, array_like=True, tag=TAGS.__getitem__):
    """How far every slot was committed at one moment, and when the journal was made."""

    journal: Number
    positions: Annotated[tuple[Number, ...], msgspec.Meta(max_length=MAX_SLOTS)]


async def read_positions(journal: EventJournal) -> Positions:
    """Return how far every slot is committed now."""
    meta = await journal.open()
    heads = await journal.heads(range(meta.slots))
    return Positions(meta.created_at, tuple(heads[slot].position for slot in range(meta.slots)))


async def answer_then(journal: EventJournal, name: EntityName, query: object, then: Then) -> Any:
    """Answer a query as its owner would have done then.

    Raises what :func:`state_at` does where the state of then cannot be read, ``InvalidTypeError`` for what is no
    query, and ``InvalidArgumentError`` for a point that does not exist, or belongs to another journal.
    """
    if not isinstance(query, Query):
        raise InvalidTypeError(f"{type(query).__name__} is no query: it cannot be asked of the past. Nothing was done.")
    state, _ = await state_then(journal, name, then)
    return kind_of(name.kind).answer(state, query)


async def state_then(
    journal: EventJournal, name: EntityName, then: Then, unreadable: list[Unreadable] | None = None
) -> tuple[Any, int]:
    """Return an entity's state at a point of its log, and the sequence that it is the state of.

    The first event on the way that cannot be read goes to ``unreadable``, and the state is the one before it;
    without that list it is an error.
    """
    if then.journal and then.journal != (await journal.open()).created_at:
        raise InvalidArgumentError("The cursor is of another journal. Nothing was read. Take one with d.cursor().")
    kind = kind_of(name.kind)
    [stored] = await journal.entities([name])
    if stored is None:
        if then.sequence:
            raise InvalidArgumentError(f"The {name.kind} {name.name!r} has no events. Nothing was read.")
        return kind.initial, 0
    return await state_so_far(journal, stored.id, kind, await sequence_then(journal, stored.id, then), unreadable)


async def sequence_then(journal: EventJournal, entity: int, then: Then) -> int:
    """Return the sequence of the last event up to a point of an entity's log, 0 if there is none."""
    if then.time is not None:
        return await sequence_at_time(journal, entity, then.time)
    if then.position is not None:
        return await sequence_at_position(journal, entity, then.position)
    _, last = await journal.bounds(entity)
    if then.sequence is None:
        return last
    if not 0 <= then.sequence <= last:
        raise InvalidArgumentError(f"There is no event {then.sequence}: the last one is {last}. Nothing was read.")
    return then.sequence
