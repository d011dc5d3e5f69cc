"""What pyproject.toml allows and what CI installs agree, and nothing that CI installs is left to chance."""

from __future__ import annotations

import importlib.metadata
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
CONSTRAINTS = ".ci/constraints.txt"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DECLARED = [
    requirement
    for group in (PROJECT["dependencies"], *PROJECT["optional-dependencies"].values())
    for requirement in map(Requirement, group)
    if requirement.name != PROJECT["name"]
]


def lines() -> list[str]:
    """Return the constraints, without what is said of them."""
    return [line for line in (ROOT / CONSTRAINTS).read_text().splitlines() if line and not line.startswith("#")]


def pins() -> dict[str, str]:
    """Return the version of each package."""
    return dict(line.split("==") for line in lines())


def installed_with(requirement: Requirement, seen: set[str]) -> Iterator[str]:
    """Yield the names of what a requirement brings with it, as far as it is installed here."""
    name = canonicalize_name(requirement.name)
    if str(requirement) in seen:
        return
    seen.add(str(requirement))
    yield name
    try:
        brought = importlib.metadata.requires(name) or []
    except importlib.metadata.PackageNotFoundError:
        return  # such as a linter, where only the tests are installed
    for one in map(Requirement, brought):
        if one.marker is None or any(one.marker.evaluate({"extra": extra}) for extra in ("", *requirement.extras)):
            yield from installed_with(one, seen)


def test_each_constraint_is_one_version() -> None:
    """Given the constraints, then each names one version of one package, once, in the order of names."""
    assert [line for line in lines() if not re.fullmatch(r"[a-z0-9-]+==[\w.]+", line)] == []
    assert list(pins()) == sorted(set(pins()))
    assert len(pins()) == len(lines())


@pytest.mark.parametrize("requirement", DECLARED, ids=str)
def test_what_is_declared_allows_what_is_installed(requirement: Requirement) -> None:
    """Given a requirement of pyproject.toml, then the version that CI installs is one that it allows."""
    assert requirement.specifier.contains(pins()[canonicalize_name(requirement.name)])
    assert str(requirement.specifier), "a first version that works belongs to every requirement"


def test_nothing_is_left_to_chance() -> None:
    """Given what the requirements bring with them here, then each of that has its version."""
    seen: set[str] = set()
    brought = {name for requirement in DECLARED for name in installed_with(requirement, seen)}
    assert brought - pins().keys() == set()


def test_ci_installs_them() -> None:
    """Given CI, then all its environments, the one of the README's command too, are held to the constraints."""
    script = (ROOT / ".ci" / "run").read_text()
    assert re.search(rf"^export PIP_CONSTRAINT=\$root/{re.escape(CONSTRAINTS)}$", script, re.MULTILINE)
