"""Where an export stands: the cut that it is of, and how far it has come. Both are written down, to go on with."""

from __future__ import annotations

from typing import Final

import msgspec

from casty_es.audit.lines import JournalLine, Line

FORMAT: Final = "casty_es export 1"
"""A whole journal, which can be imported."""

EVENTS_FORMAT: Final = "casty_es events 1"
"""Some events of a journal, to be looked at and not to be imported."""


class Filter(msgspec.Struct, frozen=True):
    """Which events are exported; ``None`` does not matter.

    Attributes
    ----------
    kind, name : str | None
        Of the structure.
    after, until : int | None
        Later than this time and not later than that one, in microseconds since 1970.
    """

    kind: str | None = None
    name: str | None = None
    after: int | None = None
    until: int | None = None


class Section:
    """The parts of a slot, in their order."""

    HEAD: Final = 0
    ENTITIES: Final = 1
    SEALS: Final = 2
    EVENTS: Final = 3
    SNAPSHOTS: Final = 4


class Place(msgspec.Struct, frozen=True):
    """How far an export has come."""

    slot: int = -1  # the slot that comes next, or that it is in; -1 before the first line
    section: int = Section.HEAD  # the part of the slot that it is in
    after: tuple[int, int] = (0, 0)  # the last row of that part: an id, a position, or an entity and sequence
    # What was cut and set aside when the slot was begun, as a digest: if it changes, the slot is read again.
    upkeep: str = ""
    retired: tuple[int, ...] = ()  # entities of the slot whose old salt is in the file
    # How many events to ask for next: it is here so that whoever goes on divides them into the same chunks.
    events: int = 16
    slots: int = 0  # how many slots were begun
    digest: bytes = bytes(32)  # see ``after_line``
    records: int = 0  # how many there were
    entities: int = 0
    snapshots: int = 0
    seals: int = 0
    damaged: int = 0  # how many rows could not be written down


class Cut(msgspec.Struct, frozen=True):
    """What is exported: the journal, and the last position and hash (hexadecimal) of every slot that has records."""

    journal: JournalLine
    heads: dict[int, tuple[int, str]]
    filter: Filter | None = None

    @property
    def records(self) -> int:
        """How many positions there are."""
        return sum(position for position, _ in self.heads.values())


class Page(msgspec.Struct):
    """Some lines, and the place behind them."""

    lines: list[Line]
    place: Place
