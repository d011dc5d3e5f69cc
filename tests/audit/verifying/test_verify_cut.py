"""What was cut under a seal and what was redacted verifies, until somebody touches that too."""

from __future__ import annotations

import asyncio

import pytest

from casty_es import connect
from casty_es.audit.seals import rows_digest, state_digest
from casty_es.audit.verify import Report, Wrong, verify
from casty_es.domain.upkeep import Redact, Seal
from casty_es.format.chain import digest
from casty_es.format.redacted import redacted_text
from casty_es.journal.port import SealRow
from casty_es.journal.urls import is_sqlite, sqlite_file

from .tampering import Place, Tamperer

CUT = 40
STATE = '{"value":40,"exists":true}'


@pytest.fixture
async def cut(tamperer: Tamperer) -> Place:
    """Cut the counter's first events, as retention does; return the place of the first one."""
    first = await tamperer.place("counter", "hits", 1)
    rows = await tamperer.run(f"SELECT position, hash FROM casty_events WHERE slot = {first.slot} ORDER BY position")
    hashes = dict(rows)
    events = await tamperer.run(
        f"SELECT position FROM casty_events WHERE entity = {first.entity} AND sequence <= {CUT} ORDER BY sequence"
    )
    seals = [SealRow(at, at, first.entity, hashes[at - 1], hashes[at], CUT) for (at,) in events]
    [(salt,)] = await tamperer.run(f"SELECT salt FROM casty_entities WHERE id = {first.entity}")
    async with connect(tamperer.url) as d:
        seal = Seal(CUT, CUT, rows_digest(seals), state_digest(salt, STATE), "archive.gz", "00" * 32)
        await d.counter("hits")._ask(seal)
    [(by,)] = await tamperer.run(f"SELECT max(sequence) FROM casty_events WHERE entity = {first.entity}")
    inserts = [
        f"INSERT INTO casty_seals VALUES ({first.slot}, {one.first}, {one.last}, {one.entity}, "
        f"{tamperer.bytes_as(one.previous_hash.hex())}, {tamperer.bytes_as(one.hash.hex())}, {by})"
        for one in seals
    ]
    await tamperer.run(
        f"DELETE FROM casty_snapshots WHERE entity = {first.entity} AND sequence <= {CUT}",
        f"INSERT INTO casty_snapshots VALUES ({first.entity}, {CUT}, '{STATE}', 1, 0)",
        *inserts,
        f"DELETE FROM casty_events WHERE entity = {first.entity} AND sequence <= {CUT}",
    )
    return first


async def findings(url: str) -> list[tuple[int | None, int | None, Wrong]]:
    """Verify, and give slot, position and kind of what was found."""
    return [(one.slot, one.position, one.wrong) for one in (await verify(url)).findings]


async def test_a_cut_under_a_seal(tamperer: Tamperer, cut: Place) -> None:
    """Given a cut under a seal, when the journal is verified, then nothing is wrong and the cut records are counted."""
    report = await verify(tamperer.url)

    assert report.findings == []
    assert report.cut == CUT
    assert cut.position == 2


@pytest.mark.parametrize(
    ("statement", "wrong"),
    [
        ("UPDATE casty_seals SET sealed_by = sealed_by + 1", Wrong.SEAL),
        ("UPDATE casty_seals SET last = last + 0, previous_hash = hash WHERE first = 2", Wrong.SEAL),
        ("DELETE FROM casty_seals WHERE last = 2", Wrong.MISSING),
        ("DELETE FROM casty_events WHERE position = 42", Wrong.MISSING),
        (f"DELETE FROM casty_snapshots WHERE sequence = {CUT}", Wrong.SNAPSHOT),
        (f"UPDATE casty_snapshots SET state = '{{}}' WHERE sequence = {CUT} AND state = '{STATE}'", Wrong.SNAPSHOT),
        ("DELETE FROM casty_events WHERE type = 'entity.sealed'", Wrong.SEAL),
        ("UPDATE casty_seals SET slot = slot - 1 WHERE first = 2", Wrong.MISSING),
        ("UPDATE casty_seals SET first = first - 1 WHERE first = 20", Wrong.SEAL),
        ("UPDATE casty_seals SET last = 900 WHERE last = 41", Wrong.SEAL),
        ("UPDATE casty_seals SET entity = entity + 1 WHERE first = 2", Wrong.SEAL),
        ("UPDATE casty_seals SET hash = previous_hash WHERE first = 20", Wrong.SEAL),
        ("UPDATE casty_seals SET sealed_by = sealed_by - 1 WHERE first = 20", Wrong.SEAL),
        (
            f"INSERT INTO casty_snapshots SELECT entity, 10, '{STATE}', 1, 0 FROM casty_seals WHERE last = 2",
            Wrong.SNAPSHOT,
        ),
    ],
)
async def test_a_cut_that_was_tampered_with(tamperer: Tamperer, cut: Place, statement: str, wrong: Wrong) -> None:
    """Given a cut, when its seal, its snapshot or what stands behind it is changed, then it is found."""
    await tamperer.run(statement)

    found = await findings(tamperer.url)

    assert wrong in [kind for slot, _, kind in found if slot == cut.slot]


async def test_a_redaction(tamperer: Tamperer) -> None:
    """Given a redacted queue, when it is verified before and after the values are gone, then nothing is wrong."""
    async with connect(tamperer.url) as d:
        await d.queue[int]("jobs")._ask(Redact("asked for it"))
        await d.queue[int]("jobs").enqueue(1)
    assert await findings(tamperer.url) == []

    entity, kept = await scrub(tamperer)

    assert await findings(tamperer.url) == []
    place = await tamperer.place("queue", "jobs", 3)
    await tamperer.run(f"UPDATE casty_events SET payload = '{kept}' WHERE entity = {entity} AND sequence = 3")
    assert (place.slot, place.position, Wrong.ALTERED) in await findings(tamperer.url)


async def scrub(tamperer: Tamperer) -> tuple[int, str]:
    """Replace the queue's payloads by their digests; return the entity and what the third one was."""
    [(entity, through)] = await tamperer.run("SELECT id, salted_from FROM casty_entities WHERE salted_from > 0")
    [(salt,)] = await tamperer.run(f"SELECT salt FROM casty_retired_salts WHERE entity = {entity}")
    events = await tamperer.run(
        f"SELECT sequence, payload, metadata FROM casty_events WHERE entity = {entity} AND sequence < {through} "
        f"ORDER BY sequence"
    )

    def forgotten(text: str | None) -> str:
        return "NULL" if text is None else f"'{redacted_text(digest(salt, text))}'"

    await tamperer.run(
        f"DELETE FROM casty_snapshots WHERE entity = {entity} AND sequence <= {through}",
        f'INSERT INTO casty_snapshots VALUES ({entity}, {through}, \'{{"items":[],"exists":false}}\', 1, 0)',
        *[
            f"UPDATE casty_events SET payload = {forgotten(payload)}, metadata = {forgotten(metadata)} "
            f"WHERE entity = {entity} AND sequence = {sequence}"
            for sequence, payload, metadata in events
        ],
        f"DELETE FROM casty_retired_salts WHERE entity = {entity}",
    )
    return entity, events[2][1]


async def test_beside_live_traffic(written_url: str) -> None:
    """Given increments that go on, when the journal is verified again and again, then nothing is ever wrong."""
    async with connect(written_url) as d:
        done = asyncio.Event()

        async def work() -> None:
            number = 0
            while not done.is_set():
                number += 1
                await asyncio.gather(d.counter("hits").increment(), d.map[str, int]("new").put(str(number), number))

        working = asyncio.create_task(work())
        reports: list[Report] = [await verify(written_url) for _ in range(5)]
        done.set()
        await working

    assert [report.findings for report in reports] == [[]] * 5
    assert reports[-1].records > reports[0].records


@pytest.mark.parametrize(("old", "new"), [(b'"value":30}', b'"value":31}'), (b'"value":30}', b'"val\xff\xfe":30}')])
async def test_bytes_of_the_file(tamperer: Tamperer, old: bytes, new: bytes) -> None:
    """Given an SQLite file, when bytes of a payload are changed in it, then that position is named."""
    if not is_sqlite(tamperer.url):
        pytest.skip("Postgres has no file of its own for a journal")
    place = await tamperer.place("counter", "hits", 30)
    file = sqlite_file(tamperer.url)
    content = file.read_bytes()
    assert content.count(b'{"amount":1,' + old) == 1
    file.write_bytes(content.replace(b'{"amount":1,' + old, (b'{"amount":1,' + new)))

    found = await findings(tamperer.url)

    assert (place.slot, place.position) in [(slot, position) for slot, position, _ in found]


async def test_a_page_of_the_file(tamperer: Tamperer) -> None:
    """Given an SQLite file, when a page of it is overwritten, then the damage is a finding and not a crash."""
    if not is_sqlite(tamperer.url):
        pytest.skip("Postgres has no file of its own for a journal")
    [(page,)] = await tamperer.run("SELECT rootpage FROM sqlite_master WHERE name = 'casty_events'")
    file = sqlite_file(tamperer.url)
    content = bytearray(file.read_bytes())
    content[(page - 1) * 4096 : (page - 1) * 4096 + 64] = b"\xaa" * 64
    file.write_bytes(bytes(content))

    assert Wrong.FILE in [kind for _, _, kind in await findings(tamperer.url)]
