"""Folding an entity's events along the walk, to compare its snapshots with what they should be."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import Any, NamedTuple

from casty_es.domain.decider import Kind
from casty_es.format.codec import encode_state

__all__ = ["Due", "Folding"]


class Due(NamedTuple):
    """A snapshot that must be there as this state, or not at all."""

    entity: int
    sequence: int
    position: int
    digest: bytes
    kind: str
    hash: bytes  # of the record there


class Folding:
    """The state of an entity, for as long as snapshots are to come.

    Parameters
    ----------
    due : list[int]
        The sequences of its snapshots.
    state : object
        The state to begin with; the kind's first one if none is given.
    """

    __slots__ = ("_due", "evolve", "kind", "next", "state")

    def __init__(self, kind: Kind[Any, Any, Any], due: list[int], state: Any = None) -> None:
        self.kind = kind
        self.evolve: Callable[[Any, Any], Any] = kind.evolve
        self.state: Any = kind.initial if state is None else state
        self._due = due[::-1]
        self.next = self._due.pop() if self._due else 0

    def reached(self, entity: int, position: int, hash_: bytes) -> Due:
        """Return what the snapshot here must be, and go on to the next one."""
        text = encode_state(self.kind, self.state)
        due = Due(entity, self.next, position, sha256(text.encode()).digest(), self.kind.name, hash_)
        self.next = self._due.pop() if self._due else 0
        return due

    def restart(self, sequence: int, state: Any) -> None:
        """Go on from a state at a sequence: what was due before it cannot be compared."""
        self.state = state
        while self.next and self.next <= sequence:
            self.next = self._due.pop() if self._due else 0
