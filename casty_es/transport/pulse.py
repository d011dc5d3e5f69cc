"""Whether the other end of a connection is alive, as far as can be told from here. Pure: time comes in as numbers."""

from __future__ import annotations

from enum import Enum, auto


class Verdict(Enum):
    """What is to be done after a look."""

    ALIVE = auto()
    ASK = auto()
    DEAD = auto()


class Pulse:
    """Counts the time since the last sign of life, without the time in which this process stood still itself.

    After ``ping_seconds`` of silence it asks, after ``silence_seconds`` it gives up; ``now`` is in seconds of
    whatever clock the later times are of.
    """

    def __init__(self, ping_seconds: float, silence_seconds: float, now: float) -> None:
        # Twice in the time of a ping, so that the silence is noticed at most half of it late.
        self.interval = ping_seconds / 2
        self._silence = silence_seconds
        self._heard = now
        self._due = now + self.interval
        self._drained = 0

    def heard(self, now: float) -> None:
        """Bytes have come."""
        self._heard = now

    def look(self, now: float, *, reading: bool, drained: int) -> Verdict:
        """Return what is to be done, one interval after the last look.

        While this side is not ``reading``, the peer is judged by whether it takes what it is sent: ``drained``
        is how many bytes the operating system has taken from this side so far.
        """
        # A blocked event loop or a stopped process has not listened: that is not the peer's silence.
        self._heard = min(now, self._heard + max(0.0, now - self._due))
        if not reading and drained > self._drained:
            self._heard = now
        self._drained = drained
        self._due = now + self.interval
        silent = now - self._heard
        if silent > self._silence:
            return Verdict.DEAD
        return Verdict.ASK if silent >= self.interval else Verdict.ALIVE
