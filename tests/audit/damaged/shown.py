"""What commands show of a damaged journal: the rest of it, and with which exit code.

The damaged rows are one event of the map's key ``alice``, that key's row in the directory, the map's row among the
structures, and the first row of each other table.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Final

from .commands import Done
from .damages import Damage

__all__ = ["wrong_with"]

_DONE, _FOUND, _COULD_NOT = 0, 1, 3

# Nothing of a damaged row is in what these show, so it is what they always show, but for how long ago that was.
_UNTOUCHED: Final = {
    "log counter/hits --json --after 25",
    "log counter/hits --json",
    "log map/users --key bob --json",
    "show counter hits",
    "show map users --key bob --json",
    "show queue jobs",
    "show lock deploy",
    "show semaphore seats",
    "show barrier start",
    "who lock deploy",
    "who semaphore seats --json",
    "who barrier start",
    "who queue jobs --job 3",
    "who queue jobs --sequence 2",
    "timeline lock deploy",
    "timeline queue jobs --json",
    "db current",
}

# Where nothing can be shown: a table, or a column of one. A journal that is damaged is not copied.
_UNFOLDED: Final = {"events.entity", "events.sequence", "entities.id"}
_COPIED: Final = {"meta", "entities", "events", "retired_salts", "seals", "snapshots", "structures"}
_CANNOT: Final = {
    "log map/users --key alice --json": {"entities.id"},  # the number of the entity is gone
    "show map users --key alice --json": _UNFOLDED,
    "show map users --key alice --sequence 3": _UNFOLDED,
    "show map users --key alice --at now": _UNFOLDED,
    "show set tags": {"snapshots.entity", "snapshots.sequence"},  # what was redacted is in no event
    "verify --processes 1 --json --resume {resume}": {"meta"},  # the file is of another journal
    "check-replay --processes 1": {"meta"},
    "export {folder}/whole.jsonl": {"meta"},
    "export --kind map --from 2026-01-01 {folder}/some.jsonl.gz": {"meta"},
    "copy {url} sqlite:///{folder}/copy.db": {
        "meta",
        "entities",
        "events",
        "retired_salts",
        "seals",
        "snapshots",
        "structures",
    },
    "secret": {"secrets"},
    "anchor": {"meta", "events.position"},
    "retention check {archive}": {"meta", "seals", "events.position"},
}

# What each of these shows as well, whatever is damaged. (Of tokens, whose ids are drawn, one or the other.)
_ALWAYS: Final = {
    "log": ("map/users bob", "counter/hits"),
    "log --kind map --name users --actor ann": ("map/users bob",),
    "map keys users": ("bob",),
    "nodes": ("node-b",),
    "slots --json": ('"slot": 1',),
    "token list": ("reader|other",),
    "retention show": ("counter/hits",),
}

# Where whoever shows the damaged row must say that it cannot be read: the command, and the table.
_NAMES: Final = {
    "log --json": "events",
    "log --json --after 2026-01-01": "events",
    "log map/users --key alice --json": "events",
    "nodes": "nodes",
    "slots --json": "slots",
    "token list": "tokens",
}
_UNREADABLE: Final = ("wrong type", "not utf-8")

_RECORDS: Final = ("log --json", "log --json --after 2026-01-01", "log map/users --key alice --json")
_MOVED: Final = ("slot", "position", "entity")
_RENAMED: Final = ("id", "kind", "name", "key")


def wrong_with(done: Done, sound: Done, damage: Damage) -> Iterator[str]:
    """Yield what is wrong with what a command did on a damaged journal, given what it does on a sound one."""
    table = damage.table.removeprefix("casty_")
    where, other_type = {table, f"{table}.{damage.column}"}, damage.value.startswith("TYPE")
    if done.code == _COULD_NOT:
        if not other_type and not where & _CANNOT.get(done.command, set()):
            yield "nothing is shown"
        return
    if done.code == _FOUND and (done.out, done.err, done.file) == (sound.out, sound.err, sound.file):
        yield "nothing is said of what was found"
    every_row = other_type and done.code != _DONE  # a column of another type damages them all
    if done.command in _UNTOUCHED and not every_row:
        yield from _untouched(done, sound)
    needed = () if every_row else _ALWAYS.get(done.command, ())
    yield from (f"{one} is not shown" for one in needed if re.search(one, done.out) is None)
    # Postgres holds no text that is not UTF-8: there it is one with an escape.
    names = _NAMES.get(done.command) == table and (damage.database, damage.kind) != ("postgres", "not utf-8")
    elsewhere = damage.column == "slot" or ("--key" in done.command and damage.column == "entity")
    if names and not elsewhere and damage.kind in _UNREADABLE and done.code != _FOUND:
        yield "what cannot be read is not found"
    if done.command in _RECORDS and (not every_row or done.command == "log --json"):
        yield from _records(done, sound, damage, table)
    if not every_row:
        yield from _exported(done, sound)


def _untouched(done: Done, sound: Done) -> Iterator[str]:
    if _steady(done.out) != _steady(sound.out):
        yield "it shows something else"
    if done.code != (_FOUND if done.err else _DONE):
        yield "its exit code is not what it says"


def _steady(out: str) -> str:
    """Return an output without times, lengths of time, and bars."""
    ago = re.sub(r"\d+(ms|[smhd])( \d+[smhd])*", "AGO", out)
    return re.sub(r"[\d.#░█─━ ]+", " ", ago)


def _records(done: Done, sound: Done, damage: Damage, table: str) -> Iterator[str]:
    rows = [json.loads(line) for line in done.out.splitlines()]
    before = {(row["slot"], row["position"]) for row in map(json.loads, sound.out.splitlines())}
    lost = before - {(row["slot"], row["position"]) for row in rows if "slot" in row}
    of_one = done.command.startswith("log map/users")
    moved = table == "events" and damage.column in ((*_MOVED, "sequence") if of_one else _MOVED)
    renamed = of_one and table == "entities" and damage.column in _RENAMED
    if len(lost) > (len(before) if renamed else 1 if moved else 0):
        yield f"records are not shown: {sorted(lost)}"
    if done.code == _DONE and any(row.get("unreadable") for row in rows):
        yield "what cannot be read is not found"


def _exported(done: Done, sound: Done) -> Iterator[str]:
    before, after = _rows(sound.file), _rows(done.file)
    if len(before - after) > 1:  # that is the damaged row
        yield f"{len(before - after)} of {len(before)} rows are not exported"


def _rows(exported: str) -> set[str]:
    return {
        line for line in exported.splitlines() if json.loads(line)["row"] in {"entity", "event", "seal", "structure"}
    }
