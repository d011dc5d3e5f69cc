"""What a policy does not keep is archived, sealed and cut; nothing else changes, and the journal always verifies."""

from __future__ import annotations

import asyncio
import gzip
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from casty_es import ClusteredActorSystem, Settings, SqlJournal
from casty_es.audit.anchor import take_anchor
from casty_es.audit.archive import read_archive
from casty_es.audit.redaction import redact
from casty_es.audit.retention import check_archive, keep_text, parse_keep, policies, run_retention, set_retention
from casty_es.audit.retention.cutting import EVENTS_PER_SEAL
from casty_es.audit.search import Wanted, follow
from casty_es.audit.verify import verify
from casty_es.cli.app import run
from casty_es.domain.counter import COUNTER, Increment
from casty_es.errors import (
    ArchivedError,
    InvalidArgumentError,
    InvalidTypeError,
    InvalidValueError,
    OutcomeUnknownError,
    Sent,
)
from casty_es.format.codec import encode_state
from casty_es.journal.maintenance import Maintenance
from casty_es.journal.port import EntityName, StoredSnapshot, TailEvent
from casty_es.names import encode_key
from casty_es.replay import state_at
from casty_es.runtime import SystemRuntime
from tests.audit.verifying.tampering import Tamperer

from .conftest import CrashError, Crashing, findings

HITS = EntityName("counter", "hits", "")


async def use_all(system: ClusteredActorSystem, times: int) -> None:
    """Use every kind for a while; the counter and the keys stand in slots of their own and share them."""
    d = system.distributed()
    lock, pool = d.lock("deploy"), d.semaphore("pool", permits=2)
    for number in range(times):
        await d.counter("hits", shards=1).increment()
        await d.map[str, int]("users", shards=1).put(f"user-{number % 3}", number)
        await d.set[int]("tags").add(number)
        await d.queue[int]("jobs").enqueue(number)
        if number % 2:
            await d.queue[int]("jobs").dequeue()
        await lock.acquire()
        await lock.release()
        await pool.acquire()
        await pool.release()
        await d.barrier("start", node_id="a").arrive(1)


def files(folder: Path) -> list[Path]:
    """Return the archives."""
    return sorted(folder.iterdir())


async def keep_all_kinds(journal: SqlJournal, keep: Any) -> None:
    """Give every structure of ``use_all`` this policy."""
    for row in await journal.structure_rows():
        await set_retention(journal, row.kind, row.name, keep)


async def states(system: ClusteredActorSystem) -> list[Any]:
    """Read everything that can be read of ``use_all``."""
    d = system.distributed()
    users = d.map[str, int]("users", shards=1)
    return [
        await d.counter("hits", shards=1).get(),
        [await users.get(f"user-{number}") for number in range(3)],
        await d.set[int]("tags").size(),
        [await d.queue[int]("jobs").size(), await d.queue[int]("jobs").peek()],
        await d.lock("deploy").locked(),
        await d.semaphore("pool", permits=2).available(),
    ]


async def test_by_number(journal_url: str, system: ClusteredActorSystem, journal: SqlJournal, folder: Path) -> None:
    """Given three runs with use between them, when each is over, then the newest are kept, and everything verifies."""
    anchors = []
    cut = 0
    for turn in range(1, 4):
        await use_all(system, 10)
        anchors.append(await take_anchor(journal))
        await keep_all_kinds(journal, 4)
        before = await states(system)

        done = await run_retention(system, journal, folder, pace=0)

        cut += done.events
        assert done.entities >= 6
        assert len(done.archives) == 1
        report = await verify(journal_url, anchors=anchors)
        assert (report.findings, report.cut) == ([], cut)
        assert await states(system) == before
        async with ClusteredActorSystem(journal=SqlJournal(journal_url)) as other:
            assert await states(other) == before
        [stored] = await journal.entities([HITS])
        assert stored is not None
        first, last = await journal.bounds(stored.id)
        assert (last - first + 1, last) == (5, 10 * turn + turn)  # four and the newest seal
        assert (await run_retention(system, journal, folder, pace=0)).events == 0
    archives = files(folder)
    assert len(archives) == 3
    assert [await check_archive(journal, file) for file in archives] == [[], [], []]
    assert sum(1 for file in archives for _ in read_archive(file)) == cut


async def test_by_age(journal_url: str, system: ClusteredActorSystem, journal: SqlJournal, folder: Path) -> None:
    """Given old and new events, when what is older than an age is cut, then the new ones and each newest one stay."""
    await use_all(system, 5)
    between = datetime.now(UTC)
    await system.distributed().counter("hits", shards=1).increment()
    await keep_all_kinds(journal, timedelta(hours=1))

    assert (await run_retention(system, journal, folder, now=between)).events == 0
    await run_retention(system, journal, folder, now=between + timedelta(hours=1), pace=0)

    kept = [event.type async for event in system.distributed().counter("hits", shards=1).history()]
    assert kept == ["counter.incremented", "entity.sealed"]
    late = between + timedelta(days=1)
    for _ in range(3):  # a seal is not cut to make room for another seal
        await run_retention(system, journal, folder, now=late, pace=0)
    assert (await run_retention(system, journal, folder, now=late)).events == 0
    assert await system.distributed().counter("hits", shards=1).get() == 6
    assert await findings(journal_url) == []


async def test_the_past_behind_a_cut(system: ClusteredActorSystem, journal: SqlJournal, folder: Path) -> None:
    """Given a cut, when the past is asked for, then what is kept answers, and the rest names the archive."""
    hits = system.distributed().counter("hits")
    for _ in range(8):
        await hits.increment()
    cursor = await system.distributed().cursor()
    await hits.increment()
    await set_retention(journal, "counter", "hits", 3)
    [archive] = (await run_retention(system, journal, folder)).archives

    assert [await hits.at(sequence=sequence).get() for sequence in (6, 7, 9, 10)] == [6, 7, 9, 9]
    assert await system.distributed().at(cursor).counter("hits").get() == 8
    with pytest.raises(ArchivedError, match="cut by retention"):
        await hits.at(sequence=3).get()
    history = [event async for event in hits.history()]
    assert [event.sequence for event in history] == [7, 8, 9, 10]
    assert history[-1].payload["archive"] == archive
    assert [event[4] for _, event in read_archive(folder / archive)] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("after", [False, True])
async def test_a_crash_at_any_step(
    journal_url: str,
    system: ClusteredActorSystem,
    journal: SqlJournal,
    folder: Path,
    crashing: Crashing,
    *,
    after: bool,
) -> None:
    """Given a run that ends at any of its steps, when the next one runs, then nothing is lost or sealed wrongly."""
    crashed = []
    hits, users = system.distributed().counter("hits", shards=1), system.distributed().map[str, int]("users")
    for number in range(1, 30):
        for value in range(4):
            await hits.increment()
            await users.put("alice", value)
        await keep_all_kinds(journal, 2)
        crashing.in_(number, after=after)
        try:
            await run_retention(system, journal, folder, pace=0)
        except CrashError as error:
            crashed.append(str(error))
        crashing.never()
        assert await findings(journal_url) == []
        await run_retention(system, journal, folder, pace=0)
        assert await findings(journal_url) == []
        assert (await hits.get(), await users.get("alice")) == (4 * number, 3)
        if len(crashed) < number:
            break

    assert set(crashed) == {"seal", "cut", "drop_snapshots"}
    # Every event of the counter is in the journal or in an archive.
    [stored] = await journal.entities([HITS])
    assert stored is not None
    archived = {event[4] for file in files(folder) for row, event in read_archive(file) if row.id == stored.id}
    first, last = await journal.bounds(stored.id)
    assert archived | set(range(first, last + 1)) == set(range(1, last + 1))


@pytest.mark.timeout(300)  # what goes on meanwhile is more the longer it takes
async def test_beside_traffic(
    journal_url: str, system: ClusteredActorSystem, journal: SqlJournal, folder: Path
) -> None:
    """Given callers that go on, when retention and verification run, then nothing is lost and nothing is found."""
    hits, users = system.distributed().counter("hits"), system.distributed().map[str, int]("users", shards=1)
    stop, begun = asyncio.Event(), asyncio.Event()
    counted = 0

    async def work() -> None:
        nonlocal counted
        while not stop.is_set():
            results = await asyncio.gather(*(hits.increment() for _ in range(20)), users.put("alice", counted))
            counted += 20
            assert max(result or 0 for result in results[:20]) == counted
            begun.set()

    working = asyncio.create_task(work())
    await begun.wait()
    await set_retention(journal, "counter", "hits", 5)
    await set_retention(journal, "map", "users", 1)
    for _ in range(4):
        done, found = await asyncio.gather(run_retention(system, journal, folder, pace=0), findings(journal_url))
        assert found == []
        assert done.events
    stop.set()
    await working

    assert await hits.get() == counted
    assert await findings(journal_url) == []
    for file in files(folder):
        assert await check_archive(journal, file) == []


async def test_more_than_one_seal(system: ClusteredActorSystem, journal: SqlJournal, folder: Path) -> None:
    """Given more events than one seal covers, when they are cut in one run, then by as many seals as it takes."""
    hits = system.distributed().counter("hits")
    for _ in range(44):  # each is to be done in five seconds, also on a slow machine
        await asyncio.gather(*(hits.increment() for _ in range(250)))
    await set_retention(journal, "counter", "hits", 10)

    done = await run_retention(system, journal, folder, pace=0)

    assert (done.events, len(done.archives)) == (10_990, 2)
    seals = [event.payload["events"] async for event in hits.history() if event.type == "entity.sealed"]
    assert seals == [EVENTS_PER_SEAL, 990]
    assert (await verify(journal)).findings == []


async def test_what_is_held_stays_held(journal_url: str, journal: SqlJournal, folder: Path) -> None:
    """Given a lock that is held and waited for, when its requests are cut, then the line goes on as it was."""
    async with ClusteredActorSystem(journal=SqlJournal(journal_url)) as system:
        d = system.distributed()
        holder = d.lock("busy")
        await holder.acquire()
        waiting = asyncio.create_task(d.lock("busy", timeout=30).acquire())
        async for _ in follow(journal, Wanted(kind="lock", name="busy", types=frozenset({"lock.requested"}))):
            break
        await d.counter("other").increment()
        await set_retention(journal, "lock", "busy", 1)

        assert (await run_retention(system, journal, folder)).events == 1
        assert await holder.release()
        await waiting
        assert not await d.lock("busy").try_acquire()
    assert await findings(journal_url) == []


async def test_after_a_redaction(
    journal_url: str, system: ClusteredActorSystem, journal: SqlJournal, folder: Path
) -> None:
    """Given cuts before and after a redaction with its archives, then all archives still fit, without the values."""
    users = system.distributed().map[str, str]("users")
    name = EntityName("map", "users", encode_key("alice"))
    for number in range(6):
        await users.put("alice", f"secret {number}")
    await set_retention(journal, "map", "users", 2)
    first = folder / (await run_retention(system, journal, folder)).archives[0]
    with pytest.raises(InvalidArgumentError, match=first.name):
        await redact(system, journal, name, reason="asked")
    assert await users.get("alice") == "secret 5"

    done = await redact(system, journal, name, reason="asked", archives=[first])
    for number in range(5):
        await users.put("alice", f"later {number}")
    [second] = (await run_retention(system, journal, folder)).archives

    assert done.archives == (first.name,)
    assert await check_archive(journal, first) == []
    assert await check_archive(journal, folder / second) == []
    for file in (first, folder / second):
        assert b"secret" not in gzip.decompress(file.read_bytes())
    assert await findings(journal_url) == []
    assert await users.get("alice") == "later 4"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'value\\":2}', b'value\\":7}'),
        (b'"sequence":2,', b'"sequence":9,'),
        (b'"type":"counter.incremented"', b'"type":"x"'),
    ],
)
async def test_an_archive_that_was_changed(
    system: ClusteredActorSystem, journal: SqlJournal, folder: Path, old: bytes, new: bytes
) -> None:
    """Given an archive, when something in it is changed, then checking it says which event is not the one cut."""
    for _ in range(6):
        await system.distributed().counter("hits").increment()
    await set_retention(journal, "counter", "hits", 2)
    file = folder / (await run_retention(system, journal, folder)).archives[0]
    content = gzip.decompress(file.read_bytes())
    assert old in content
    file.write_bytes(gzip.compress(content.replace(old, new, 1)))

    [wrong] = await check_archive(journal, file)

    assert "is not the one that was cut" in wrong


async def test_an_archive_with_events_missing(system: ClusteredActorSystem, journal: SqlJournal, folder: Path) -> None:
    """Given an archive, when events are taken out or it is no archive at all, then checking it says so."""
    for _ in range(6):
        await system.distributed().counter("hits").increment()
    await set_retention(journal, "counter", "hits", 2)
    file = folder / (await run_retention(system, journal, folder)).archives[0]
    lines = gzip.decompress(file.read_bytes()).splitlines(keepends=True)
    file.write_bytes(gzip.compress(b"".join(lines[:3] + lines[4:])))
    assert "events are missing" in (await check_archive(journal, file))[0]
    for content in (b"", b"no archive", gzip.compress(b"[]\n"), gzip.compress(b"".join(lines))[:-9]):
        file.write_bytes(content)
        with pytest.raises(InvalidValueError):
            await check_archive(journal, file)


async def test_a_folder_that_is_none(system: ClusteredActorSystem, journal: SqlJournal, folder: Path) -> None:
    """Given no folder for the archives, when retention runs, then it is refused and nothing is cut."""
    for _ in range(6):
        await system.distributed().counter("hits").increment()
    await set_retention(journal, "counter", "hits", 2)
    heads = await journal.heads(range(256))

    with pytest.raises(InvalidArgumentError, match="is not a folder"):
        await run_retention(system, journal, folder / "nowhere")

    assert await journal.heads(range(256)) == heads


async def test_policies(system: ClusteredActorSystem, journal: SqlJournal) -> None:
    """Given policies of each sort, when they are set, then they are read back; what is none is refused."""
    await system.distributed().counter("hits").increment()
    for keep in (timedelta(days=90), 1000, timedelta(seconds=90)):
        await set_retention(journal, "counter", "hits", keep)
        assert await policies(journal) == {("counter", "hits"): keep}
        assert parse_keep(keep_text(keep)) == keep
    await set_retention(journal, "counter", "hits", "all")
    assert await policies(journal) == {}
    for wrong, error in [
        (0, InvalidArgumentError),
        (timedelta(0), InvalidArgumentError),
        ("ever", InvalidTypeError),
        (True, InvalidTypeError),
        (1.5, InvalidTypeError),
    ]:
        with pytest.raises(error, match="Nothing was changed"):
            await set_retention(journal, "counter", "hits", wrong)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgumentError, match="has no counter"):
        await set_retention(journal, "counter", "nobody", 5)
    for text in ("", "90", "1y", "-5", "all of it", "5 d", "1" * 40):
        if text != "90":
            with pytest.raises(InvalidArgumentError):
                parse_keep(text)


class Late(SqlJournal):
    """A journal in which something happens between the reading of a snapshot and of the events behind it."""

    meanwhile: Any = None

    async def tails(self, after: Any, *, limit: int) -> list[TailEvent]:
        """Let it happen first."""
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            await meanwhile()
        return await super().tails(after, limit=limit)


async def test_what_is_read_while_it_is_cut(journal_url: str, journal: SqlJournal, folder: Path) -> None:
    """Given a reader between snapshot and events, when both are cut meanwhile, then it reads again and is right."""
    async with ClusteredActorSystem(journal=SqlJournal(journal_url)) as system:
        for _ in range(9):
            await system.distributed().counter("hits").increment()
        await set_retention(journal, "counter", "hits", 2)

        async def cut() -> None:
            await run_retention(system, journal, folder, pace=0)

        late = Late(journal_url)
        late.meanwhile = cut
        async with ClusteredActorSystem(journal=late) as other:
            assert await other.distributed().counter("hits").at(sequence=9).get() == 9
    assert late.meanwhile is None
    assert len(files(folder)) == 1


@pytest.mark.usefixtures("snapshots_at_once")
async def test_an_owner_that_reads_while_it_is_cut(journal_url: str, journal: SqlJournal) -> None:
    """Given a cold entity, when it is cut between its snapshot and its events, then its owner reads it again."""
    last = 0
    async with ClusteredActorSystem(journal=SqlJournal(journal_url), settings=Settings(snapshot_events=6)) as system:
        # Until the log speaks of the snapshot behind which is cut.
        while last < 9 or not await journal.binding((await journal.directory(*HITS[:2]))[0].id, 6):
            last = await system.distributed().counter("hits").increment()
    [stored] = await journal.entities([HITS])
    assert stored is not None
    base = StoredSnapshot(6, encode_state(COUNTER, await state_at(journal, stored.id, COUNTER, 6)), 1)
    await Tamperer(journal_url).run("DELETE FROM casty_snapshots")

    async def cut() -> None:
        # The owner is busy reading, so its seal is left out: here only the reading matters.
        await Maintenance(journal).replace_states(stored.id, base, 0)
        await Maintenance(journal).cut(stored.id, 6, limit=100)

    late = Late(journal_url)
    async with ClusteredActorSystem(journal=late) as system:
        late.meanwhile = cut
        assert await system.distributed().counter("hits").increment() == last + 1
    assert late.meanwhile is None


async def test_a_repeat_of_what_may_have_been_cut(
    system: ClusteredActorSystem, journal: SqlJournal, folder: Path
) -> None:
    """Given a command whose events were cut, when it is sent again, then nobody does it a second time."""
    hits = system.distributed().counter("hits")
    assert system._node is not None
    owner, id_ = system._node.owner, SystemRuntime().new_id()
    assert await hits.increment() == 1
    slot = owner.slots[(await journal.entities([HITS]))[0].id >> 32]  # type: ignore[union-attr]
    position = slot.head.position

    async def send(**how: Any) -> Any:
        return await owner.submit(HITS, 100, Increment(10), id_, slot=slot, term=slot.term, **how).future

    assert await send() == 11
    for _ in range(5):
        await hits.increment()
    assert await send(repeat_after=position) == 11
    await set_retention(journal, "counter", "hits", 2)
    await run_retention(system, journal, folder)

    with pytest.raises(OutcomeUnknownError, match="nobody can tell"):
        await send(repeat_after=position)
    assert (await system.outcome(UUID(bytes=id_), sent=Sent("counter", slot.number, position, 0))).status == "unknown"
    assert await hits.get() == 16
    fresh = slot.head.position
    id_ = SystemRuntime().new_id()
    assert await send(repeat_after=fresh) == 26


def test_the_command(journal_url: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Given the command line, when a policy is set, shown and run, then the archive is named and fits."""
    url = ["--url", journal_url]
    for _ in range(5):
        assert run(["counter", "increment", "hits", *url]) == 0
    assert run(["retention", "set", "counter", "hits", "--keep", "2", *url]) == 0
    assert run(["retention", "show", *url]) == 0
    capsys.readouterr()
    assert run(["retention", "run", "--archive", str(folder), *url]) == 0
    [file] = folder.iterdir()
    assert capsys.readouterr().out == f"3 events of 1 entities were cut.\nThey are in {file}.\n"
    assert run(["retention", "check", str(file), *url]) == 0
    assert run(["verify", *url]) == 0
    assert run(["retention", "set", "counter", "hits", "--keep", "soon", *url]) == 2
    assert run(["retention", "show", "--json", *url]) == 0
    assert '"keep": "2"' in capsys.readouterr().out
