"""A line of requests, first in, first out, from which anyone may step out. Persistent, so that states can share it.

Joining and leaving cost the same however long the line is; finding the first skips the places that were left, which
each happens once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final, Generic, TypeVar

import msgspec
from rpds import HashTrieMap

T = TypeVar("T")


class Line(msgspec.Struct, Generic[T], frozen=True):
    """Requests in their order of arrival, each with what is known of it.

    Examples
    --------
    >>> line = EMPTY.join("a", 1).join("b", 2).leave("a")
    >>> list(line.items())
    [('b', 2)]
    """

    entries: HashTrieMap[int, tuple[str, T]]
    tickets: HashTrieMap[str, int]
    front: int
    back: int

    def join(self, request: str, known: T) -> Line[T]:
        """Return the line with ``request`` at its end."""
        return Line(
            self.entries.insert(self.back, (request, known)),
            self.tickets.insert(request, self.back),
            self.front,
            self.back + 1,
        )

    def leave(self, request: str) -> Line[T]:
        """Return the line without ``request``, which must stand in it."""
        ticket = self.tickets[request]
        if len(self.tickets) == 1:
            return EMPTY  # as of most lines: quicker than to take it out of both
        entries = self.entries.remove(ticket)
        front = self.front
        while front < self.back and front not in entries:
            front += 1
        return Line(entries, self.tickets.remove(request), front, self.back)

    def first(self) -> tuple[str, T] | None:
        """Return the request at the front, or ``None`` when the line is empty."""
        return self.entries[self.front] if self.entries else None

    def get(self, request: str) -> T | None:
        """Return what is known of ``request``, or ``None`` when it does not stand in the line."""
        ticket = self.tickets.get(request)
        return None if ticket is None else self.entries[ticket][1]

    def items(self) -> Iterator[tuple[str, T]]:
        """Go through the line from its front."""
        return (self.entries[ticket] for ticket in sorted(self.entries))

    def __len__(self) -> int:
        return len(self.entries)

    def __contains__(self, request: str) -> bool:
        return request in self.tickets

    @staticmethod
    def of(items: Iterable[tuple[str, T]]) -> Line[T]:
        """Return a line of these requests, in this order."""
        line: Line[T] = Line(HashTrieMap(), HashTrieMap(), 0, 0)
        for request, known in items:
            line = line.join(request, known)
        return line


EMPTY: Final[Line[Any]] = Line.of(())
