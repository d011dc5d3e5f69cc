"""The row that a peer inserts: as long as the one that an increment of ours writes, into the same table."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

from casty_es.journal.port import EventRow

_ENTITY = 1  # slot 0, its first entity
_EPOCH = 1


def rows() -> Iterator[EventRow]:
    """Yield rows of slot 0, one after the other."""
    position = 0
    command_id, hash_ = os.urandom(16), os.urandom(32)
    while True:
        position += 1
        payload = f'{{"amount":1,"value":{position}}}'
        now = time.time_ns() // 1_000
        yield (
            0,
            position,
            _EPOCH,
            _ENTITY,
            position,
            "counter.incremented",
            1,
            payload,
            None,
            command_id,
            None,
            now,
            hash_,
        )
