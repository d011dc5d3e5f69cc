"""The documents of the project, and their code blocks in order."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from sybil import Document
from sybil.parsers.markdown import CodeBlockParser

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


class Block(NamedTuple):
    """A fenced block: its language, its text, and where it stands."""

    language: str
    text: str
    where: str


def title(document: Path) -> str:
    """Return a document's path as people write it."""
    return document.relative_to(ROOT).as_posix()


def blocks(document: Path) -> Iterator[Block]:
    """Yield the Python, shell and output blocks of a document."""
    found = [
        (example.line, language, str(example.parsed))
        for language in ("python", "sh", "text")
        for example in Document.parse(str(document), CodeBlockParser(language, evaluator=lambda _: None)).examples()
    ]
    for line, language, text in sorted(found):
        yield Block(language, text, f"{title(document)}:{line}")
