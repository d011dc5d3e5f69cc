"""The diagrams are those of the texts beside them, and stand in the documents."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any, Final

import pytest

from .documents import DOCUMENTS, ROOT

FOLDER: Final = ROOT / "docs" / "diagrams"
TEXTS: Final = sorted(FOLDER.glob("*.txt"))
DRAW: Final[Any] = runpy.run_path(str(FOLDER / "draw.py"))["draw"]


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: text.stem)
def test_a_diagram_is_up_to_date(text: Path) -> None:
    """Whoever changes a text draws it again: python docs/diagrams/draw.py."""
    assert text.with_suffix(".svg").read_text() == DRAW(text.read_text())


def test_every_diagram_is_shown() -> None:
    """Each drawing has its text, and a document that shows it."""
    shown = "\n".join(document.read_text() for document in DOCUMENTS)

    assert {file.stem for file in FOLDER.glob("*.svg")} == {text.stem for text in TEXTS}
    assert [text.stem for text in TEXTS if f"diagrams/{text.stem}.svg)" not in shown] == []


def test_a_line_that_says_nothing_is_refused() -> None:
    """A text with a mistake in it draws nothing."""
    with pytest.raises(ValueError, match="none of a sequence"):
        DRAW("sequence: words\nA | B\nA B: words")
