"""No module of the library imports one that imports it, whether at once, in a function or only for its annotations."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import casty_es

_PACKAGE = Path(casty_es.__file__).parent


def _modules(package: Path) -> dict[str, Path]:
    found = {path: path.relative_to(package.parent).with_suffix("").parts for path in package.rglob("*.py")}
    return {".".join(parts).removesuffix(".__init__"): path for path, parts in found.items()}


def _imported(path: Path, modules: dict[str, Path]) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Import(names=names):
                yield from (name.name for name in names if name.name in modules)
            case ast.ImportFrom(module=str(module), names=names, level=0) if module in modules:
                parts = (f"{module}.{name.name}" for name in names)
                yield from (part if part in modules else module for part in parts)
            case ast.ImportFrom(level=level) if level:
                raise AssertionError(f"{path}:{node.lineno} imports relatively, which this test does not follow")
            case _:
                pass


def _circle(package: Path) -> list[str]:
    """Return the modules of one circle, if there is any."""
    modules = _modules(package)
    graph = {name: set(_imported(path, modules)) - {name} for name, path in modules.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        circle: list[str] = error.args[1]
        return circle
    return []


def test_no_import_goes_in_a_circle() -> None:
    """Given the modules of the library, when their imports are followed, then none leads back to where it began."""
    assert len(_modules(_PACKAGE)) > 200
    circle = _circle(_PACKAGE)
    assert not circle, " imports ".join(reversed(circle))


def test_a_circle_that_runs_through_a_function_and_an_annotation_is_found(tmp_path: Path) -> None:
    """Given two modules that know each other in a function and for a type, when circles are looked for, then it is."""
    package = tmp_path / "circular"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "one.py").write_text("def two():\n    from circular import two\n    return two\n")
    (package / "two.py").write_text(
        "from typing import TYPE_CHECKING\n\nif TYPE_CHECKING:\n    from circular.one import two\n"
    )
    assert set(_circle(package)) == {"circular.one", "circular.two"}
