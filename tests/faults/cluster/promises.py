"""What callers were told, looked at without the domain's rules: tokens grow, an item comes out once, sums are right.

``audit.py`` replays the log by the domain, and would not see a mistake of the domain. Here only commands, replies and
times count, and what is left in the end.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

import msgspec

from casty_es.cli.demo.check import often
from casty_es.domain import counter, lock, queue

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from casty_es.journal.port import EntityName
    from tests.faults.audit import Timeline
    from tests.faults.recording import Operation


# A counter that is set is no sum.
_SETS = (counter.GetAndSet, counter.CompareAndSet)
# Whoever was told this, or nothing, does not know whether it happened.
_UNTOLD = (None, "OutcomeUnknownError", "CancelledError")


def check(
    operations: Iterable[Operation], lives: dict[EntityName, Timeline], *, kept: Collection[bytes] = ()
) -> list[str]:
    """Return everything that is wrong with what callers were told.

    Parameters
    ----------
    kept : Collection[bytes]
        The ids of cancelled commands that could not be undone.
    """
    found: list[str] = []
    by_name: dict[EntityName, list[Operation]] = defaultdict(list)
    for operation in operations:
        by_name[operation.name].append(operation)
    for name, mine in by_name.items():
        state = lives[name].states[-1] if name in lives else None
        match name.kind:
            case "lock":
                complaints = check_tokens(mine)
            case "queue":
                complaints = check_items(mine, [] if state is None else items(state), kept)
            case "counter" if not any(isinstance(one.command, _SETS) for one in mine):
                complaints = check_sum(mine, 0 if state is None else state.value)
            case _:
                complaints = []
        found += [f"{name.kind} {name.name!r}: {complaint}" for complaint in complaints]
    return found


def items(state: queue.State) -> list[bytes]:
    """Return what is in a queue, the front first."""
    return [bytes(state.items[index]) for index in range(state.front, state.back)]


def check_tokens(operations: Sequence[Operation]) -> list[str]:
    """A grant that was asked for after another one was told has a higher token."""
    return check_grants(
        [
            (one.called, one.returned, int(one.reply))
            for one in operations
            if isinstance(one.command, lock.Acquire) and one.reply is not None and one.returned is not None
        ]
    )


def check_grants(grants: Sequence[tuple[int, int, int]]) -> list[str]:
    """Check the tokens of grants, each with the times when it was asked for and told."""
    found = [f"the token {token} was given {times} times" for token, times in often(grant[2] for grant in grants)]
    told = sorted((returned, token) for _, returned, token in grants)
    index = highest = 0
    for called, _, token in sorted(grants):
        while index < len(told) and told[index][0] < called:
            highest = max(highest, told[index][1])
            index += 1
        if token <= highest:
            found.append(f"the token {token} was given after {highest} had been")
    return found


def check_items(operations: Sequence[Operation], left: list[bytes], kept_back: Collection[bytes] = ()) -> list[str]:
    """What was put in comes out once; what was surely put in is out, or still there, or with a caller never told.

    What a caller took that was cancelled is back, unless it could not be undone.
    """
    found: list[str] = []
    put = {_value(one.command.value): one for one in operations if isinstance(one.command, queue.Enqueue)}
    taken = [one for one in operations if isinstance(one.command, queue.Dequeue)]
    out = [one.reply for one in taken if one.reply not in (None, b"null")]
    kept = [*out, *left]
    found += [f"the item {item!r} is there {times} times" for item, times in often(kept)]
    found += [f"nobody put in {item!r}" for item in set(kept) - put.keys()]
    surely = {item for item, one in put.items() if one.reply is not None}
    refused = {item for item, one in put.items() if one.error not in _UNTOLD}
    found += [f"the item {item!r} is there, and its caller was told that it was not" for item in refused & set(kept)]
    missing = surely - set(kept)
    untold = sum(
        one.reply is None and (one.error in _UNTOLD[:2] or (one.error == _UNTOLD[2] and one.id in kept_back))
        for one in taken
    )
    if len(missing) > untold:
        found.append(f"{len(missing)} items are gone, and only {untold} callers may have them: {sorted(missing)[:5]}")
    return found


def check_sum(operations: Sequence[Operation], value: int) -> list[str]:
    """A counter is what was surely added, and any part of what may have been."""
    surely, least, most = 0, 0, 0
    for one in operations:
        amount = _amount(one.command)
        if one.reply is not None:
            surely += amount
        elif one.error in _UNTOLD:
            least += min(0, amount)
            most += max(0, amount)
    if surely + least <= value <= surely + most:
        return []
    return [f"it is {value}, where {surely} were acknowledged, and {least} to {most} may have happened"]


def _amount(command: object) -> int:
    match command:
        case counter.Increment(amount) | counter.IncrementWithin(amount):
            return amount
        case counter.Decrement(amount) | counter.DecrementWithin(amount):
            return -amount
        case _:
            return 0


def _value(value: Any) -> bytes:
    return bytes(value) if isinstance(value, bytes | msgspec.Raw) else msgspec.json.encode(value)
