"""What a request's staying rests on: the process that made it, and how long nobody has heard of it.

1. A request belongs to the process that made it (``processes.py`` has the names): when that is gone, it ends. A request
   under an idempotency key belongs to nobody, so that a program finds it again after a restart.
2. What an owner counted of a lease without a renewal is written down, in quarters of a lease, so that the next one does
   not begin anew. A renewal takes it back. While renewals arrive there is nothing to write.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, TypeAlias

import msgspec
from rpds import HashTrieMap

from casty_es.bounds import RequestId
from casty_es.domain.decider import Command, Event, Harmless, Internal

QUARTERS: Final = 4
"""A request whose lease has passed so many quarters without a renewal is over."""

COLUMNS: Final = (("process", "text"), ("quarters", "number"), ("cause", "text"))
"""What the events of a request say of its process and of its lease, as the views show it."""

DIED: Final = "died"
"""Why a request expired whose process is gone; without a reason, its lease ran out."""


class Standing(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is known of a request."""

    process: str = ""  # the process that made it; empty when nobody can tell, as in events of older versions
    unheard: int = 0  # how many quarters of its lease have passed without a renewal


Standings: TypeAlias = "HashTrieMap[str, Standing]"
"""What is known of requests, by their names; of one that is not here, nothing."""

NONE: Final[Standings] = HashTrieMap()


class Renew(Harmless[tuple[str, ...]], frozen=True, gc=False):
    requests: tuple[RequestId, ...]


class Expire(Internal, frozen=True, gc=False):
    requests: tuple[str, ...]
    died: bool = False  # because their process did; else because their leases ran out


class NoteUnheard(Internal, frozen=True, gc=False):
    """Write down how many quarters of their leases these requests have not been renewed; 0 when they are again."""

    requests: tuple[str, ...]
    quarters: int


class Made(Event, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """A process made a request."""

    process: str = ""


class Unheard(Event, frozen=True, gc=False):
    """So many quarters of a request's lease have passed without a renewal."""

    request: str
    quarters: int


def renewed(command: Command) -> tuple[str, ...]:
    """Return the requests that a command renews."""
    return command.requests if isinstance(command, Renew) else ()


def begun(standings: Standings, request: str, process: str) -> Standings:
    """Return what is known once a process has made a request."""
    return standings.insert(request, Standing(process)) if process else standings


def noted(standings: Standings, event: Unheard) -> Standings:
    """Return what is known once it was written down how long a request was not heard of."""
    process = standing_of(standings, event.request).process
    if not process and not event.quarters:
        return standings.discard(event.request)
    return standings.insert(event.request, Standing(process, event.quarters))


def standing_of(standings: Standings, request: str) -> Standing:
    """Return what is known of a request."""
    return standings.get(request) or _NOTHING


def to_note(standings: Standings, command: NoteUnheard, claims: Iterable[str]) -> list[str]:
    """Return the requests of a ``NoteUnheard`` of which something else is written down, each once."""
    known = set(claims)
    return [
        request
        for request in dict.fromkeys(command.requests)
        if request in known and standing_of(standings, request).unheard != command.quarters
    ]


def stored(standings: Standings) -> dict[str, Standing]:
    """Return what is known as a snapshot has it."""
    return dict(sorted(standings.items()))


def why_expired(cause: str, what: str) -> str:
    """Return why a request is over, and what that means for it.

    Examples
    --------
    >>> why_expired(DIED, "The lock was not granted.")
    'The process that made the request is gone, and the request with it. The lock was not granted.'
    """
    if cause == DIED:
        return f"The process that made the request is gone, and the request with it. {what}"
    return f"For a whole lease no renewal of the request reached the owner of its slot, so it left the line. {what}"


_NOTHING: Final = Standing()
