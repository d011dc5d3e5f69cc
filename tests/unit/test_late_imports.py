"""What is not asked for is not loaded: the library by ``import casty_es``, the commands by ``casty-es --help``."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import casty_es
from casty_es.cli.app import loaded
from casty_es.cli.contents import COMMANDS

_SLOW = ("alembic", "aiosqlite", "asyncpg", "pyarrow", "rich", "sqlalchemy", "typer", "websockets")


def loaded_by(program: str) -> set[str]:
    """Return the names of the modules that a fresh interpreter has loaded at the end of a program."""
    program += "\nimport sys; sys.__stderr__.write(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(done.stderr.split())


def test_the_package_loads_little() -> None:
    """Given a fresh interpreter, when the package is imported, then neither a driver nor the command line is loaded."""
    modules = loaded_by("import casty_es")
    assert modules.isdisjoint(_SLOW)
    assert modules.isdisjoint(f"casty_es.{module}" for module in casty_es._LATER.values())


def test_the_list_of_commands_loads_none() -> None:
    """Given a fresh interpreter, when all commands are listed, then no command and no driver is loaded."""
    modules = loaded_by("from casty_es.cli.app import run\nassert run(['--help']) == 0")
    places = {f"casty_es.cli.{entry.place.partition(':')[0]}" for entry in COMMANDS.values()}
    assert modules.isdisjoint({*places, *_SLOW} - {"rich", "typer"})
    assert "casty_es.cli.contents" in modules


def test_a_verification_loads_what_it_needs(sqlite_journal_url: str) -> None:
    """Given a journal, when it is verified and nobody looks on, then no other driver, client or progress bar is loaded.

    A verification that is taken up, and finds nothing new, takes little longer than its imports.
    """
    modules = loaded_by(
        f"from casty_es.cli.app import run\nassert run(['verify', '--url', {sqlite_journal_url!r}]) == 0"
    )
    assert modules.isdisjoint({"alembic", "filelock", "pydantic", "rich.progress", "sqlalchemy", "casty_es.client"})
    assert "casty_es.audit.verify.surroundings" in modules


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_says_what_the_commands_say(name: str) -> None:
    """Given a command's line in the list of all, then it is the first of the command's own help."""
    said = inspect.cleandoc(loaded(name).help).split("\n\n")[0].replace("\n", " ")
    assert COMMANDS[name].line == said


def test_the_list_leaves_nothing_out() -> None:
    """Given the modules of the command line, then each group of commands that one holds is in the list."""
    folder = Path(casty_es.__file__).parent / "cli"
    groups = {
        file.stem for file in folder.glob("*.py") if file.stem != "app" and "\napp = typer.Typer(" in file.read_text()
    }
    assert groups == {entry.place for entry in COMMANDS.values() if ":" not in entry.place}


def test_the_names_that_checkers_see_are_those_that_there_are() -> None:
    """Given the imports that only type checkers read, then each name comes from that module when it is asked for."""
    tree = ast.parse(Path(casty_es.__file__).read_text())
    guarded = [node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    seen = {
        alias.name: imported.module
        for imported in guarded[0].body
        if isinstance(imported, ast.ImportFrom) and imported.module is not None
        for alias in imported.names
    }
    for name, module in seen.items():
        assert getattr(casty_es, name) is getattr(import_module(module), name), name
    assert {name: f"casty_es.{module}" for name, module in casty_es._LATER.items()} == seen
    assert set(casty_es.__all__) <= {*dir(casty_es)}
    assert all(hasattr(casty_es, name) for name in casty_es.__all__)


def test_a_name_that_there_is_not() -> None:
    """Given a name that the package does not have, then that is said as of any other module."""
    with pytest.raises(AttributeError, match="module 'casty_es' has no attribute 'Latch'"):
        casty_es.Latch  # noqa: B018 - to ask is what is tested
