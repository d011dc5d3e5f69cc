"""Who holds which slot, what was recorded under an idempotency key, and the secret: the same on every journal."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest

from casty_es.errors import ConfigurationError
from casty_es.journal.port import EntityName, EventJournal, NodeRow, SlotRow
from casty_es.journal.sql import SqlJournal
from tests.conformance.rows import Owner, entity_id, recorded

HITS = EntityName("counter", "hits", "")
ONE, TWO = bytes(15) + b"\x01", bytes(15) + b"\x02"


def as_role(url: str, role: str) -> str:
    """Return a URL with another user."""
    parts = urlsplit(url)
    return parts._replace(netloc=f"{role}@{parts.netloc.rpartition('@')[2]}").geturl()


def holders(rows: list[SlotRow]) -> dict[int, str]:
    """Return the node that each slot names."""
    return {row.slot: row.node_id for row in rows}


async def test_no_slot_is_held_at_first(journal: EventJournal) -> None:
    """Given a new journal, when it is asked who holds slots, then nobody does, and nothing can be forgotten."""
    await journal.forget_slots([1, 2], "a")
    await journal.forget_slots([], "a")
    await journal.save_slots([])

    assert await journal.slot_rows() == []
    assert await journal.claim_slots([], "a", dead=[]) == set()


async def test_free_slots_are_claimed(journal: EventJournal) -> None:
    """Given free slots, when a node claims some, then they name it, without an address, an epoch or a time yet."""
    assert await journal.claim_slots([9, 3, 3], "a", dead=[]) == {3, 9}

    assert await journal.slot_rows() == [SlotRow(3, "a", None, 0, 0), SlotRow(9, "a", None, 0, 0)]


async def test_only_a_dead_nodes_slots_are_claimed(journal: EventJournal) -> None:
    """Given slots of three nodes, when one claims all and says who is dead, then the living keep theirs."""
    await journal.claim_slots([1], "a", dead=[])
    await journal.claim_slots([2], "b", dead=[])
    await journal.claim_slots([3], "c", dead=[])

    assert await journal.claim_slots([1, 2, 3, 4], "a", dead=["c", "never-there"]) == {1, 3, 4}
    assert holders(await journal.slot_rows()) == {1: "a", 2: "b", 3: "a", 4: "a"}


async def test_a_claimed_slot_keeps_its_epoch(journal: EventJournal) -> None:
    """Given a slot with an epoch, when another node claims it, then only the epoch stays of what the row said."""
    await journal.save_slots([SlotRow(1, "a", "10.0.0.5:7400", 17, 99), SlotRow(2, "b", "10.0.0.6:7400", 8, 98)])

    assert await journal.claim_slots([1, 2], "b", dead=["a"]) == {1, 2}
    assert await journal.slot_rows() == [SlotRow(1, "b", None, 17, 0), SlotRow(2, "b", "10.0.0.6:7400", 8, 98)]


async def test_claims_at_once_name_one_node(journal: EventJournal) -> None:
    """Given the slots of a dead node, when many claim them all at once, then each slot is told to one of them."""
    slots = list(range(256))
    await journal.claim_slots(slots, "dead", dead=[])
    names = [f"n{number}" for number in range(8)]

    answers = await asyncio.gather(
        *[journal.claim_slots(slots[index:] + slots[:index], name, dead=["dead"]) for index, name in enumerate(names)]
    )

    told = [slot for answer in answers for slot in answer]
    assert sorted(told) == slots
    by_answer = {slot: name for name, answer in zip(names, answers, strict=True) for slot in answer}
    assert holders(await journal.slot_rows()) == by_answer


async def test_claims_of_two_journals_on_one_database(journal: EventJournal) -> None:
    """Given two processes' journals, when both claim a slot, then one of them is told that it holds it."""
    other = SqlJournal(journal.url) if isinstance(journal, SqlJournal) else journal
    await other.open()
    try:
        for slot in range(20):
            first, second = await asyncio.gather(
                journal.claim_slots([slot], "a", dead=[]), other.claim_slots([slot], "b", dead=[])
            )
            assert sorted([*first, *second]) == [slot]
    finally:
        await other.close()


async def test_a_later_epoch_is_not_overwritten(journal: EventJournal) -> None:
    """Given a slot written down under an epoch, when an earlier or the same epoch is written, then nothing changes."""
    newest = SlotRow(1, "b", "10.0.0.6:7400", 20, 200)
    await journal.save_slots([SlotRow(1, "a", None, 10, 100), SlotRow(2, "a", None, 10, 100)])
    await journal.save_slots([newest])

    await journal.save_slots([SlotRow(1, "late", None, 19, 300), SlotRow(2, "late", None, 10, 300)])

    assert await journal.slot_rows() == [newest, SlotRow(2, "a", None, 10, 100)]


async def test_all_slots_are_saved_at_once(widest_journal: EventJournal) -> None:
    """Given as many slots as there can be, when they are saved in one call, then all are there, in order."""
    rows = [SlotRow(slot, "é-node", f"host-{slot}:1", slot + 1, slot) for slot in range(8_192)]

    await widest_journal.save_slots(rows[::-1])

    assert await widest_journal.slot_rows() == rows


async def test_only_own_slots_are_forgotten(journal: EventJournal) -> None:
    """Given slots of two nodes, when one forgets them all, then the other's stay."""
    await journal.claim_slots([1, 2], "a", dead=[])
    await journal.claim_slots([3], "b", dead=[])

    await journal.forget_slots([1, 2, 3], "a")

    assert holders(await journal.slot_rows()) == {3: "b"}


async def test_a_nodes_name_is_used_again(journal: EventJournal) -> None:
    """Given a node's row, when a new process uses the name, then all of the row is the new process's."""
    await journal.register_node(NodeRow("n", "old-host", 1, "10.0.0.5:7400", 10, 11))
    again = NodeRow("n", "new-host", 2, None, 20, 21)

    await journal.register_node(again)

    assert await journal.nodes() == [again]


async def test_key_gives_its_commands_events(journal: EventJournal) -> None:
    """Given a command of three events between others, when its key is looked up, then its three events come back."""
    before = Owner(3).lease().born(1, HITS).event(1, 1, command_id=TWO)
    await journal.append(before.batch())
    keyed = before.event(1, 2, command_id=ONE, key="k").event(1, 3, command_id=ONE).event(1, 4, command_id=ONE).batch()
    await journal.append(keyed)
    await journal.append(before.event(1, 5, command_id=TWO).event(1, 6, command_id=ONE).batch())

    assert await journal.find_key(entity_id(3, 1), "k") == recorded(keyed)


async def test_key_of_a_single_event(journal: EventJournal) -> None:
    """Given keyed events without a command id and at the end, when they are looked up, then each is alone."""
    owner = Owner(3).lease().born(1, HITS).event(1, 1, key="none").event(1, 2)
    await journal.append(owner.batch())
    last = owner.event(1, 3, command_id=ONE, key="last").batch()
    await journal.append(last)

    assert [event.sequence for event in await journal.find_key(entity_id(3, 1), "none")] == [1]
    assert await journal.find_key(entity_id(3, 1), "last") == recorded(last)


async def test_key_belongs_to_its_entity(journal: EventJournal) -> None:
    """Given a key of one entity, when it is looked up for another, or another key is, then nothing is found."""
    owner = Owner(3).lease().born(1, HITS).event(1, 1, command_id=ONE, key="k")
    await journal.append(owner.batch())

    assert await journal.find_key(entity_id(3, 2), "k") == []
    assert await journal.find_key(entity_id(3, 1), "K") == []


async def test_secret_stays(journal: EventJournal) -> None:
    """Given a journal, when its secret is asked for twice, then it is the same 32 bytes."""
    secret = await journal.secret()

    assert len(secret) == 32
    assert secret == await journal.secret()


async def test_secrets_differ(three_journals: list[EventJournal]) -> None:
    """Given three journals, when their secrets are asked for, then no two are the same."""
    secrets = {await journal.secret() for journal in three_journals}

    assert len(secrets) == 3


async def test_no_secret(journal_url: str, sql: Callable[..., list[tuple[Any, ...]]]) -> None:
    """Given a journal whose secret was removed, when it is asked for, then the error says what to do."""
    await asyncio.to_thread(sql, journal_url, "DELETE FROM casty_secrets")
    journal = SqlJournal(journal_url)
    await journal.open()
    try:
        with pytest.raises(ConfigurationError, match=r"no cluster secret.*secret="):
            await journal.secret()
    finally:
        await journal.close()


async def test_secret_that_may_not_be_read(
    postgres_journal_url: str, sql: Callable[..., list[tuple[Any, ...]]]
) -> None:
    """Given a role that may not read the secret, when it asks for it, then the error says what to grant."""
    await asyncio.to_thread(
        sql,
        postgres_journal_url,
        "CREATE ROLE casty_auditor LOGIN",
        "GRANT SELECT ON casty_events, casty_meta, casty_es_alembic_version TO casty_auditor",
    )
    journal = SqlJournal(as_role(postgres_journal_url, "casty_auditor"))
    try:
        await journal.open()
        with pytest.raises(ConfigurationError, match=r"may not read the cluster's secret.*Grant it SELECT"):
            await journal.secret()
    finally:
        await journal.close()
        await asyncio.to_thread(sql, postgres_journal_url, "DROP OWNED BY casty_auditor", "DROP ROLE casty_auditor")
