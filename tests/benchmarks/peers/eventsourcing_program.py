"""eventsourcing with its SQLite recorder: writing a counter's events, and reading the counter back from them.

Runs alone, in an environment that has nothing but eventsourcing: it imports nothing of this repository.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from uuid import NAMESPACE_URL, UUID, uuid5

from eventsourcing.application import Application
from eventsourcing.domain import Aggregate, event

_EVENTS_PER_SAVE = 1_000


class Counter(Aggregate):
    """A counter as the library's tutorial would write it."""

    def __init__(self) -> None:
        self.value = 0

    @staticmethod
    def create_id() -> UUID:
        """Return the id that a reader knows without asking."""
        return uuid5(NAMESPACE_URL, "/counters/hits")

    @event("Incremented")
    def increment(self, amount: int) -> None:
        """Add to the value."""
        self.value += amount


def _application(file: str) -> Application[UUID]:
    return Application(env={"PERSISTENCE_MODULE": "eventsourcing.sqlite", "SQLITE_DBNAME": file})


def build(file: str, events: int) -> dict[str, float]:
    application = _application(file)
    counter = Counter()
    begin = time.perf_counter()
    for number in range(1, events + 1):
        counter.increment(1)
        if number % _EVENTS_PER_SAVE == 0:
            application.save(counter)
    application.save(counter)
    return {"seconds": time.perf_counter() - begin, "operations": events}


def read(file: str, events: int) -> dict[str, float]:
    application = _application(file)
    begin = time.perf_counter()
    counter = application.repository.get(Counter.create_id())
    took = time.perf_counter() - begin
    if counter.value != events:
        raise SystemExit(f"The counter is {counter.value} after {events} increments: nothing was measured.")
    return {"per_second": events / took, "operations": events}


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("action", choices=["build", "read"])
    parser.add_argument("file")
    parser.add_argument("--events", type=int, required=True)
    given = parser.parse_args()
    result = (build if given.action == "build" else read)(given.file, given.events)
    sys.stdout.write(json.dumps(result) + "\n")
