"""What can happen to a command on its way, and what is done then: all that ``journey.py`` is told, and all it says."""

from __future__ import annotations

import math
from typing import Any, Final, NamedTuple, TypeAlias

from casty_es.errors import CastyError, InvalidValueError
from casty_es.gateway.routing import Route


class Found(NamedTuple):
    """A search ended: with a route, or with ``None`` and why, if nobody holds the slot or it need not be held."""

    route: Route | None
    now: float
    why: CastyError | None = None


class Replied(NamedTuple):
    """An attempt was answered."""

    attempt: int
    reply: Any


class Unreadable(NamedTuple):
    """An attempt was answered, and nobody here can read how."""

    attempt: int
    error: InvalidValueError
    now: float


class Ended(NamedTuple):
    """An attempt, or the search (0), ended in an error; an ``unclear`` one says nothing of the command."""

    attempt: int
    error: CastyError
    now: float
    unclear: bool = False


class Expired(NamedTuple):
    """The deadline has come."""


class Closed(NamedTuple):
    """The system is closed: for a caller that waits nothing is sent any more."""


class Extended(NamedTuple):
    """Its caller waits longer for a command in doubt, because without the reply something would be lost."""

    deadline: float


class Cancelled(NamedTuple):
    """Its caller is gone: it goes on, also while the system is being closed, to learn what became of it."""

    deadline: float


Event: TypeAlias = Found | Replied | Unreadable | Ended | Expired | Closed | Extended | Cancelled
"""What happens to a command. Times are those of the event loop, in seconds."""


class Send(NamedTuple):
    """Send the command, or read without an owner where there is no route; ``after`` is the position of a repeat."""

    route: Route | None
    attempt: int
    after: int | None


class Wait(NamedTuple):
    """Wait, then look for the owner."""

    seconds: float
    last: bool = False  # the deadline has come then


class Done(NamedTuple):
    """The last word on the command: its reply, or the error that its caller is told."""

    reply: Any = None
    error: CastyError | None = None


class Late(NamedTuple):
    """The time was up, or the system closed, before there was a last word: what the caller is told instead."""

    error: CastyError


Step: TypeAlias = Send | Wait | Done | Late
"""What has to be done now."""

AT_ONCE: Final = Wait(0.0)
"""The first step of every command that has not left yet."""

ANSWER: Final = Wait(math.inf)
"""Wait for the answer to what was sent; there is nothing else to do."""
