"""The fast loop over the events of several entities, and where it stops.

An event that follows the one before it and that the installed code folds costs little here. Any other ends the loop and
is looked at by hand (``slot.py``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from casty_es.domain.decider import Kind
from casty_es.format.codec import decode_event, encode_state
from casty_es.journal.port import DirectoryRow, TailEvent

__all__ = ["Passed", "Stream", "fold"]

_NEVER: Final = 1 << 63


class Passed(NamedTuple):
    """A snapshot that was passed, and the text that folding gives in its place."""

    stream: Stream
    sequence: int
    folded: str


class Stream:
    """An entity's events, as far as they are folded.

    Attributes
    ----------
    row : DirectoryRow
        The entity.
    state, sequence
        The state, and the sequence that it is of.
    next : int
        The sequence of the next snapshot.
    broken : bool
        The rest cannot be folded; that was told.
    differs : bool
        A snapshot of it differed; that was told, and the later ones would say the same again.
    error : Exception | None
        Why the last event could not be folded.
    """

    __slots__ = ("_due", "broken", "differs", "error", "kind", "next", "row", "sequence", "state")

    def __init__(self, row: DirectoryRow, kind: Kind[Any, Any, Any], due: Iterable[int]) -> None:
        self.row = row
        self.kind = kind
        self._due = sorted(due, reverse=True)
        self.broken = self.differs = False
        self.error: Exception | None = None
        self.begin(kind.initial, row.salted_from)

    def begin(self, state: Any, sequence: int) -> None:
        """Begin with a state; snapshots of what lies before it cannot be compared."""
        self.state: Any = state
        self.sequence = sequence
        while self._due and self._due[-1] < sequence:
            self._due.pop()
        self.next = self._due[-1] if self._due else _NEVER

    def passed(self) -> Passed:
        """Return what the snapshot here must be, and go on to the next one."""
        self._due.pop()
        self.next = self._due[-1] if self._due else _NEVER
        return Passed(self, self.sequence, encode_state(self.kind, self.state))


def fold(streams: Mapping[int, Stream], page: Sequence[TailEvent], start: int, passed: list[Passed]) -> int:
    """Fold events from an index on; return the index of the first that must be looked at by hand."""
    current, stream, evolve, decode = 0, None, None, decode_event
    for index in range(start, len(page)):
        id_, sequence, type_, version, payload = page[index]
        if id_ != current:
            current, stream = id_, streams[id_]
            evolve = stream.kind.evolve
        if stream is None or evolve is None or stream.broken or sequence <= stream.sequence:
            continue
        if sequence != stream.sequence + 1:
            return index
        try:
            stream.state = evolve(stream.state, decode(type_, version, payload))
        except Exception as error:  # noqa: BLE001 - whatever the code does, it is told, and the other logs are folded
            stream.error = error
            return index
        stream.sequence = sequence
        if sequence == stream.next:
            passed.append(stream.passed())
    return len(page)
