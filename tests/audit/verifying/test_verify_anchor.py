"""Anchors: they show a tail that was cut off and a chain that was written anew, and cannot be changed themselves."""

from __future__ import annotations

import msgspec
import pytest

from casty_es.audit.anchor import Anchor, read_anchor, take_anchor
from casty_es.audit.signing import new_key, public_key_of, public_key_pem, read_public_key
from casty_es.audit.verify import Wrong, verify
from casty_es.errors import InvalidValueError
from casty_es.journal.port import RecordedEvent, record_hash
from casty_es.journal.sql import SqlJournal

from .tampering import Tamperer


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


async def test_an_anchor_of_another_journal(written_url: str, sqlite_journal_url: str) -> None:
    """Given an anchor, when another journal is verified with it, then it does not fit."""
    anchor = await anchored(written_url)
    report = await verify(sqlite_journal_url, anchors=[anchor])

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
