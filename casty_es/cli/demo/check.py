"""Comparing what was acknowledged with what is there. Pure: it opens nothing.

Every acknowledged operation must be there. What is there without an acknowledgement must be one of the operations that
were under way at the kill. Nothing may be there twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import pairwise

import msgspec

from casty_es.cli.demo.ledger import Acknowledged, Operation, Record
from casty_es.cli.demo.look import Found
from casty_es.cli.demo.structures import PERMITS

__all__ = ["Row", "gap_seconds", "verify"]


class Row(msgspec.Struct):
    """One structure's count.

    Attributes
    ----------
    in_flight : int
        How many of its operations were under way at a kill.
    missing : list[str]
        Acknowledged operations that are not there.
    wrong : list[str]
        What else does not fit.
    """

    structure: str
    counted: str
    acknowledged: int
    found: int
    in_flight: int
    missing: list[str] = []
    wrong: list[str] = []

    @property
    def ok(self) -> bool:
        """Whether everything fits."""
        return not self.missing and not self.wrong


def verify(record: Record, found: Found) -> list[Row]:
    """Compare; return a row for each structure."""
    return [
        _tally("counter page-views", "increments", "increment", record, found.page_views),
        _users(record, found),
        _tags(record, found),
        _jobs(record, found),
        _lock(record, found),
        _semaphore(record, found),
    ]


def gap_seconds(record: Record, killed_at: float) -> float:
    """Return the longest time without an acknowledged increment that ended after the kill, in seconds."""
    times = sorted(ack.at for ack in _of(record, "increment"))
    return max((later - earlier for earlier, later in pairwise(times) if later > killed_at), default=0.0)


def _of(record: Record, *kinds: str) -> list[Acknowledged]:
    return [ack for ack in record.acknowledged if ack.operation.kind in kinds]


def _under_way(record: Record, kind: str) -> list[Operation]:
    return [operation for operation in record.in_flight if operation.kind == kind]


def _value(ack: Acknowledged) -> int:
    value: int = ack.answer[1] if isinstance(ack.answer, list | tuple) else ack.answer
    return value


def _tally(structure: str, counted: str, kind: str, record: Record, value: int) -> Row:
    """Compare operations that each add one to a number and are told the new one."""
    acks, under_way = _of(record, kind), _under_way(record, kind)
    row = Row(structure, counted, len(acks), value, len(under_way))
    row.missing = [f"{ack.operation}, which was told {_value(ack)}" for ack in acks if _value(ack) > value]
    row.wrong = [
        f"{told} callers were told {number}" for number, told in Counter(map(_value, acks)).items() if told > 1
    ]
    if value < len(acks) and not row.missing:
        row.wrong.append(f"{len(acks)} were acknowledged and {value} are there")
    if value > len(acks) + len(under_way):
        row.wrong.append(f"{value} are there, more than {len(acks)} acknowledged and {len(under_way)} under way")
    return row


def _users(record: Record, found: Found) -> Row:
    acks, under_way = _of(record, "put"), _under_way(record, "put")
    row = Row("map users", "puts", len(acks), len(found.users), len(under_way))
    expected = {f"user-{ack.operation.caller}-{ack.operation.number}": ack for ack in acks}
    row.missing = [f"{ack.operation} ({key})" for key, ack in expected.items() if found.users.get(key) != {"visits": 1}]
    row.wrong = [f"{ack.operation} found a value before it" for ack in acks if ack.answer is not None]
    row.wrong += _strangers(found.users, [*expected, *(f"user-{op.caller}-{op.number}" for op in under_way)])
    return row


def _tags(record: Record, found: Found) -> Row:
    acks, under_way = _of(record, "add"), _under_way(record, "add")
    row = Row("set tags", "adds", len(acks), found.tags_size, len(under_way))
    row.missing = [
        str(ack.operation) for ack in acks if f"tag-{ack.operation.caller}-{ack.operation.number}" not in found.tags
    ]
    row.wrong = [f"{ack.operation} found its tag there before it" for ack in acks if ack.answer is not True]
    if found.tags_size != len(found.tags):
        row.wrong.append(f"{found.tags_size} tags are there, and only {len(found.tags)} of them were ever added")
    return row


def _jobs(record: Record, found: Found) -> Row:
    """Each job leaves the queue once; it was emptied, so that all of them have."""
    enqueued, dequeued = _of(record, "enqueue"), [ack for ack in _of(record, "dequeue") if ack.answer is not None]
    maybe_in, maybe_out = _under_way(record, "enqueue"), _under_way(record, "dequeue")
    taken, handed_out = Counter(found.taken), Counter(ack.answer for ack in dequeued)
    row = Row("queue jobs", "jobs", len(enqueued), len(taken), len(maybe_in))
    expected = {f"job-{ack.operation.caller}-{ack.operation.number}": ack for ack in enqueued}
    row.missing = [f"{ack.operation} ({job})" for job, ack in expected.items() if job not in taken]
    row.missing += [f"{ack.operation} ({ack.answer})" for ack in dequeued if ack.answer not in taken]
    for counter, what in ((taken, "left the queue"), (handed_out, "was handed out")):
        row.wrong += [f"{job} {what} {times} times" for job, times in counter.items() if times > 1]
    row.wrong += _strangers(taken, [*expected, *(f"job-{op.caller}-{op.number}" for op in maybe_in)])
    to_nobody = taken.keys() - handed_out.keys()
    if len(to_nobody) > len(maybe_out):
        row.wrong.append(f"{len(to_nobody)} jobs were given to nobody; {len(maybe_out)} callers died while taking one")
    return row


def _lock(record: Record, found: Found) -> Row:
    row = _tally("lock accounts", "balance changes", "locked", record, found.balance)
    acks = _of(record, "locked")
    in_order = [_value(ack) for ack in sorted(acks, key=lambda ack: int(ack.answer[0]))]
    if in_order != sorted(in_order):
        row.wrong.append("a later token wrote an earlier balance: two held the lock at once")
    if acks and found.token <= max(ack.answer[0] for ack in acks):
        row.wrong.append(f"a token of {found.token} was granted, and a later one before it")
    return row


def _semaphore(record: Record, found: Found) -> Row:
    row = _tally("semaphore uploads", "uploads", "permitted", record, found.uploads)
    if found.permits != PERMITS:
        row.wrong.append(f"{found.permits} permits could be held at once instead of {PERMITS}")
    return row


def _strangers(there: Iterable[str], known: Iterable[str]) -> list[str]:
    return [f"{name} is there, and nobody put it there" for name in set(there) - set(known)]
