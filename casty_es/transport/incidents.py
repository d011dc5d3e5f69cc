"""What strangers and peers tried that they may not: counted, and told in the log at a bounded rate.

Who can reach a port can make a node write a line for every attempt, and hide in them what matters. So of each kind some
lines are written at once and then one now and again, which says how many it stands for. The counts miss nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from enum import StrEnum
from typing import Final

from casty_es import runtime
from casty_es.printing import log_of

logger: Final = log_of("casty_es.transport")

_LINES: Final = 10
_SECONDS_PER_LINE: Final = 6.0


class Incident(StrEnum):
    """The kinds."""

    REFUSED = "refused"  # a failed handshake: another secret, system or version
    MALFORMED = "malformed"  # no WebSocket
    SILENT = "silent"  # no handshake in time
    TLS = "tls"  # no TLS, or no certificate that is trusted
    CROWD = "crowd"  # more connections than there may be
    FRAME = "frame"  # something that no process of ours sends, from one that knows the secret


class _Budget:
    """How many lines may still be written of a kind, and how many were not."""

    __slots__ = ("left", "since", "untold")

    def __init__(self, now: float) -> None:
        self.left = float(_LINES)
        self.since = now
        self.untold = 0


class Incidents:
    """Counts by kind, and lines in the log.

    ``now`` is a clock in seconds that never goes back.

    Examples
    --------
    >>> incidents = Incidents()
    >>> for port in range(1000):
    ...     incidents.note(Incident.CROWD, f"10.0.0.9:{port} came when there were too many")
    >>> incidents.counts
    Counter({'crowd': 1000})
    """

    def __init__(self, now: Callable[[], float] | None = None) -> None:
        self.counts: Counter[str] = Counter()
        self._now = now or runtime.steady
        self._budgets: dict[Incident, _Budget] = {}

    def note(self, kind: Incident, text: str, error: BaseException | None = None) -> None:
        """Count an incident, and tell of it if there was no lack of lines lately."""
        self.counts[kind.value] += 1
        now = self._now()
        budget = self._budgets.setdefault(kind, _Budget(now))
        budget.left = min(float(_LINES), budget.left + (now - budget.since) / _SECONDS_PER_LINE)
        budget.since = now
        if budget.left < 1:
            budget.untold += 1
            return
        budget.left -= 1
        logger.warning("%s%s", text, _more(kind, budget), exc_info=error)

    def close(self) -> None:
        """Tell how many were not told."""
        for kind, budget in self._budgets.items():
            if budget.untold:
                logger.warning("%d incidents of the kind %r were not told one by one", budget.untold, kind.value)
                budget.untold = 0


def _more(kind: Incident, budget: _Budget) -> str:
    untold, budget.untold = budget.untold, 0
    return f" ({untold} more of the kind {kind.value!r} came before)" if untold else ""
