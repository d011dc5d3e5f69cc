"""A stale owner cannot write, whatever it had in flight; an owner whose records were lost cannot either."""

from __future__ import annotations

from itertools import permutations

import pytest

from casty_es.errors import ConflictError
from casty_es.journal.port import LEASE_ACQUIRED, EventJournal

from .rows import Owner, recorded


async def send(journal: EventJournal, owner_append: object) -> bool:
    """Append and tell whether it was committed."""
    try:
        await journal.append(owner_append)  # type: ignore[arg-type]
    except ConflictError:
        return False
    return True


async def test_stale_batches_in_flight(journal: EventJournal) -> None:
    """Given batches A and B of a stale owner, when the new owner writes first, then neither is written."""
    stale = Owner(3).lease()
    await journal.append(stale.batch())
    new = stale.copy()
    batch_a = stale.event(1, 1).event(1, 2).batch()
    batch_b = stale.event(1, 3).event(1, 4).batch()
    await journal.append(new.lease().batch())

    assert [await send(journal, batch_a), await send(journal, batch_b)] == [False, False]

    assert [(record.position, record.type) for record in await journal.records(3)] == [
        (1, LEASE_ACQUIRED),
        (2, LEASE_ACQUIRED),
    ]


async def test_stale_batch_beyond_the_new_owners_records(journal: EventJournal) -> None:
    """Given a batch right behind the new owner's last position, when it is sent, then its hash gives it away."""
    stale = Owner(3).lease()
    await journal.append(stale.batch())
    new = stale.copy()
    stale.event(1, 1).batch()  # lost on its way
    batch_b = stale.event(1, 2).batch()
    await journal.append(new.lease().batch())

    with pytest.raises(ConflictError) as conflict:
        await journal.append(batch_b)

    assert conflict.value.constraint == "predecessor"
    assert (await journal.heads([3]))[3] == new.head


@pytest.mark.parametrize("order", list(permutations("ABN")))
async def test_batches_arrive_in_any_order(order: tuple[str, ...], journal: EventJournal) -> None:
    """Given A, B and a new owner's lease, when they arrive in any order, then the slot is gapless and one chain."""
    stale = Owner(3).lease()
    first = stale.batch()
    await journal.append(first)
    new = stale.copy()
    appends = {"A": stale.event(1, 1).batch(), "B": stale.event(1, 2).batch(), "N": new.lease().batch()}

    committed = [name for name in order if await send(journal, appends[name])]

    records = await journal.records(3)
    assert [record.position for record in records] == list(range(1, len(records) + 1))
    assert records == recorded(first, *[appends[name] for name in committed])
    assert committed in (["A", "B"], ["A"], ["N"])


async def test_takeover_settles_what_was_in_flight(journal: EventJournal) -> None:
    """Given a new owner's lease record, when the old owner's append comes at last, then it can never be written."""
    old = Owner(3).lease().event(1, 1)
    await journal.append(old.batch())
    in_flight = old.event(1, 2).batch()
    new = Owner(3, (await journal.heads([3]))[3]).lease()
    await journal.append(new.batch())

    assert not await send(journal, in_flight)
    await journal.append(new.event(1, 2).batch())
    assert not await send(journal, in_flight)

    assert (await journal.heads([3]))[3] == new.head
    assert [record.epoch for record in await journal.records(3)] == [1, 1, 3, 3]


async def test_epochs_only_grow(journal: EventJournal) -> None:
    """Given owner after owner, when each appends its lease record, then epochs are positions and only grow."""
    for _ in range(4):
        owner = Owner(3, (await journal.heads([3]))[3]).lease().event(1, 1 + len(await journal.history((3 << 32) + 1)))
        await journal.append(owner.batch())

    assert [record.epoch for record in await journal.records(3)] == [1, 1, 3, 3, 5, 5, 7, 7]


async def test_owner_whose_records_are_gone(journal: EventJournal) -> None:
    """Given an owner that wrote more than the journal has now, when it appends, then it is refused for ever."""
    owner = Owner(3).lease()
    await journal.append(owner.batch())
    acknowledged_elsewhere = owner.copy().event(1, 1)
    acknowledged_elsewhere.batch()
    await journal.append(owner.event(1, 1, '"another"').batch())

    assert not await send(journal, acknowledged_elsewhere.event(1, 2).batch())
    assert (await journal.heads([3]))[3] == owner.head
