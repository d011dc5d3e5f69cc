"""Settings, frozen. Every number carries its unit and its reason."""

from __future__ import annotations

from typing import Final

import msgspec

from casty_es.errors import ConfigurationError
from casty_es.printing import printed

DEFAULT_SLOTS: Final = 256
# 8,192 advisory locks fit the lock table of a default Postgres server; 16,384 did not.
MAX_SLOTS: Final = 8192


STRUCTURES_VARIABLE: Final = "CASTY_ES_STRUCTURES"
"""Names the kinds that the command line registers: ``MODULE:NAME``, and more after commas."""

# Of seconds and of bytes: beyond it clocks, timers and columns have no room.
LARGEST_SETTING: Final = 10**9
_OTHERS: Final = ("lock_class", "allow_network_filesystem")


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """How a system behaves. The defaults are meant to be kept.

    Parameters
    ----------
    lease_seconds : float
        How long a lock, permit or place in a line survives a holder that stopped renewing it, in seconds; on Postgres
        at least one and a half times ``session_seconds``.
    max_value_bytes : int
        The longest value that can be stored, in bytes of its JSON.
    max_entities : int
        How many entities stay in memory; the least recently used idle ones are passivated beyond it.
    max_pending : int
        How many commands may wait in the node before further ones get an ``OverloadedError``.
    max_clock_ahead_seconds : float
        How far this host's clock may be ahead of the database's, in seconds; beyond it nothing is written. It is far
        more than NTP leaves, and little enough for times that people read.
    max_batch_events : int
        How many events one append writes at most.
    max_batch_bytes : int
        How many bytes of payload one append carries at most, unless a single command has more.
    snapshot_events : int
        How many events an entity's tail has before a snapshot is considered.
    heartbeat_seconds : float
        How often the lease session on Postgres is asked whether it lives, in seconds.
    session_seconds : float
        How long Postgres keeps the leases of a node that has fallen silent, in seconds, at least 2. Half of it is how
        long the node itself waits for the answer to a heartbeat.
    membership_seconds : float
        How often a node looks at who is alive, in seconds.
    lock_class : int | None
        The first half of the keys of the advisory locks on Postgres, for an application whose own locks have the same
        one. By default it is the oid of the table ``casty_events``. Every node must have the same.
    allow_network_filesystem : bool
        Open an SQLite file on a network file system, on whose locks nothing can rest.

    Examples
    --------
    >>> Settings(lease_seconds=10.0).lease_seconds
    10.0
    """

    lease_seconds: float = 30.0
    max_value_bytes: int = 1_048_576
    max_entities: int = 50_000
    max_pending: int = 100_000
    max_clock_ahead_seconds: float = 300.0
    max_batch_events: int = 2_000
    max_batch_bytes: int = 4_194_304
    snapshot_events: int = 1_000
    heartbeat_seconds: float = 1.0
    session_seconds: float = 6.0
    membership_seconds: float = 1.0
    lock_class: int | None = None
    allow_network_filesystem: bool = False

    def __post_init__(self) -> None:
        for field in msgspec.structs.fields(self):
            if field.name not in _OTHERS:
                msgspec.structs.force_setattr(self, field.name, _number(self, field))
        if not isinstance(self.allow_network_filesystem, bool):
            raise ConfigurationError(
                f"The setting allow_network_filesystem is {printed(self.allow_network_filesystem)}; it must be True or "
                f"False. Nothing was started."
            )
        if self.lock_class is None:
            return
        if type(self.lock_class) is not int or not -(2**31) <= self.lock_class < 2**31:
            raise ConfigurationError(
                f"The setting lock_class is {printed(self.lock_class)}; Postgres takes a number of 32 bits. Nothing "
                f"was started."
            )


def _number(settings: Settings, field: msgspec.structs.FieldInfo) -> float:
    """Return a setting as a plain number; ``ConfigurationError`` if it is none, or out of range."""
    value = getattr(settings, field.name)
    whole = field.type is int
    number: float = 0
    if isinstance(value, int) and not isinstance(value, bool):
        number = int.__int__(value)  # of a subclass, the number and not what it makes of itself
    elif isinstance(value, float) and not whole:
        number = float.__float__(value)
    if not 0 < number <= LARGEST_SETTING:
        raise ConfigurationError(
            f"The setting {field.name} is {printed(value)}; it must be a positive, finite "
            f"{'whole number' if whole else 'number'}, at most {LARGEST_SETTING}. Nothing was started."
        )
    return number
