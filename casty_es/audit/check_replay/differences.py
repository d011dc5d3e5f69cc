"""What comes of folding every log with the installed code, and where two states differ first."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Final

import msgspec

DIFFERENCES_PER_SLOT: Final = 25
"""After so many the check of a slot ends: a change that breaks one log of a kind mostly breaks them all."""

_LONGEST: Final = 60  # characters of a value: a state may hold a user's
_NOTHING: Final = msgspec.UNSET


class Problem(StrEnum):
    """What is wrong, in a word."""

    QUARANTINED = "quarantined"  # the installed code cannot read an event, or what stands in place of cut ones
    SNAPSHOT = "snapshot"  # folding the events gives another state than the stored one
    ALIVE = "alive"  # folding the events says otherwise than the directory whether the entity exists
    MISSING = "missing"  # events are not there, and no snapshot stands in their place


class Difference(msgspec.Struct, frozen=True):
    """One log that the installed code does not make the same of.

    Attributes
    ----------
    slot : int
        The slot.
    position : int | None
        Where in the slot; ``None`` if it is about no record that is there.
    entity : int
        The entity's number.
    kind, name, key : str
        What it is called; the key is empty but for keys of a map.
    sequence : int | None
        At which of its events.
    problem : Problem
        What, in a word.
    text : str
        What, in a sentence.
    """

    slot: int
    position: int | None
    entity: int
    kind: str
    name: str
    key: str
    sequence: int | None
    problem: Problem
    text: str


class SlotReplay(msgspec.Struct):
    """What came of one slot.

    Attributes
    ----------
    entities, events : int
        How many were folded.
    snapshots : int
        How many snapshots were compared with what was folded.
    unread_snapshots : int
        How many were not, because the installed code does not read their version.
    differences : list[Difference]
        At most ``DIFFERENCES_PER_SLOT``; with as many, the rest of the slot was not looked at.
    """

    slot: int
    entities: int = 0
    events: int = 0
    snapshots: int = 0
    unread_snapshots: int = 0
    differences: list[Difference] = []

    @property
    def full(self) -> bool:
        """Whether the check of the slot ended early."""
        return len(self.differences) >= DIFFERENCES_PER_SLOT


class ReplayReport(msgspec.Struct):
    """What came of a check.

    Attributes
    ----------
    slots, entities, events, snapshots : int
        How many of each were looked at.
    unread_snapshots : int
        How many snapshots were not compared, because the installed code does not read their version.
    differences : list[Difference]
        What is not the same, by slot and entity.
    notes : list[str]
        What to know of it.
    seconds : float
        How long it took.
    """

    slots: int = 0
    entities: int = 0
    events: int = 0
    snapshots: int = 0
    unread_snapshots: int = 0
    differences: list[Difference] = []
    notes: list[str] = []
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether everything is the same."""
        return not self.differences

    @property
    def events_per_second(self) -> float:
        """How fast it was."""
        return self.events / self.seconds if self.seconds else 0.0

    def add(self, result: SlotReplay) -> None:
        """Count a slot."""
        self.slots += 1
        self.entities += result.entities
        self.events += result.events
        self.snapshots += result.snapshots
        self.unread_snapshots += result.unread_snapshots
        self.differences += result.differences
        if result.full:
            self.notes.append(
                f"The check of slot {result.slot} ended after {len(result.differences)} differences: there may be more."
            )


def first_difference(stored: str, folded: str) -> str:
    """Return where the text of a stored state differs first from that of a folded one.

    Examples
    --------
    >>> first_difference('{"value":5,"exists":true}', '{"value":6,"exists":true}')
    'value: stored 5, folded 6'
    >>> first_difference('{"line":[["a",1]]}', '{"line":[["a",1],["b",2]]}')
    'line[1]: stored nothing, folded ["b",2]'
    >>> first_difference('{"value": 5}', '{"value":5}')
    'the same values, written differently from byte 9 on'
    """
    try:
        found = _compared(msgspec.json.decode(stored), msgspec.json.decode(folded), "")
    except (msgspec.MsgspecError, RecursionError, ValueError):
        return "the stored text is not JSON that can be read"
    if found is None:
        pairs = zip(stored.encode(), folded.encode(), strict=False)
        same = next((at for at, (one, other) in enumerate(pairs) if one != other), min(len(stored), len(folded)))
        return f"the same values, written differently from byte {same} on"
    return found


def _compared(stored: Any, folded: Any, path: str) -> str | None:
    if isinstance(stored, dict) and isinstance(folded, dict):
        for key in [*stored, *(key for key in folded if key not in stored)]:
            below = f"{path}.{key}" if path else str(key)
            found = _compared(stored.get(key, _NOTHING), folded.get(key, _NOTHING), below)
            if found is not None:
                return found
        return None
    if isinstance(stored, list) and isinstance(folded, list):
        for index in range(max(len(stored), len(folded))):
            one = stored[index] if index < len(stored) else _NOTHING
            other = folded[index] if index < len(folded) else _NOTHING
            found = _compared(one, other, f"{path}[{index}]")
            if found is not None:
                return found
        return None
    if type(stored) is type(folded) and stored == folded:
        return None
    return f"{path or 'the state'}: stored {_shown(stored)}, folded {_shown(folded)}"


def _shown(value: Any) -> str:
    if value is _NOTHING:
        return "nothing"
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
