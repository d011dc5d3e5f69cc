"""The independent verifier and ``casty-es verify`` agree, on good journals and on some 500 that were damaged.

A sample runs by default. ``-m long`` does every damage and every forgery, to a SQLite file, to its export, and to the
export of a Postgres database.
"""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from casty_es import SqlJournal, connect
from casty_es.audit.anchor import take_anchor
from casty_es.audit.orders import ask_entity
from casty_es.audit.transfer import export_journal, import_journal
from casty_es.audit.verify import Report, Wrong, verify
from casty_es.domain.upkeep import Redact
from casty_es.errors import InvalidValueError
from casty_es.journal.port import EntityName
from casty_es.journal.urls import is_sqlite, sqlite_file
from tests.audit.verifying.tampering import Tamperer
from tests.tables import TABLES

from .conftest import Journals
from .damages import Damage, all_damages, do_damage
from .forgeries import FORGERIES, WITH_ANCHOR
from .independent import FILE, LEFT_OUT, LOOKED_AT, independent_findings, run_independent

_AROUND: Final = {Wrong.GUARD, Wrong.FILE}
"""What `verify` says of what stands around the records, which no page about the format can tell."""

_DATABASES: Final = ("sqlite", "postgres")
_UNTOUCHED: Final = "nothing, but once more"
_SAMPLED_DAMAGES: Final = {
    "sqlite events.payload not utf-8",
    "sqlite seals.hash nul",
    "sqlite entities.salted_from negative",
    "sqlite seals.sealed_by other shape",
}
_SAMPLED_FORGERIES: Final = {
    ("sqlite", "a record deleted"),
    ("sqlite", "a value hidden and explained"),
    ("postgres", "an older time, computed anew"),
}


def _about_records(report: Report) -> list[Any]:
    return [finding for finding in report.findings if finding.wrong not in _AROUND]


def _compare(url: str, folder: Path, what: object, *, anchor: Path | None = None) -> bool:
    """Verify a journal in all ways, and tell whether something is wrong with its records."""
    anchors = [] if anchor is None else [anchor]
    report = asyncio.run(_verified(url, anchor))
    found = _about_records(report)
    if is_sqlite(url):
        ours = independent_findings(sqlite_file(url), *anchors)
        assert bool(ours) is bool(found), f"{what}: {found}, and in the file {ours}"
    export = folder / "export.jsonl.gz"
    damaged = asyncio.run(export_journal(url, export)).damaged
    ours = independent_findings(export, *anchors)
    # A line in the place of a damaged row is a finding by itself: a reader of the export has nothing else.
    assert bool(ours) is bool(found or damaged), f"{what}: {found}, and in the export {ours}"
    return bool(found)


async def _verified(url: str, anchor: Path | None) -> Report:
    from casty_es.audit.anchor import read_anchor

    return await verify(url, anchors=[] if anchor is None else [read_anchor(anchor)])


def _params(sample: Collection[tuple[str, str]], names: Iterable[str]) -> list[Any]:
    return [
        pytest.param(
            database, name, id=f"{database}-{name}", marks=() if (database, name) in sample else pytest.mark.long
        )
        for database in _DATABASES
        for name in names
    ]


@pytest.fixture
def found_journals(database: str, request: pytest.FixtureRequest) -> Journals:
    """The journal of a database, to be copied."""
    found: Journals = request.getfixturevalue(f"full_{database}")
    return found


def test_the_program_is_short_and_stands_alone() -> None:
    """It has 200 lines at most, and imports nothing but the standard library."""
    import ast
    import sys

    text = FILE.read_text()
    imported = {
        (name.name if isinstance(node, ast.Import) else node.module or "").partition(".")[0]
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in node.names
    }

    assert len(text.splitlines()) <= 200
    assert imported <= sys.stdlib_module_names


def test_every_column_is_looked_at_or_left_out_for_a_reason() -> None:
    """Whoever adds a column to the journal says whether the independent verifier must find what is wrong with it."""
    there = {name: set(table.columns) for name, table in TABLES.items()}
    told = {name: LOOKED_AT.get(name, set()) | LEFT_OUT.get(name, {}).keys() for name in there}

    assert told == there
    assert not any(LOOKED_AT.get(name, set()) & LEFT_OUT.get(name, {}).keys() for name in there)


_COLUMNS: Final = [f"{table}.{column}" for table, columns in LOOKED_AT.items() for column in sorted(columns)]


def test_a_sample_of_damaged_fields(full_sqlite: Journals, tmp_path: Path) -> None:
    """Given a field that holds what no program writes, then both verifiers find it."""
    sample = [damage for damage in _damages("sqlite") if str(damage) in _SAMPLED_DAMAGES]
    assert len(sample) == len(_SAMPLED_DAMAGES)
    for damage in sample:
        _compare_damaged(full_sqlite, damage, tmp_path)


@pytest.mark.long
@pytest.mark.timeout(900)  # nine journals, each of which is verified three times
@pytest.mark.parametrize("database", _DATABASES)
@pytest.mark.parametrize("column", _COLUMNS)
def test_damaged_fields(database: str, found_journals: Journals, column: str, tmp_path: Path) -> None:
    """Given each field with each sort of damage, then both verifiers find it, or both find nothing."""
    for damage in _damages(database):
        if f"{damage.table}.{damage.column}" == column:
            _compare_damaged(found_journals, damage, tmp_path)


def _damages(database: str) -> Iterator[Damage]:
    for damage in all_damages(database):
        # A column of another type is another table, at which `verify` cannot look.
        if damage.column in LOOKED_AT.get(damage.table, ()) and not damage.value.startswith("TYPE"):
            yield damage


def _compare_damaged(journals: Journals, damage: Damage, folder: Path) -> None:
    place = folder / f"{damage.table}-{damage.column}-{damage.kind}"
    place.mkdir()
    with journals.copied(place) as url:
        do_damage(url, damage)
        _compare(url, place, damage)


def test_there_are_enough_journals() -> None:
    """The damages and forgeries make 200 journals at least."""
    damaged = sum(1 for database in _DATABASES for _ in _damages(database))

    assert damaged + len(_DATABASES) * (len(FORGERIES) + len(WITH_ANCHOR)) >= 200


@pytest.mark.parametrize(
    ("database", "forgery"),
    _params(_SAMPLED_FORGERIES, FORGERIES),
)
def test_forgeries(found_journals: Journals, forgery: str, tmp_path: Path) -> None:
    """Given a journal that somebody changed who knows its format, then both verifiers find it."""
    with found_journals.copied(tmp_path) as url:
        asyncio.run(FORGERIES[forgery](Tamperer(url)))

        assert _compare(url, tmp_path, forgery) is (forgery != _UNTOUCHED)


@pytest.mark.parametrize(
    ("database", "forgery"),
    _params({("sqlite", "the last records cut off")}, WITH_ANCHOR),
)
def test_forgeries_that_only_an_anchor_shows(found_journals: Journals, forgery: str, tmp_path: Path) -> None:
    """Given a forgery that leaves a whole chain, then both find nothing without an anchor, and it with one."""
    with found_journals.copied(tmp_path) as url:
        asyncio.run(WITH_ANCHOR[forgery](Tamperer(url)))

        assert not _compare(url, tmp_path / _made(tmp_path, "without"), forgery)
        assert _compare(url, tmp_path / _made(tmp_path, "with"), forgery, anchor=found_journals.anchor)


def _made(folder: Path, name: str) -> str:
    (folder / name).mkdir()
    return name


def test_a_journal_that_goes_on(full_sqlite: Journals, tmp_path: Path) -> None:
    """Given more operations, a redaction that is not finished and a copy, then neither finds anything."""
    with full_sqlite.copied(tmp_path) as url:

        async def go_on() -> None:
            async with connect(url) as d:
                await d.counter("hits").increment()
                await d.map[str, dict]("users").delete("alice")
                journal = SqlJournal(url)
                await journal.open()
                try:
                    name = EntityName("queue", "jobs", "")
                    [stored] = await journal.entities([name])
                    assert stored is not None
                    assert await ask_entity(d.gateway, journal, name, Redact("a test"), stored.salt or b"", timeout=30)
                finally:
                    await journal.close()
                await d.queue[int]("jobs").enqueue(1)

        asyncio.run(go_on())
        assert not _compare(url, tmp_path, "not finished")
        asyncio.run(import_journal(tmp_path / "export.jsonl.gz", f"sqlite:///{tmp_path / 'copy.db'}"))
        assert not _compare(f"sqlite:///{tmp_path / 'copy.db'}", tmp_path / _made(tmp_path, "copy"), "a copy")


def _edit(lines: list[dict[str, Any]], row: str, **changes: Any) -> None:
    next(line for line in lines if line["row"] == row and line.get("position") != 1).update(changes)


EXPORTS: Final[dict[str, Callable[[list[dict[str, Any]]], Any]]] = {
    "an event edited": lambda lines: _edit(lines, "event", payload="{}"),
    "an event left out": lambda lines: lines.remove(next(line for line in lines if line.get("position") == 5)),
    "a name edited": lambda lines: _edit(lines, "entity", name="other"),
    "shards edited": lambda lines: _edit(lines, "structure", shards=7),
    "a head edited": lambda lines: _edit(lines, "slot", position=3),
    "a snapshot left out": lambda lines: lines.remove(next(line for line in lines if line["row"] == "snapshot")),
    "the last line left out": lambda lines: lines.pop(),
    "the last events left out": lambda lines: lines.__delitem__(slice(-9, -1)),
    "a row that there is not": lambda lines: lines.insert(3, {"row": "secret"}),
    _UNTOUCHED: lambda _: None,
    "a text that is a number": lambda lines: _edit(lines, "event", payload=5),
}


@pytest.fixture(scope="module")
def export(full_sqlite: Journals, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export of it."""
    folder = tmp_path_factory.mktemp("export")
    with full_sqlite.copied(folder) as url:
        asyncio.run(export_journal(url, folder / "export.jsonl.gz"))
    return folder / "export.jsonl.gz"


def _changed(export: Path, change: str, folder: Path) -> Path:
    lines = [json.loads(line) for line in gzip.decompress(export.read_bytes()).splitlines()]
    EXPORTS[change](lines)
    file = folder / "changed.jsonl"
    file.write_text("".join(json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n" for line in lines))
    return file


@pytest.mark.parametrize("change", EXPORTS)
def test_an_export_that_was_changed(export: Path, change: str, tmp_path: Path) -> None:
    """Given an export, when a line of it is changed, then that is found."""
    assert (independent_findings(_changed(export, change, tmp_path)) != []) is (change != _UNTOUCHED)


@pytest.mark.long
@pytest.mark.parametrize("change", EXPORTS.keys() - {_UNTOUCHED})
def test_an_import_of_an_export_that_was_changed(export: Path, change: str, tmp_path: Path) -> None:
    """Given such an export, then an import refuses it, so nobody verifies a journal that is made from it."""
    changed = _changed(export, change, tmp_path)
    with pytest.raises(InvalidValueError):
        asyncio.run(import_journal(changed, f"sqlite:///{tmp_path / 'copy.db'}"))


def test_a_file_that_was_cut_off(export: Path, tmp_path: Path) -> None:
    """Given a compressed export of which the end is missing, then that is found."""
    (tmp_path / "short.jsonl.gz").write_bytes(export.read_bytes()[:-200])

    assert independent_findings(tmp_path / "short.jsonl.gz") != []


@pytest.mark.parametrize("content", [b"", b"no journal", b'{"row":"journal","format":"casty_es events 1"}\n'])
@pytest.mark.parametrize("name", ["journal.db", "journal.jsonl"])
def test_what_is_no_journal(tmp_path: Path, name: str, content: bytes) -> None:
    """Given a file that is no journal, or none at all, then it says that it could not look, and exits with 3."""
    (tmp_path / name).write_bytes(content)

    code, [line] = run_independent(tmp_path / name)
    assert (code, line[:14]) == (3, "could not look")
    assert run_independent(tmp_path / f"no-{name}")[0] == 3
    assert run_independent(tmp_path / name, tmp_path / name)[0] == 3


async def test_the_anchor_of_a_journal_that_was_cut(full_url: str, tmp_path: Path) -> None:
    """Given an anchor that names records of which some were cut later, then it fits."""
    journal = SqlJournal(full_url)
    try:
        anchor = await take_anchor(journal)
        [seal] = await journal.seals(1)
    finally:
        await journal.close()
    export = tmp_path / "export.jsonl"
    await export_journal(full_url, export)
    document = json.loads(anchor.to_json())
    [chain] = [chain for chain in document["chains"] if chain["slot"] == 1]
    for record, fits in ([seal.last, seal.hash.hex()], True), ([5, "ab" * 32], True), ([seal.last, "ab" * 32], False):
        chain["records"] = [record, *chain["records"][-1:]]
        (tmp_path / "anchor.json").write_text(json.dumps(document))
        assert (independent_findings(export, tmp_path / "anchor.json") == []) is fits
