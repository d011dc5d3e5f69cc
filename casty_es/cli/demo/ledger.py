"""Who does what in the demo, and the file in which every acknowledged operation is written down.

1. What a caller's operation of a number does follows from the two, so nothing needs to be written before it begins.
2. An acknowledgement is one line, written by one ``os.write`` before its caller begins anything else. So of each caller
   at most one operation, the next one, is without a line when the process is killed.
3. The parent marks the kill in the file. The operations of the killed process's callers that were under way then may
   have happened or not. All processes write to one file, each line with one call: lines never mix.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

__all__ = [
    "LEDGER_FILE",
    "MIN_CALLERS",
    "VERIFIER",
    "Acknowledged",
    "Operation",
    "Record",
    "acknowledge",
    "kind_of",
    "mark_killed",
    "opened",
    "read_ledger",
]

LEDGER_FILE: Final = "acknowledged.jsonl"
VERIFIER: Final = -1  # the parent's number as a caller
_KILLED: Final = "killed"

_LOCKERS: Final = 3  # one for each node
_PERMITTED: Final = 6  # more than there are permits, two for each node
_CYCLE: Final = ("increment", "put", "add", "enqueue", "increment", "dequeue")
MIN_CALLERS: Final = _LOCKERS + _PERMITTED + 3


class Operation(NamedTuple):
    """One operation of one caller."""

    caller: int
    number: int
    kind: str

    def __str__(self) -> str:
        return f"{self.kind} {self.number} of caller {self.caller}"


class Acknowledged(NamedTuple):
    """An operation that its caller was told is done, the answer that it got, and when.

    Attributes
    ----------
    at : float
        In seconds of a clock that all processes of this host share.
    """

    operation: Operation
    answer: Any
    at: float = 0.0


class Record(NamedTuple):
    """What the file says.

    Attributes
    ----------
    in_flight : list[Operation]
        What was under way at a kill.
    following : dict[int, int]
        The number of each caller's next operation.
    """

    acknowledged: list[Acknowledged]
    in_flight: list[Operation]
    following: dict[int, int]


def kind_of(caller: int, number: int) -> str:
    """Return what a caller's operation is."""
    if caller < _LOCKERS:
        return "locked"
    if caller < _LOCKERS + _PERMITTED:
        return "permitted"
    return _CYCLE[(caller + number) % len(_CYCLE)]


def opened(folder: Path) -> int:
    """Open the file for writing at its end; return its descriptor."""
    return os.open(folder / LEDGER_FILE, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)


def acknowledge(ledger: int, operation: Operation, answer: object) -> None:
    """Write an acknowledgement. It outlives the process from the return of this call on."""
    os.write(ledger, msgspec.json.encode((*operation, answer, time.monotonic())) + b"\n")


def mark_killed(folder: Path, callers: Iterable[int]) -> None:
    """Note that the process with these callers is gone."""
    ledger = opened(folder)
    os.write(ledger, msgspec.json.encode((_KILLED, list(callers))) + b"\n")
    os.close(ledger)


def read_ledger(folder: Path) -> Record:
    """Read the file."""
    record = Record([], [], {})
    decode: Callable[[bytes], list[Any]] = msgspec.json.Decoder(list[Any]).decode
    path = folder / LEDGER_FILE
    with path.open("rb") if path.exists() else Path(os.devnull).open("rb") as lines:
        for line in lines:
            fields = decode(line)
            if fields[0] == _KILLED:
                for caller in fields[1]:
                    number = record.following.get(caller, 1)
                    record.in_flight.append(Operation(caller, number, kind_of(caller, number)))
                    record.following[caller] = number + 1
            else:
                operation = Operation(*fields[:3])
                record.acknowledged.append(Acknowledged(operation, fields[3], fields[4]))
                record.following[operation.caller] = operation.number + 1
    return record
