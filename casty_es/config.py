"""Settings, frozen. Every number carries its unit and its reason."""

from __future__ import annotations

import math
from typing import Final

import msgspec

from casty_es.errors import ConfigurationError

__all__ = ["Settings"]

DEFAULT_SLOTS: Final = 256
# 8,192 advisory locks fit the lock table of a default Postgres server; 16,384 did not.
MAX_SLOTS: Final = 8192


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """How a system behaves. The defaults are meant to be kept.

    Parameters
    ----------
    lease_seconds : float
        How long a lock, permit or place in a line survives a holder that stopped renewing it, in seconds.
    max_value_bytes : int
        The longest value that can be stored, in bytes of its JSON.
    max_entities : int
        How many entities stay in memory; the least recently used idle ones are passivated beyond it.
    max_pending : int
        How many commands may wait in the node before further ones get an ``OverloadedError``.
    max_batch_events : int
        How many events one append writes at most.
    max_batch_bytes : int
        How many bytes of payload one append carries at most, unless a single command has more.
    snapshot_events : int
        How many events an entity's tail has before a snapshot is considered.
    writer_wait_seconds : float
        How long the first write of a process waits for another process to give up the journal, in seconds.
    heartbeat_seconds : float
        How often the lease session on Postgres is asked whether it lives, in seconds.

    Examples
    --------
    >>> Settings(lease_seconds=10.0).lease_seconds
    10.0
    """

    lease_seconds: float = 30.0
    max_value_bytes: int = 1_048_576
    max_entities: int = 50_000
    max_pending: int = 100_000
    max_batch_events: int = 2_000
    max_batch_bytes: int = 4_194_304
    snapshot_events: int = 1_000
    writer_wait_seconds: float = 3.0
    heartbeat_seconds: float = 1.0

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value <= 0:
                raise ConfigurationError(
                    f"The setting {name} is {value!r}; it must be a positive, finite number. Nothing was started."
                )
