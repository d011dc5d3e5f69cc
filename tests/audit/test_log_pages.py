"""Pages of the whole journal: none of a thousand events of one moment is left out or comes twice, in either order."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest
import pytest_asyncio

from casty_es import Distributed, InvalidArgumentError, SqlJournal, connect
from casty_es.audit.page_tokens import page_token
from casty_es.audit.retention import parse_keep, run_retention, set_retention
from casty_es.audit.search import Wanted, follow, search
from casty_es.cli.app import run
from casty_es.journal.migrating import upgrade
from casty_es.journal.urls import sqlite_file
from casty_es.replay import HistoryEvent
from tests.conftest import postgres_database
from tests.emptied import Databases

from .conftest import NOON, SetClock

SECOND = 1_000_000
SLOTS = 8  # a page asks each slot where it begins, so that few are quick; and each has more events of one moment
WANTED = (
    Wanted(),
    Wanted(kind="counter"),
    Wanted(kind="counter", name="c3"),
    Wanted(kind="map", name="users"),
    Wanted(kind="map", name="users", key="s:k1"),
    Wanted(kind="map", name="many"),
    Wanted(types=frozenset({"map.put"}), after=NOON),
    Wanted(after=NOON, until=NOON + 2 * SECOND),
    Wanted(kind="counter", name="c3", after=NOON, until=NOON + 2 * SECOND),
    Wanted(kind="counter", name="c3", after_sequence=2, until_sequence=4),
    Wanted(slot=7),
)

Placed = tuple[int, int]


@pytest.fixture(scope="module")
def sqlite_few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated file with few slots."""
    path = tmp_path_factory.mktemp("few") / "casty.db"
    upgrade(f"sqlite:///{path}", slots=SLOTS)
    return path


@pytest.fixture(scope="module")
def postgres_few(postgres_server: str, postgres_copies: Databases) -> Iterator[str]:
    """The name of a migrated database with few slots."""
    with postgres_database(postgres_server) as url:
        upgrade(url, slots=SLOTS)
        template = urlsplit(url).path.removeprefix("/")
        yield template
        postgres_copies.drop(template)


@pytest.fixture
def journal_url(database_kind: str, sqlite_url: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """A journal with few slots."""
    if database_kind == "sqlite":
        shutil.copyfile(request.getfixturevalue("sqlite_few"), sqlite_file(sqlite_url))
        yield sqlite_url
    else:
        copies, template = request.getfixturevalue("postgres_copies"), request.getfixturevalue("postgres_few")
        with copies.copy_of(template) as url:
            yield url


@pytest_asyncio.fixture
async def written(d: Distributed, clock: SetClock) -> int:
    """Four moments with many events each, all over the slots; how many events there are."""
    count = 0
    for moment in range(4):
        clock.time = NOON + moment * SECOND
        users, many = d.map[str, int]("users"), d.map[int, int]("many")
        steps = [d.counter(f"c{number % 20}").increment() for number in range(60)]
        steps += [users.put(f"k{number % 3}", number) for number in range(20)]  # type: ignore[misc]
        steps += [many.put(number, moment) for number in range(40)]  # type: ignore[misc]
        await asyncio.gather(*steps)
        count += len(steps)
    return count


def places(events: list[HistoryEvent]) -> list[Placed]:
    """Return where the events are."""
    return [(event.slot, event.position) for event in events]


async def all_of(journal: SqlJournal, wanted: Wanted, **options: Any) -> list[HistoryEvent]:
    """Search."""
    return [event async for event in search(journal, wanted, **options)]


async def paged(journal: SqlJournal, wanted: Wanted, size: int, *, newest_first: bool) -> list[HistoryEvent]:
    """Search page by page."""
    found: list[HistoryEvent] = []
    behind = None
    while page := await all_of(journal, wanted, limit=size, behind=behind, newest_first=newest_first):
        found += page
        behind = page_token(page[-1])
    return found


async def check_all(journal: SqlJournal, size: int, wanted_ones: tuple[Wanted, ...] = WANTED) -> None:
    """Check every filter in both orders against the whole."""
    for wanted in wanted_ones:
        whole = places(await all_of(journal, wanted))
        assert len(set(whole)) == len(whole)
        assert places(await all_of(journal, wanted, newest_first=True)) == whole[::-1], wanted
        assert places(await paged(journal, wanted, size, newest_first=False)) == whole, wanted
        assert places(await paged(journal, wanted, size, newest_first=True)) == whole[::-1], wanted


@pytest.mark.parametrize("size", [47, 100])
async def test_pages(journal: SqlJournal, written: int, size: int) -> None:
    """Given hundreds of events of one moment, when they are read page by page, then each comes once, in order."""
    assert len(await all_of(journal, Wanted())) == written
    await check_all(journal, size)


async def test_pages_of_what_was_cut(d: Distributed, journal: SqlJournal, written: int, tmp_path: Any) -> None:
    """Given entities of which retention has cut, when the rest is read page by page, then each comes once."""
    [third] = await all_of(journal, Wanted(kind="counter", name="c3"), limit=1)
    await set_retention(journal, "counter", "c3", parse_keep("2"))
    await set_retention(journal, "map", "users", parse_keep("1"))
    assert (await run_retention(d.gateway, journal, tmp_path, pace=0)).events > 0

    assert 0 < len(await all_of(journal, Wanted())) < written
    # a moment before the cut is refused for one entity, as it always is
    await check_all(journal, 53, tuple(one for one in WANTED if one.name != "c3" or one.after is None))
    # and a page that ended at what is no longer there goes on behind it
    rest = await all_of(journal, Wanted(kind="counter", name="c3"), behind=page_token(third))
    assert places(rest) == places(await all_of(journal, Wanted(kind="counter", name="c3")))


async def test_pages_of_records_without_a_time(sqlite_journal_url: str) -> None:
    """Given records whose time cannot be read, when all is read page by page, then they come once too, each way."""
    async with connect(sqlite_journal_url) as d:
        await asyncio.gather(*(d.counter(f"c{number % 9}").increment() for number in range(90)))
    journal = SqlJournal(sqlite_journal_url)
    await journal.open()
    await journal.maintain([("UPDATE casty_events SET recorded_at = 4611686018427387904 WHERE position % 3 = 0", ())])
    assert len(await all_of(journal, Wanted())) == 90
    await check_all(journal, 7)
    await journal.close()


async def test_follow_behind_a_page(d: Distributed, journal: SqlJournal, clock: SetClock, written: int) -> None:
    """Given where a page ended, when somebody follows from there, then the rest comes, and what is written later."""
    page = await all_of(journal, Wanted(), limit=100)
    seen = []
    async for event in follow(journal, Wanted(), behind=page_token(page[-1]), seconds=0.01):
        seen.append(event)
        if len(seen) == written - 100:
            clock.time += SECOND
            await d.counter("later").increment()
        if len(seen) == written - 99:
            break
    assert places(page + seen[:-1]) == places(await all_of(journal, Wanted()))[:-1]
    assert seen[-1].name == "later"


@pytest.mark.parametrize("token", ["page-", "page-AAAA", "page-####", "page-" + "A" * 1000, "2026-11-17", "page-é"])
async def test_what_is_no_token(journal: SqlJournal, token: str) -> None:
    """Given a text that is no end of a page, when it is searched behind it, then that is an error."""
    with pytest.raises(InvalidArgumentError, match="not the end of a page"):
        await all_of(journal, Wanted(), behind=token)


@pytest.mark.usefixtures("written")
async def test_a_token_of_another_journal(journal: SqlJournal) -> None:
    """Given an end that this journal does not have, when it is searched behind it, then that is an error."""
    [event, *_] = await all_of(journal, Wanted())
    for other in ({"slot": 8_000}, {"recorded_at": event.recorded_at.replace(year=1999)}):
        with pytest.raises(InvalidArgumentError, match="another"):
            await all_of(journal, Wanted(), behind=page_token(msgspec.structs.replace(event, **other)))


def rows(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, Any]]:
    """Run ``log --json``."""
    assert run(["log", "--json", *arguments]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


async def test_the_command(journal_url: str, written: int, capsys: pytest.CaptureFixture[str]) -> None:
    """Given pages of the command, when each goes on behind the one before, then every event is printed once."""

    def work() -> None:
        url = ("--url", journal_url)
        whole = [(row["slot"], row["position"]) for row in rows(capsys, *url)]
        for newest in ((), ("--newest-first",)):
            found: list[Any] = []
            behind: tuple[str, ...] = ()
            while page := rows(capsys, "--limit", "100", *newest, *behind, *url):
                found += [(row["slot"], row["position"]) for row in page]
                behind = ("--after", page[-1]["token"])
            assert found == (whole[::-1] if newest else whole)
        last = [(row["slot"], row["position"]) for row in rows(capsys, "--last", "5", *url)]
        assert last == whole[-5:]

        # the table says how to go on
        assert run(["log", "--last", "5", *url]) == 0
        options = capsys.readouterr().out.rsplit("earlier ones: ", 1)[1].split()
        earlier = [(row["slot"], row["position"]) for row in rows(capsys, *options, "--limit", "5", *url)]
        assert earlier == whole[-6:-11:-1]

    assert written
    await asyncio.to_thread(work)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--last", "5", "--limit", "5"],
        ["--last", "5", "--newest-first"],
        ["--last", "5", "--follow"],
        ["--follow", "--newest-first"],
        ["--after", "page-AAAA"],
        ["--last", "0"],
    ],
)
def test_unusable_options(sqlite_journal_url: str, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Given options that contradict each other, when the command runs, then it says so."""
    assert run(["log", *arguments, "--url", sqlite_journal_url]) == 2
    assert capsys.readouterr().err
