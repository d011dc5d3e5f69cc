"""Anchors: they show a tail that was cut off and a chain that was written anew, and cannot be changed themselves."""

from __future__ import annotations

from typing import Final

import msgspec
import pytest

from casty_es.audit.anchor import Anchor, read_anchor, take_anchor
from casty_es.audit.signing import new_key, public_key_of, public_key_pem, read_public_key
from casty_es.audit.verify import Wrong, verify
from casty_es.errors import InvalidValueError
from casty_es.journal.port import LEASE_ACQUIRED, Append, RecordedEvent, record_hash
from casty_es.journal.sql import SqlJournal

from .tampering import Tamperer

HOUR: Final = 3_600_000_000

OLD: Final = """
{"chains":[{"records":[[1,"abababababababababababababababababababababababababababababababab"],
[9,"cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd"]],"slot":3}],
"created_at":1770000000000000,"format":"casty_es anchor 1","incarnation":1,
"public_key":"a7bb4f63a5a9320db2040cc9e5b97f5a815774ada3824b202508e5efd6f9ac24",
"signature":"fa587666eb0c747cc25d13ba44031119ad533ca3db6d0c3639489cc6fff65fe9\
3be905df28231f747a0ffae4491ff8d4af4037b6803a9c9121ee68879f066c09",
"slots":16,"taken_at":1780000000000000}"""


async def anchored(url: str, key: bytes | None = None) -> Anchor:
    """Take an anchor of a journal."""
    journal = SqlJournal(url)
    try:
        return await take_anchor(journal, key=key)
    finally:
        await journal.close()


async def test_an_untouched_journal_fits(written_url: str) -> None:
    """Given an anchor, when nobody touched the journal, then it fits, and a note says that nobody signed it."""
    report = await verify(written_url, anchors=[await anchored(written_url)])

    assert report.findings == []
    assert ["not signed" in note for note in report.notes] == [True]


async def test_a_tail_that_was_cut_off(tamperer: Tamperer) -> None:
    """Given an anchor, when the last records of a slot are deleted, then only the anchor shows it."""
    anchor = await anchored(tamperer.url)
    place = await tamperer.place("counter", "hits", 60)
    await tamperer.run(
        f"DELETE FROM casty_events WHERE slot = {place.slot} AND position >= {place.position - 3}",
        f"DELETE FROM casty_snapshots WHERE entity = {place.entity} AND sequence > 50",
    )

    without, with_anchor = await verify(tamperer.url), await verify(tamperer.url, anchors=[anchor])

    assert without.findings == []
    found = [(one.slot, one.position, one.wrong) for one in with_anchor.findings]
    assert found == [(place.slot, place.position - 3, Wrong.ANCHOR)]


async def test_a_chain_that_was_written_anew(tamperer: Tamperer) -> None:
    """Given an anchor, when a record is edited and every later hash computed anew, then the anchor names the range."""
    anchor = await anchored(tamperer.url)
    place = await tamperer.place("counter", "hits", 30)
    await rewrite(tamperer, place.slot, place.position, '{"amount":1,"value":31}')

    without, with_anchor = await verify(tamperer.url), await verify(tamperer.url, anchors=[anchor])

    assert [one for one in without.findings if one.wrong is Wrong.ALTERED] == []
    [finding] = [one for one in with_anchor.findings if one.wrong is Wrong.ANCHOR]
    checkpoints = [position for chain in anchor.chains if chain.slot == place.slot for position, _ in chain.records]
    good = max(position for position in checkpoints if position < place.position)
    assert (finding.slot, finding.position) == (place.slot, good + 1)


async def rewrite(tamperer: Tamperer, slot: int, position: int, payload: str) -> None:
    """Edit a payload and compute the chain anew from there on."""
    rows = await tamperer.run(f"SELECT * FROM casty_events WHERE slot = {slot} ORDER BY position")
    salts = dict(await tamperer.run("SELECT id, salt FROM casty_entities"))
    previous, statements = rows[position - 2][12], []
    for row in rows[position - 1 :]:
        record = RecordedEvent(*row)
        if record.position == position:
            record = msgspec.structs.replace(record, payload=payload)
        previous = record_hash(previous, record, salts.get(record.entity, b""))
        statements.append(
            f"UPDATE casty_events SET payload = '{record.payload}', hash = {tamperer.bytes_as(previous.hex())} "
            f"WHERE slot = {slot} AND position = {record.position}"
        )
    entity = rows[position - 1][3]
    await tamperer.run(*statements, f"DELETE FROM casty_snapshots WHERE entity = {entity}")


async def test_an_anchor_of_another_journal(written_url: str, small_sqlite_url: str) -> None:
    """Given an anchor, when another journal is verified with it, then it does not fit."""
    anchor = await anchored(written_url)
    report = await verify(small_sqlite_url, anchors=[anchor])

    assert {finding.wrong for finding in report.findings} == {Wrong.ANCHOR}


async def test_a_signature(sqlite_journal_url: str) -> None:
    """Given a signed anchor, when it or its key is changed, then it is refused; as it is, it is read."""
    key, other = new_key(), new_key()
    anchor = await anchored(sqlite_journal_url, key)
    public = public_key_of(key)

    assert read_public_key(public_key_pem(public).encode()) == public
    assert read_anchor(anchor.to_json(), public_key=public) == anchor
    changed = msgspec.structs.replace(anchor, taken_at=anchor.taken_at + 1)
    unsigned = msgspec.structs.replace(anchor, signature=None, public_key=None)
    for document, trusted in ((changed, None), (changed, public), (unsigned, public), (anchor, public_key_of(other))):
        with pytest.raises(InvalidValueError, match="Nothing was verified"):
            read_anchor(document.to_json(), public_key=trusted)


@pytest.mark.parametrize("document", ["", "{}", "[1]", '{"format":"casty_es anchor 1"}', "\udcff"])
def test_what_is_no_anchor(document: str) -> None:
    """Given something else, when it is read as an anchor, then it is refused."""
    with pytest.raises(InvalidValueError, match="Nothing was verified"):
        read_anchor(document.encode(errors="surrogateescape"))


@pytest.mark.parametrize("key", [b"", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"])
def test_what_is_no_key(key: bytes) -> None:
    """Given something else, when it is used as a key, then it is refused."""
    with pytest.raises(InvalidValueError, match="Nothing was done"):
        public_key_of(key)
    with pytest.raises(InvalidValueError, match="Nothing was done"):
        read_public_key(key)


async def append_lease(url: str, slot: int, recorded_at: int) -> int:
    """Append a record to a slot, as its next owner would, with a time; return its position."""
    journal = SqlJournal(url)
    await journal.open()
    try:
        head = (await journal.heads([slot]))[slot]
        position = head.position + 1
        row = (slot, position, position, None, None, LEASE_ACQUIRED, 1, "{}", None, None, None, recorded_at)
        hash_ = record_hash(head.hash, RecordedEvent(*row, b""), b"")
        await journal.append(Append([(slot, head.position, head.hash)], [(*row, hash_)]))
    finally:
        await journal.close()
    return position


@pytest.mark.parametrize(("hours", "wrong"), [(24 * 30, [Wrong.ANCHOR]), (2, [Wrong.ANCHOR]), (0.5, [])])
async def test_a_record_dated_back_in_an_empty_slot(written_url: str, hours: float, wrong: list[Wrong]) -> None:
    """Given an anchor, when a slot that was empty gets a record from long before, then the anchor names it."""
    anchor = await anchored(written_url)
    slot = next(iter(set(range(anchor.slots)) - {chain.slot for chain in anchor.chains}))
    await append_lease(written_url, slot, anchor.taken_at - round(hours * HOUR))

    without, with_anchor = await verify(written_url), await verify(written_url, anchors=[anchor])

    assert without.findings == []
    assert [one.wrong for one in with_anchor.findings] == wrong
    assert [(one.slot, one.position) for one in with_anchor.findings] == [(slot, 1)] * len(wrong)


async def test_a_record_dated_back_behind_others(written_url: str) -> None:
    """Given an anchor of slots that rested for a month, when one gets a record from meanwhile, then it is named."""
    anchor = await anchored(written_url)
    rested = msgspec.structs.replace(anchor, taken_at=anchor.taken_at + 30 * 24 * HOUR)
    head = anchor.chains[0].records[-1][0]
    position = await append_lease(written_url, anchor.chains[0].slot, anchor.taken_at + 24 * HOUR)

    report = await verify(written_url, anchors=[rested])

    assert [(one.slot, one.position, one.wrong) for one in report.findings] == [
        (anchor.chains[0].slot, position, Wrong.ANCHOR)
    ]
    assert f"ended at position {head}" in report.findings[0].text


async def test_when_the_journal_was_made(tamperer: Tamperer) -> None:
    """Given an anchor, when the row of casty_meta says that the journal is older or newer, then the anchor shows it."""
    anchor = await anchored(tamperer.url)
    await tamperer.run("UPDATE casty_meta SET created_at = created_at - 1")

    assert (await verify(tamperer.url)).findings == []
    assert [one.wrong for one in (await verify(tamperer.url, anchors=[anchor])).findings] == [Wrong.ANCHOR]


async def test_an_incarnation_that_was_raised(tamperer: Tamperer) -> None:
    """Given an anchor, when the incarnation was raised since, as by an accepted loss, then a note says by how much."""
    anchor = await anchored(tamperer.url)
    await tamperer.run("UPDATE casty_meta SET incarnation = 3")

    report = await verify(tamperer.url, anchors=[anchor])

    assert report.findings == []
    assert any("went from 1 to 3" in note for note in report.notes)


def test_an_anchor_of_the_first_release_is_read() -> None:
    """Given a signed anchor that the first release wrote, then it is read, and its signature still fits."""
    anchor = read_anchor(OLD, public_key=bytes.fromhex(anchor_key(OLD)))

    assert [(chain.slot, len(chain.records)) for chain in anchor.chains] == [(3, 2)]


def anchor_key(document: str) -> str:
    """Return the key that an anchor says it was signed with."""
    return str(msgspec.json.decode(document)["public_key"])
