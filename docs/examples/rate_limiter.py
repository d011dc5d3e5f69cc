"""A token bucket: so many calls at once, so many a second in the long run.

What decides has no clock, so that a replay decides the same: the time comes in with the command.
"""

from __future__ import annotations

import msgspec

import casty_es
from casty_es.structures import Command, Event, kind


class Take(Command[bool], frozen=True):
    """Take tokens out, at a time in seconds; the caller is told whether there were enough."""

    tokens: int
    now: float
    burst: int = 10
    per_second: float = 1.0

    def essence(self) -> Take:
        """Return what is the same however often it is tried under one idempotency key: all but the time."""
        return msgspec.structs.replace(self, now=0.0)


class Taken(Event, frozen=True):
    tokens: int
    left: float
    at: float


class Bucket(msgspec.Struct, frozen=True):
    """What was left when something was last taken; ``None`` before."""

    left: float | None = None
    at: float = 0.0


def decide(bucket: Bucket, take: Take) -> tuple[Taken, ...]:
    now = max(take.now, bucket.at)  # clocks of several callers differ; this one never goes back
    full = float(take.burst)
    left = full if bucket.left is None else min(full, bucket.left + (now - bucket.at) * take.per_second)
    return (Taken(take.tokens, left - take.tokens, now),) if 0 < take.tokens <= left else ()


def evolve(_bucket: Bucket, event: Taken) -> Bucket:
    return Bucket(event.left, event.at)


def reply(_take: Take, _events: tuple[Taken, ...]) -> bool:
    return True


def answer(_bucket: Bucket, _take: Take) -> bool:
    return False


BUCKET = kind("bucket", initial=Bucket(), decide=decide, evolve=evolve, reply=reply, answer=answer)
casty_es.register(BUCKET)
