"""Retention, redaction and verification in each other's way, in the orders that went wrong once."""

from __future__ import annotations

import asyncio
import gzip
from pathlib import Path
from typing import Any

import pytest

from casty_es import ClusteredActorSystem, SqlJournal
from casty_es.audit.archive import read_archive
from casty_es.audit.redaction import finish_redactions, redact
from casty_es.audit.retention import check_archive, run_retention, set_retention
from casty_es.audit.retention.retention_run import _Run
from casty_es.audit.verify import Wrong, verify
from casty_es.errors import InvalidArgumentError, NotDoneError
from casty_es.journal.port import EntityName, EventRow
from casty_es.names import encode_key
from tests.audit.verifying.tampering import Tamperer

from .conftest import CrashError, Crashing, findings


def key(name: str) -> EntityName:
    """Return the entity of a key of the map."""
    return EntityName("map", "users", encode_key(name))


async def put(system: ClusteredActorSystem, name: str, times: int, *, word: str = "secret") -> None:
    """Put a key several times."""
    for number in range(times):
        await system.distributed().map[str, str]("users", shards=1).put(name, f"{word} {number}")


def plain(file: Path) -> bytes:
    """Return what an archive holds."""
    return gzip.decompress(file.read_bytes())


async def test_a_key_that_is_deleted_while_it_is_archived(
    system: ClusteredActorSystem, journal: SqlJournal, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given two keys in one archive, when one is deleted before its cut, then both are cut."""
    await put(system, "a", 6)
    await put(system, "b", 6)
    await set_retention(journal, "map", "users", 2)
    real = _Run._cut

    async def cut(run: _Run, one: Any, *given: Any) -> None:
        if one.entity.key == encode_key("b"):
            await system.distributed().map[str, str]("users", shards=1).delete("b")
        await real(run, one, *given)

    monkeypatch.setattr(_Run, "_cut", cut)

    done = await run_retention(system, journal, folder, pace=0)

    assert (done.entities, done.events) == (2, 8)
    assert await check_archive(journal, folder / done.archives[0]) == []
    assert (await verify(journal)).findings == []


async def test_an_archive_of_which_not_everything_was_cut(
    journal_url: str, system: ClusteredActorSystem, journal: SqlJournal, folder: Path, crashing: Crashing
) -> None:
    """Given a run that ends between two keys, when the next one is done, then each has what was cut."""
    await put(system, "a", 6)
    await put(system, "b", 6)
    await set_retention(journal, "map", "users", 2)
    crashing.in_(4, after=False)  # seal, drop and cut of the first key were done
    with pytest.raises(CrashError):
        await run_retention(system, journal, folder, pace=0)
    crashing.never()
    assert [file.name[-5:] for file in folder.iterdir()] == [".open"]  # noqa: ASYNC240 - two files

    second = (await run_retention(system, journal, folder, pace=0)).archives

    files = sorted(folder.iterdir())  # noqa: ASYNC240 - likewise
    assert [file.suffix for file in files] == [".gz", ".gz"]
    assert [{row.key for row, _ in read_archive(file)} for file in files if file.name not in second] == [
        {encode_key("a")}
    ]
    assert [await check_archive(journal, file) for file in files] == [[], []]
    assert await findings(journal_url) == []
    # The seal that was not cut under names the first one, which has nothing of it any more.
    done = await redact(system, journal, key("b"), reason="asked", archives=files)
    assert (done.archives, done.left) == (tuple(second), ())
    assert b"secret" not in plain(folder / second[0])


async def test_an_archive_that_turns_up_later(system: ClusteredActorSystem, journal: SqlJournal, folder: Path) -> None:
    """Given a redaction without an archive, when the archive is given later, then its values go, and it says so."""
    await put(system, "a", 6)
    await set_retention(journal, "map", "users", 2)
    file = folder / (await run_retention(system, journal, folder)).archives[0]
    done = await redact(system, journal, key("a"), reason="asked", without_archives=True)
    assert done.left == (file.name,)
    await put(system, "a", 1, word="later")

    late = await redact(system, journal, key("a"), reason="found", archives=[file])

    assert late.archives == (file.name,)
    assert b"secret" not in plain(file)
    assert await check_archive(journal, file) == []


async def test_finishing_without_an_archive(
    system: ClusteredActorSystem, journal: SqlJournal, folder: Path, crashing: Crashing
) -> None:
    """Given a redaction that was interrupted, when it is finished without its archive, then that is refused first."""
    await put(system, "a", 6)
    await set_retention(journal, "map", "users", 2)
    file = folder / (await run_retention(system, journal, folder)).archives[0]
    crashing.in_(1, after=True)
    with pytest.raises(CrashError):
        await redact(system, journal, key("a"), reason="asked", archives=[file])
    crashing.never()

    with pytest.raises(InvalidArgumentError, match=file.name):
        await finish_redactions(journal)

    assert [one.archives for one in await finish_redactions(journal, archives=[file])] == [(file.name,)]
    assert b"secret" not in plain(file)
    assert await check_archive(journal, file) == []


async def test_an_archive_behind_a_link(system: ClusteredActorSystem, journal: SqlJournal, folder: Path) -> None:
    """Given a link to an archive, when it is redacted, then the file behind it is, with the rights that it had."""
    await put(system, "a", 6)
    await set_retention(journal, "map", "users", 2)
    file = folder / (await run_retention(system, journal, folder)).archives[0]
    elsewhere = folder / "elsewhere"
    file.rename(elsewhere)
    file.symlink_to(elsewhere)
    elsewhere.chmod(0o640)

    await redact(system, journal, key("a"), reason="asked", archives=[file])

    assert file.is_symlink()
    assert b"secret" not in plain(elsewhere)
    assert elsewhere.stat().st_mode & 0o777 == 0o640


async def test_one_at_a_time(journal_url: str, system: ClusteredActorSystem, journal: SqlJournal, folder: Path) -> None:
    """Given somebody who maintains the journal, when another one begins to, then that is refused."""
    await put(system, "a", 6)
    await set_retention(journal, "map", "users", 2)
    other = SqlJournal(journal_url)
    await other.open()
    async with other.alone():
        for attempt in (
            run_retention(system, journal, folder),
            redact(system, journal, key("a"), reason="asked"),
            finish_redactions(journal),
        ):
            with pytest.raises(NotDoneError, match="Another"):
                await attempt
    await other.close()

    assert (await run_retention(system, journal, folder)).events == 4


class Walked(SqlJournal):
    """A journal in which something happens after the first page of a walk."""

    meanwhile: Any = None

    async def rows(self, slot: int, *, after: int = 0, limit: int = 1_000) -> list[EventRow]:
        """Return small pages, and let it happen between the first two."""
        if after and self.meanwhile is not None:
            meanwhile, self.meanwhile = self.meanwhile, None
            await meanwhile()
        return list(await super().rows(slot, after=after, limit=min(limit, 4)))


async def test_a_redaction_during_a_walk(journal_url: str, system: ClusteredActorSystem, journal: SqlJournal) -> None:
    """Given a verification under way, when an entity it has met is redacted whole, then that is no finding."""
    await put(system, "a", 12)
    walked = Walked(journal_url)
    await walked.open()

    async def meanwhile() -> None:
        await redact(system, journal, key("a"), reason="asked")

    walked.meanwhile = meanwhile
    report = await verify(walked)
    await walked.close()

    assert walked.meanwhile is None
    assert report.findings == []


@pytest.mark.parametrize("limit", [1, 3])
async def test_a_redacted_key_that_is_being_cut(
    journal_url: str,
    system: ClusteredActorSystem,
    journal: SqlJournal,
    folder: Path,
    crashing: Crashing,
    monkeypatch: pytest.MonkeyPatch,
    limit: int,
) -> None:
    """Given a redacted key, when a cut over its redaction ends half-way, then nothing is ever found."""
    await put(system, "a", 4)
    await redact(system, journal, key("a"), reason="asked")
    await put(system, "a", 6, word="later")
    await set_retention(journal, "map", "users", 2)
    monkeypatch.setattr("casty_es.audit.retention.retention_run._DELETED_AT_A_TIME", limit)
    for number in range(1, 30):
        crashing.in_(number, after=True)
        try:
            await run_retention(system, journal, folder, pace=0)
        except CrashError:
            crashing.never()
            assert await findings(journal_url) == []
        else:
            crashing.never()
            break

    assert await findings(journal_url) == []
    assert await system.distributed().map[str, str]("users", shards=1).get("a") == "later 5"


async def test_a_resumed_verification_behind_a_cut(
    journal_url: str, system: ClusteredActorSystem, journal: SqlJournal, folder: Path
) -> None:
    """Given a verification that is taken up after a cut across its end, then it finds nothing."""
    resume = folder / "verified.json"
    await put(system, "a", 6)
    await put(system, "b", 3)
    assert (await verify(journal_url, resume=resume)).findings == []
    await put(system, "a", 6)
    await set_retention(journal, "map", "users", 2)
    await run_retention(system, journal, folder, pace=0)
    await put(system, "a", 3)

    assert (await verify(journal_url, resume=resume)).findings == []
    assert await findings(journal_url) == []


async def test_a_forged_state_behind_a_redaction(
    journal_url: str, system: ClusteredActorSystem, journal: SqlJournal, folder: Path
) -> None:
    """Given a cut that ends with a redaction, when the empty state there is forged, then verification finds it."""
    await put(system, "a", 3)
    await redact(system, journal, key("a"), reason="asked")
    await put(system, "a", 2, word="later")
    await set_retention(journal, "map", "users", 2)
    assert (await run_retention(system, journal, folder)).events == 4
    assert await findings(journal_url) == []

    await Tamperer(journal_url).run("""UPDATE casty_snapshots SET state = '{"value":"FORGED"}' WHERE sequence = 4""")

    assert Wrong.SNAPSHOT in [wrong for _, _, wrong, _ in await findings(journal_url)]


async def test_a_wrong_snapshot_is_not_sealed(
    journal_url: str, system: ClusteredActorSystem, journal: SqlJournal, folder: Path
) -> None:
    """Given a wrong snapshot where a cut would end, when retention runs, then it refuses to make it the truth."""
    await put(system, "a", 6)
    [stored] = await journal.entities([key("a")])
    assert stored is not None
    await Tamperer(journal_url).run(
        f"""INSERT INTO casty_snapshots VALUES ({stored.id}, 4, '{{"value":"FORGED"}}', 1, 0)"""
    )
    await set_retention(journal, "map", "users", 2)

    with pytest.raises(Exception, match="is not what its events give"):
        await run_retention(system, journal, folder)

    assert await journal.bounds(stored.id) == (1, 6)


async def test_a_lock_whose_request_was_cut(
    journal_url: str, system: ClusteredActorSystem, journal: SqlJournal, folder: Path
) -> None:
    """Given somebody in line whose request was cut, when the slot moves to another node, then the line goes on."""
    d = system.distributed()
    holder, waiter = d.lock("deploy"), d.lock("deploy", timeout=60)
    await holder.acquire()
    waiting = asyncio.create_task(waiter.acquire())
    [stored] = await journal.entities([EntityName("lock", "deploy", "")])
    while (await journal.bounds(stored.id if stored else 0))[1] < 2:  # noqa: ASYNC110 - the journal tells nobody
        await asyncio.sleep(0)
    third = asyncio.create_task(d.lock("deploy", timeout=60).acquire())
    while (await journal.bounds(stored.id if stored else 0))[1] < 3:  # noqa: ASYNC110 - likewise
        await asyncio.sleep(0)
    await set_retention(journal, "lock", "deploy", 1)
    assert (await run_retention(system, journal, folder)).events == 2
    node = system._node
    assert node is not None
    await node.owner.hand_over(node.owner.slots)

    assert await holder.release()
    await waiting
    assert await waiter.release()
    await third
    assert await findings(journal_url) == []
