"""The one fold: events into states, for time travel, ``check-replay``, ``verify`` and retention.

An event that follows the one before it and that the installed code folds costs little here. Any other ends the loop,
and whoever reads decides what it means.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Generic, NamedTuple, TypeVar

from casty_es.domain.decider import Kind
from casty_es.format.codec import decode_event, encode_state
from casty_es.journal.port import TailEvent

NEVER: Final = 1 << 63
"""A sequence, or a position, that nothing has."""


class Fold:
    """An entity's events, as far as they are folded, and its snapshots that are to come.

    ``due`` are the sequences of those, and ``next`` is the next of them. ``error`` is why the last event could not
    be folded; if the fold is ``broken``, nor can the rest.
    """

    __slots__ = ("_due", "broken", "error", "evolve", "kind", "next", "sequence", "state")

    def __init__(
        self, kind: Kind[Any, Any, Any], due: Iterable[int] = (), sequence: int = 0, state: Any = None
    ) -> None:
        self.kind = kind
        self.evolve: Callable[[Any, Any], Any] = kind.evolve
        self._due = sorted(due, reverse=True)
        self.error: Exception | None = None
        self.broken = False
        self.begin(kind.initial if state is None else state, sequence)

    def begin(self, state: Any, sequence: int) -> None:
        """Begin with a state; snapshots of what lies before it cannot be compared."""
        self.state: Any = state
        self.sequence = sequence
        while self._due and self._due[-1] < sequence:
            self._due.pop()
        self.next = self._due[-1] if self._due else NEVER

    def passed(self) -> str:
        """Return what the snapshot here must be, as text, and go on to the next one."""
        self._due.pop()
        self.next = self._due[-1] if self._due else NEVER
        return encode_state(self.kind, self.state)


F = TypeVar("F", bound=Fold)


class Passed(NamedTuple, Generic[F]):
    """A snapshot that was passed, and the text that folding gives in its place."""

    fold: F
    sequence: int
    folded: str


def fold(
    folds: Mapping[int, F], page: Sequence[TailEvent], start: int = 0, passed: list[Passed[F]] | None = None
) -> int:
    """Fold events of several entities from an index on; return the index of the first that could not be folded."""
    current, one, evolve, decode = 0, None, None, decode_event
    for index in range(start, len(page)):
        id_, sequence, type_, version, payload = page[index]
        if id_ != current:
            current, one = id_, folds[id_]
            evolve = one.evolve
        if one is None or evolve is None or one.broken:
            continue
        if sequence != one.sequence + 1:
            if type(sequence) is int and sequence <= one.sequence:
                continue
            return index
        try:
            one.state = evolve(one.state, decode(type_, version, payload))
        except Exception as error:  # noqa: BLE001 - whatever the code does, it is told, and the other logs are folded
            one.error = error
            return index
        one.sequence = sequence
        if sequence == one.next and passed is not None:
            passed.append(Passed(one, sequence, one.passed()))
    return len(page)
