"""What the documents point to is there."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import casty_es

from .documents import DOCUMENTS, ROOT, title

GUARANTEES = ROOT / "docs" / "explanation" / "guarantees.md"
SAFETY = ROOT / "docs" / "explanation" / "safety.md"
LINKING = [*DOCUMENTS, ROOT / "CHANGELOG.md", ROOT / "SECURITY.md"]


def outside_code(document: Path) -> str:
    """Return a document's text without its fenced blocks."""
    return re.sub(r"^```.*?^```", "", document.read_text(), flags=re.MULTILINE | re.DOTALL)


def links(document: Path) -> Iterator[str]:
    """Yield the targets of a document's links that are not addresses on the web."""
    for target in re.findall(r"\]\(([^)\s]+)\)", outside_code(document)):
        if not re.match(r"[a-z]+:", target):
            yield target


def anchors(document: Path) -> set[str]:
    """Return the anchors of a document's headings, as Markdown renderers make them."""
    headings = re.findall(r"^#+ (.+)$", outside_code(document), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", LINKING, ids=title)
def test_links_resolve(document: Path) -> None:
    """Every relative link leads to a file, and to a heading in it if it names one."""
    broken = []
    for target in links(document):
        path, _, anchor = target.partition("#")
        file = (document.parent / path).resolve() if path else document
        if not file.exists() or (anchor and anchor not in anchors(file)):
            broken.append(target)
    assert broken == []


@pytest.mark.parametrize("document", LINKING, ids=title)
def test_named_files_exist(document: Path) -> None:
    """Every file of the source tree that a document names in code exists, and so does a test that is named in it."""
    named = re.findall(r"`((?:casty_es|tests|docs|migrations)/[\w./-]+)(?:::(\w+))?`", outside_code(document))
    missing = [
        f"{path}::{test}" if test else path
        for path, test in named
        if not (ROOT / path).exists() or (test and f"def {test}(" not in (ROOT / path).read_text())
    ]
    assert missing == []


@pytest.mark.parametrize("document", [GUARANTEES, SAFETY], ids=title)
def test_every_promise_names_its_test(document: Path) -> None:
    """Each row of the tables of what is promised names at least one test."""
    rows = [line for line in document.read_text().splitlines() if line.startswith("| ")]
    promises = [row for row in rows if not set(row) <= set("|- ") and not row.startswith(("| promise", "| danger"))]
    assert len(promises) > 5
    assert [row for row in promises if "`tests/" not in row.rpartition(" | ")[2]] == []


def test_every_danger_has_a_row() -> None:
    """The numbers of the dangers are names that others use: each is there once, in order."""
    numbers = re.findall(r"^\| H(\d+) ", SAFETY.read_text(), flags=re.MULTILINE)
    assert [int(number) for number in numbers] == list(range(1, 55))


def test_every_document_is_in_the_navigation() -> None:
    """A page that is not in the navigation is not found by anybody."""
    navigation = (ROOT / "mkdocs.yml").read_text()
    pages = [path.relative_to(ROOT / "docs").as_posix() for path in DOCUMENTS if path.name != "README.md"]
    assert [page for page in pages if page not in navigation] == []


def test_every_public_name_is_in_the_reference() -> None:
    """Each public name of the package is on a page of the reference, which is made of the docstrings."""
    pages = "\n".join(path.read_text() for path in sorted((ROOT / "docs" / "reference").glob("*.md")))
    shown = set(re.findall(r"^::: casty_es\.(\w+)$", pages, flags=re.MULTILINE))
    errors = {name for name in casty_es.__all__ if name.endswith("Error")}
    assert "errors" in shown
    assert set(casty_es.__all__) - errors - shown == set()


def test_readme_names_the_extras_that_exist() -> None:
    """The extras that the README and the quickstart tell people to install are those of the package."""
    extras = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"])
    text = "".join((ROOT / name).read_text() for name in ("README.md", "docs/quickstart.md"))
    told = {extra for group in re.findall(r"\.\[([\w,-]+)\]", text) for extra in group.split(",")}
    assert told
    assert told <= extras
