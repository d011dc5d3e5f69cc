"""Slots whose appends end in doubt again and again, and when each may be tried once more.

An append in doubt costs a lease record, which settles it. If the cause stands, such as a standby that never answers, or
a trigger that ends the session, every try costs one more. So the first tries follow at once, and the pause before the
later ones doubles; a committed command ends the count.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final

from casty_es import runtime
from casty_es.owner.slot import Slot
from casty_es.printing import log_of

__all__ = ["Doubts", "pause_after_doubts"]

_LOG: Final = log_of("casty_es.leases")

# One is an accident, and so is a second one over the connection that replaced the first.
_AT_ONCE: Final = 2
_FIRST_PAUSE_SECONDS: Final = 0.2
_LONGEST_PAUSE_SECONDS: Final = 30.0


def pause_after_doubts(doubts: int) -> float:
    """Return the pause after so many appends in doubt in a row, in seconds, before jitter.

    Examples
    --------
    >>> [pause_after_doubts(doubts) for doubts in (1, 2, 3, 4, 5)]
    [0.0, 0.0, 0.2, 0.4, 0.8]
    """
    if doubts <= _AT_ONCE:
        return 0.0
    return min(_FIRST_PAUSE_SECONDS * 2.0 ** min(doubts - _AT_ONCE - 1, 10), _LONGEST_PAUSE_SECONDS)


class Doubts:
    """How often in a row the appends of each slot ended in doubt."""

    def __init__(self) -> None:
        self._slots: dict[Slot, tuple[int, float]] = {}

    def note(self, slots: Iterable[Slot]) -> None:
        """Count an append in doubt."""
        now = asyncio.get_running_loop().time()
        for slot in slots:
            count = self._slots.get(slot, (0, 0.0))[0] + 1
            spread = runtime.spread(0.75, 1.0)  # nodes that doubt together do not come back together
            pause = pause_after_doubts(count) * spread
            self._slots[slot] = count, now + pause
            if pause:
                _LOG.warning(
                    "The appends of slot %d ended in doubt %d times in a row; it is left alone for %.1f s. Look at the "
                    "database's log for the cause.",
                    slot.number,
                    count,
                    pause,
                )

    def end(self, slots: Iterable[Slot]) -> None:
        """Forget the doubts about slots to which a command was committed."""
        if self._slots:
            for slot in slots:
                self._slots.pop(slot, None)

    def left(self, slots: Iterable[Slot]) -> float:
        """Return how long these slots are left alone, in seconds."""
        if not self._slots:
            return 0.0
        until = max((self._slots[slot][1] for slot in slots if slot in self._slots), default=0.0)
        return max(0.0, until - asyncio.get_running_loop().time())
