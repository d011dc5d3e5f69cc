"""Names and values of others, on a terminal: nobody forges a line, moves the cursor, turns a text or hides in one.

A sample of the characters meets every command by default. ``-m long`` runs every command for every character.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import io
import json
import logging
import shutil
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

from casty_es import SqlJournal, audit_context, connect
from casty_es.cli.app import loaded, run
from casty_es.cli.contents import COMMANDS as CONTENTS
from casty_es.cli.node import _JsonLines, _Lines
from casty_es.journal.migrating import upgrade
from casty_es.journal.port import NodeRow, SlotRow
from casty_es.journal.urls import sqlite_file
from casty_es.printing import visible

from .unseen import COMMANDS, UNSEEN, name_with

NOON: Final = 1_763_380_800_000_000
_SEEN_BY_NOBODY: Final = frozenset(UNSEEN) - {"\n"}
_FORGED: Final = "\n2026-11-27 FORGED"

# ESC, DEL, NEL, a soft hyphen, no width, a line's end, an override, a filler, a variation, a tag; the new line last,
# where it would begin a line of the forger's.
_SAMPLE: Final = "\x1b\x7f\x85\xad\u200b\u2028\u202e\u3164\ufe0f\U000e0041\n"
_IN_A_NAME: Final = 12
_ALONE: Final = {"demo", "node"}  # the one runs on names of its own; the other ends when it is told to


def check(out: str) -> None:
    """Check that nothing in an output is raw."""
    raw = sorted({f"U+{ord(character):04X}" for character in out if character in _SEEN_BY_NOBODY})
    assert not raw, f"{raw} in {out[:2000]!a}"
    assert _FORGED not in out


def printed_by(arguments: list[str]) -> tuple[int, str, str]:
    """Run a command; return its exit code and what it said."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run(arguments)
    return code, out.getvalue(), err.getvalue()


class Full(NamedTuple):
    """A journal that is full of such names, and an archive of it."""

    url: str
    archive: Path


async def _write(url: str, names: list[str]) -> None:
    async with connect(url) as d:
        journal = SqlJournal(url)
        await journal.open()
        with audit_context(actor="ann", reason="a test"):
            await asyncio.gather(
                *(d.counter(name, timeout=60).increment(idempotency_key=name) for name in names),
                *(d.map[str, str]("users", timeout=60).put(name, name) for name in names),
                *(d.set[str]("tags", timeout=60).add(name) for name in names),
                *(d.queue[str]("jobs", timeout=60).enqueue(name) for name in names),
            )
        for number, name in enumerate(names):
            await journal.register_node(NodeRow(name, name, 7, name, NOON, NOON))
            await journal.save_slots([SlotRow(number % 4, name, name, 1, NOON)])
        await journal.close()


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Full:
    """A file with a counter, a key, a value, a job and a node of every such name."""
    folder = tmp_path_factory.mktemp("unseen")
    url = f"sqlite:///{folder / 'unseen.db'}"
    upgrade(url, slots=4)
    names = [name_with(character) for character in UNSEEN if character != "\0"]
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        runner.run(_write(url, names))
    (folder / "kept").mkdir()
    assert run(["retention", "set", "counter", names[10], "--keep", "1", "--url", url]) == 0
    assert run(["counter", "increment", names[10], "--url", url]) == 0
    assert run(["retention", "run", "--archive", str(folder / "kept"), "--pace", "0", "--url", url]) == 0
    return Full(url, next((folder / "kept").iterdir()))


@pytest.fixture
def copied(full: Full, tmp_path: Path) -> str:
    """A copy of it."""
    shutil.copyfile(sqlite_file(full.url), tmp_path / "copy.db")
    return f"sqlite:///{tmp_path / 'copy.db'}"


def _arguments(command: str, characters: str, url: str, folder: Path, archive: Path) -> list[str]:
    words = []
    for word in command.split():
        text = word.replace("URL", url).replace("FOLDER", str(folder)).replace("ARCHIVE", str(archive))
        words.append(text.replace("NAME", name_with(characters)).replace("MISSING", f"{name_with(characters)}?"))
    if "--url" in words or words[0] in {"copy", name_with(characters)}:
        return words
    end = words.index("--") if "--" in words else len(words)
    return [*words[:end], "--url", url, *words[end:]]


def _run_all(characters: str, url: str, folder: Path, archive: Path) -> None:
    for command in COMMANDS:
        code, out, err = printed_by(_arguments(command, characters, url, folder, archive))
        told = f"{command!r} with {characters!a} gives {code}: {out[-500:]!a} {err[-500:]!a}"
        assert "nobody foresaw" not in out + err, told
        # No name holds NUL, so none is found.
        assert out or err or command.startswith(("lock run", "semaphore run")) or "\0" in characters, told
        check(out + err)
        if "--json" in command:
            for line in out.splitlines():
                json.loads(line)


def test_there_are_enough_characters() -> None:
    """Every character that nobody sees is there, and what can be seen is shown as it is."""
    assert len(UNSEEN) >= 500
    assert not [character for character in UNSEEN if visible(character) == character]
    assert visible("é ñ 日本 Ω 🙂 ᾄ עברית \\ '\"<>") == "é ñ 日本 Ω 🙂 ᾄ עברית \\ '\"<>"


@pytest.mark.parametrize("text", ["a\u202eb", f"a{_FORGED}", "\x9b2J", "\ufe0f"])
def test_the_check_sees_it(text: str) -> None:
    """The check of this file fails where something is raw."""
    with pytest.raises(AssertionError):
        check(text)


def _leaves(command: Any, *path: str) -> Iterator[str]:
    if not hasattr(command, "commands"):
        yield " ".join(path)
    for name, one in getattr(command, "commands", {}).items():
        yield from _leaves(one, *path, name)


def test_every_command_is_listed() -> None:
    """A command that is not in the list of this test would not be looked at."""
    listed = set(chain.from_iterable((words[0], " ".join(words[:2])) for words in map(str.split, COMMANDS)))
    found = chain.from_iterable(_leaves(loaded(name), name) for name in CONTENTS)
    assert set(found) - listed == _ALONE


def test_all_that_is_printed_goes_one_way() -> None:
    """The command line's modules print with ``say`` and ``Table`` only."""
    folder = Path(__file__).parents[2] / "casty_es" / "cli"
    ways = {"print", "typer.echo", "typer.secho", "sys.stdout.write", "sys.stderr.write"}
    found = [
        file.name
        for file in folder.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ways
    ]
    assert found == ["common.py"]


def test_every_name_in_the_whole_journal(full: Full) -> None:
    """Where all names are listed, each is in its line and none is raw; JSON has them unchanged."""
    names = {name_with(character) for character in UNSEEN if character != "\0"}
    for command in ("map keys users", "log --limit 10000", "nodes", "slots", "show set tags", "show queue jobs"):
        code, out, err = printed_by([*command.split(), "--url", full.url])
        assert (code, err) == (0, ""), command
        check(out)
    _, out, _ = printed_by(["map", "keys", "users", "--url", full.url])
    assert out.splitlines() == [visible(key) for key in sorted(names, key=lambda key: f"s:{key}".encode())]
    _, out, _ = printed_by(["map", "keys", "users", "--json", "--url", full.url])
    check(out)
    assert set(json.loads(out)["keys"]) == names
    _, out, _ = printed_by(["log", "--json", "--url", full.url])
    check(out)
    rows = [json.loads(line) for line in out.splitlines()]
    assert {row["name"] for row in rows if row["kind"] == "counter"} == names


@pytest.mark.timeout(600)
def test_every_command(copied: str, full: Full, tmp_path: Path) -> None:
    """Every command shows such a name, or fails on it, without its being raw."""
    _run_all(_SAMPLE, copied, tmp_path, full.archive)


@pytest.mark.long
@pytest.mark.timeout(0)
def test_every_command_and_character(full: Full, tmp_path: Path) -> None:
    """The same of every character: as many in a name as it has room for, and the one alone that no name can hold."""
    in_names = [character for character in UNSEEN if character != "\0"]
    groups = ["".join(in_names[begin : begin + _IN_A_NAME]) for begin in range(0, len(in_names), _IN_A_NAME)]
    for number, characters in enumerate([*groups, "\0"]):
        folder = tmp_path / str(number)
        folder.mkdir()
        shutil.copyfile(sqlite_file(full.url), folder / "copy.db")
        _run_all(characters, f"sqlite:///{folder / 'copy.db'}", folder, full.archive)
        shutil.rmtree(folder)


def test_what_stands_in_a_damaged_journal(copied: str) -> None:
    """Whoever may write into the database may put such text where no program does."""

    async def damage() -> None:
        journal = SqlJournal(copied)
        await journal.open()
        for number, character in enumerate(UNSEEN):
            text = name_with(character)
            change = (text, text, json.dumps({"actor": text, "reason": text}), 2 + number // 4, number % 4)
            sql = "UPDATE casty_events SET type = ?, payload = ?, metadata = ? WHERE position = ? AND slot = ?"
            await journal.maintain([(sql, change)])
        await journal.close()

    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        runner.run(damage())
    for command in COMMANDS:
        if {"NAME", "MISSING"}.isdisjoint(command.replace("/", " ").replace(".", " ").split()) and "URL" not in command:
            _, out, err = printed_by([*command.replace("ARCHIVE", "none").split(), "--url", copied])
            check(out + err)


@pytest.mark.parametrize("formatter", [_Lines(), _JsonLines()])
def test_the_log_of_a_node(formatter: logging.Formatter) -> None:
    """What a node logs of what others chose is a line."""
    for character in UNSEEN:
        record = logging.LogRecord("casty_es", logging.INFO, "", 1, "Node %s is gone", (name_with(character),), None)
        check(formatter.format(record))
