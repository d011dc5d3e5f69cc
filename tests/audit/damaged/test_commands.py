"""Every command on every damaged journal: no traceback, no hang, the right exit code, and the rest is still shown.

A sample runs by default. ``-m long`` runs every command of the command line on every damage.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.tables import COLUMNS, TABLES

from .commands import CHANGING, READING, Done, run_command
from .conftest import Journals
from .damages import Damage, all_damages, do_damage
from .shown import wrong_with

_LONGEST_SECONDS: Final = 60.0
_EVERY: Final = 331  # of the damages, in the sample: each costs fifteen commands

# These were read wrongly once, and are in the sample too.
_READ_WRONGLY: Final = {
    ("casty_events", "sequence", "other shape"),
    ("casty_events", "slot", "wrong type"),
    ("casty_events", "payload", "missing"),
    ("casty_events", "recorded_at", "wrong type"),
    ("casty_tokens", "scopes", "not json"),
    ("casty_structures", "keep", "not json"),
    ("casty_entities", "id", "wrong type"),
    ("casty_snapshots", "entity", "other shape"),
    ("casty_entities", "salted_from", "negative"),
    ("casty_entities", "key", "not utf-8"),
    ("casty_seals", "last", "not utf-8"),
    ("casty_seals", "last", "huge"),
    ("casty_nodes", "node_id", "missing"),
}

# In the sample each damage meets these.
_SAMPLED: Final = (
    "log --json",
    "log --json --after 2026-01-01",
    "log counter/hits --json --after 25",
    "log map/users --key alice --json",
    "map keys users",
    "nodes",
    "token list",
    "show map users --key alice --json",
    "who queue jobs --job 3",
    "timeline lock deploy",
    "verify --processes 1 --json",
    "verify --processes 1 --json --anchor {anchor} --resume {resume}",
    "check-replay --processes 1",
    "export {folder}/whole.jsonl",
    "slots --json",
    "doctor",
    "anchor",
    "retention show",
    "retention check {archive}",
    "retention run --archive {folder}",
)

# What nobody can tell to be wrong, or what says nothing of the records: `verify` may be silent, as
# docs/howto/verify-a-journal.md says.
_HINTS: Final = ("casty_slots", "casty_nodes", "casty_closed_slots", "casty_secrets", "casty_tokens")
_SILENT: Final = {
    ("casty_structures", "keep"),
    ("casty_snapshots", "recorded_at"),
    ("casty_snapshots", "version"),
    ("casty_meta", "created_at"),
    ("casty_meta", "incarnation"),
    *((table, column) for table in _HINTS for column in TABLES[table].columns),
}


def _sample(database: str) -> Iterator[Damage]:
    damages = list(all_damages(database))
    yield from damages[_EVERY // 2 :: _EVERY]
    yield from (one for one in damages if (one.table, one.column, one.kind) in _READ_WRONGLY)


def _check(done: Done, damage: Damage) -> None:
    """Check what must be true of every command."""
    told = f"{damage}: casty-es {done.command} -> {done.code}\n{done.out[-2000:]}\n{done.err[-2000:]}"
    assert "Traceback" not in done.out + done.err, told
    assert "nobody foresaw" not in done.out + done.err, told
    assert done.seconds < _LONGEST_SECONDS, told
    # An event that the journal does not know any more is an argument that cannot be used.
    gone = "--sequence" in done.command and damage.table in {"casty_entities", "casty_events"}
    assert done.code in {0, 1, 3} or (gone and done.code == 2), told
    assert done.code != 3 or done.err.strip() or '"error"' in done.out, told


def _check_verify(done: Done, damage: Damage) -> None:
    """Check that a verification names the damage, or says why it could not look."""
    if done.code == 3:
        assert damage.table == "casty_meta" or damage.value.startswith("TYPE"), f"{damage}: {done.err}{done.out}"
    elif (damage.table, damage.column) not in _SILENT and not _changes_nothing(damage):
        assert done.code == 1, f"{damage}: {done.out[-2000:]}"


def _changes_nothing(damage: Damage) -> bool:
    """Whether what stood there means the same: 0 where 0 may be, and types that hold the same numbers."""
    same = {
        ("casty_meta", "maintenance", "nul"),
        ("casty_entities", "salted_from", "nul"),
        ("casty_events", "idempotency_key", "missing"),  # the record that is damaged has none
    }
    return (damage.table, damage.column, damage.kind) in same or damage.value.startswith("TYPE")


def _run_all(damages: list[Damage], commands: tuple[str, ...], journals: Journals, folder: Path) -> list[Done]:
    kept: dict[str, Any] = {name: value for name, value in journals._asdict().items() if name != "copied"}
    with journals.copied(_new(folder / "sound")) as url:
        sound = {command: run_command(command, url, _new(folder / "sound-out"), **kept) for command in commands}
    ran, wrong = [], []
    for number, damage in enumerate(damages):
        with journals.copied(_new(folder / f"{number}")) as url:
            do_damage(url, damage)
            for command in commands:
                done = run_command(command, url, _new(folder / f"{number}-out"), **kept)
                _check(done, damage)
                if done.command == "verify --processes 1 --json":
                    _check_verify(done, damage)
                if command in READING:
                    said = f"{damage}: casty-es {done.command} -> {done.code}"
                    wrong += [f"{said}: {one}" for one in wrong_with(done, sound[command], damage)]
                ran.append(done)
    assert not wrong, "\n".join(wrong)
    return ran


def _new(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    return folder


def test_nothing_is_wrong_with_the_journal(journals: Journals, tmp_path: Path) -> None:
    """Before it is damaged, every command that looks finds nothing."""
    with journals.copied(tmp_path) as url:
        for command in READING:
            done = run_command(
                command, url, tmp_path, anchor=journals.anchor, archive=journals.archive, verified=journals.verified
            )
            assert done.code == 0, f"{command}: {done.out}{done.err}"


@pytest.mark.timeout(600)
def test_some_damages(database_kind: str, journals: Journals, tmp_path: Path) -> None:
    """A sample of damages, and the commands that read most."""
    damages = list(_sample(database_kind))
    ran = _run_all(damages, _SAMPLED, journals, tmp_path)
    assert len(ran) == len(damages) * len(_SAMPLED) > 0


@pytest.mark.parametrize("kind", ["not json", "not utf-8"])
def test_a_repair_believes_no_altered_key(kind: str, database_kind: str, journals: Journals, tmp_path: Path) -> None:
    """A key that was changed explains no number of shards: the record stays, and the other keys are found."""
    kept: dict[str, Any] = {name: value for name, value in journals._asdict().items() if name != "copied"}
    [damage] = [one for one in all_damages(database_kind) if one[1:4] == ("casty_entities", "key", kind)]
    with journals.copied(tmp_path) as url:
        do_damage(url, damage)
        repaired = run_command("doctor --repair", url, tmp_path, **kept)
        assert repaired.code == 1, repaired
        assert "is recorded with" not in repaired.out
        assert run_command("map get users bob", url, tmp_path, **kept).code == 0


def test_there_are_enough_damages() -> None:
    """Each column of each table is damaged in each way that its database can be made to hold."""
    for database in ("sqlite", "postgres"):
        damages = list(all_damages(database))
        assert len(damages) >= 300
        assert {(one.table, one.column) for one in damages} == set(COLUMNS)


@pytest.mark.long
@pytest.mark.timeout(0)
@pytest.mark.parametrize("table", TABLES)
def test_all_damages(table: str, database_kind: str, journals: Journals, tmp_path: Path) -> None:
    """Every damage of a table, and every command."""
    damages = [one for one in all_damages(database_kind) if one.table == table]
    ran = _run_all(damages, READING + CHANGING, journals, tmp_path)
    assert len(ran) == len(damages) * len(READING + CHANGING) > 0
