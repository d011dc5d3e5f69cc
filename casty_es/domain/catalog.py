"""The structures by name. What is not in here does not exist, whatever the database or a peer says."""

from __future__ import annotations

from typing import Any, Final

from casty_es.domain.barrier import BARRIER
from casty_es.domain.counter import COUNTER
from casty_es.domain.decider import Kind
from casty_es.domain.lock import LOCK
from casty_es.domain.map_entry import MAP
from casty_es.domain.queue import QUEUE
from casty_es.domain.semaphore import SEMAPHORE
from casty_es.domain.set import SET

CATALOG: Final[dict[str, Kind[Any, Any, Any]]] = {
    kind.name: kind for kind in (COUNTER, MAP, SET, QUEUE, LOCK, SEMAPHORE, BARRIER)
}
