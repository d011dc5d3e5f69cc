"""Draw the diagrams beside this file, each NAME.txt as NAME.svg: python docs/diagrams/draw.py.

The first line of a text says what it is. ``boxes``: each line is a row of boxes, ``|`` between two, and ``---`` is a
gap. ``sequence``: a line of who takes part, then what passes between them, in time: ``A -> B: words``, ``A --> B:
words`` for an answer, ``over A: words`` for what A does alone.
"""

from __future__ import annotations

import re
from html import escape
from pathlib import Path
from textwrap import wrap

FOLDER = Path(__file__).parent
CHARACTER = 7.4  # pixels of one, on the average, in this size
LINE = 16
WIDTH = 900
STYLE = """\
text { font: 13px sans-serif; fill: #1f2933; text-anchor: middle } .title { font-weight: bold; font-size: 15px }
.box { fill: #eef4fb; stroke: #4a6fa5 } .alone { fill: #fff7e0; stroke: #b08900 } .life { stroke: #9aa5b1 }
.arrow { stroke: #1f2933; fill: none } .answer { stroke-dasharray: 5 3 } .page { fill: #ffffff }
.words { paint-order: stroke; stroke: #ffffff; stroke-width: 4px }"""


def text(x: float, y: float, words: str, kind: str = "") -> str:
    """Write words around a point."""
    return f'<text x="{x:.0f}" y="{y:.0f}"{kind and f" class={chr(34)}{kind}{chr(34)}"}>{escape(words)}</text>'


def box(x: float, y: float, width: float, lines: list[str], kind: str = "box") -> list[str]:
    """Draw a box with lines in it, from its left upper corner."""
    height = LINE * len(lines) + 12
    drawn = [f'<rect x="{x:.0f}" y="{y:.0f}" width="{width:.0f}" height="{height}" rx="4" class="{kind}"/>']
    return drawn + [text(x + width / 2, y + 18 + LINE * number, line) for number, line in enumerate(lines)]


def boxes(rows: list[str]) -> tuple[list[str], float]:
    """Draw rows of boxes; give them and where they end."""
    drawn, y = [], 40.0
    for row in rows:
        if row == "---":
            y += LINE
            continue
        names = [name.strip() for name in row.split("|")]
        width = (WIDTH - 20 - 10 * (len(names) - 1)) / len(names)
        lines = [wrap(name, int(width / CHARACTER)) for name in names]
        for number, one in enumerate(lines):
            drawn += box(10 + number * (width + 10), y, width, one)
        y += LINE * max(map(len, lines)) + 20
    return drawn, y


def sequence(rows: list[str]) -> tuple[list[str], float]:
    """Draw who takes part side by side, and what passes between them downwards."""
    names = [name.strip() for name in rows[0].split("|")]
    step = WIDTH / len(names)
    at = {name: step * (number + 0.5) for number, name in enumerate(names)}
    drawn, y = [], 96.0
    for row in rows[1:]:
        if alone := re.fullmatch(r"over (.+?): (.+)", row):
            lines = wrap(alone[2], 32)
            width = max(map(len, lines)) * CHARACTER + 16
            left = min(max(at[alone[1]] - width / 2, 2), WIDTH - width - 2)
            drawn += box(left, y - 10, width, lines, "alone")
            y += LINE * len(lines) + 22
            continue
        passed = re.fullmatch(r"(.+?) (--?>) (.+?): (.+)", row)
        if passed is None:
            raise ValueError(f"this line is none of a sequence: {row!r}")
        start, end = at[passed[1]], at[passed[3]]
        kind = "arrow answer" if passed[2] == "-->" else "arrow"
        width = len(passed[4]) * CHARACTER
        middle = min(max((start + end) / 2, width / 2 + 4), WIDTH - width / 2 - 4)
        drawn.append(f'<path d="M{start:.0f} {y + 12:.0f}H{end:.0f}" class="{kind}" marker-end="url(#head)"/>')
        drawn.append(text(middle, y + 6, passed[4], "words"))
        y += 34
    lives = []
    for name, x in at.items():
        lives.append(f'<path d="M{x:.0f} 76V{y:.0f}" class="life"/>')
        lives += box(x - step / 2 + 6, 40, step - 12, [name])
    return lives + drawn, y + 10


def draw(source: str) -> str:
    """Give the SVG of a text."""
    head, *rows = [line for line in source.splitlines() if line and not line.startswith("#")]
    what, _, title = head.partition(": ")
    drawn, height = {"boxes": boxes, "sequence": sequence}[what](rows)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" role="img">',
        f"<title>{escape(title)}</title>",
        f"<style>{STYLE}</style>",
        '<defs><marker id="head" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="8" markerHeight="8" orient="auto">',
        '<path d="M0 0L10 5L0 10z"/></marker></defs>',
        f'<rect width="{WIDTH}" height="{height:.0f}" class="page"/>',
        text(WIDTH / 2, 24, title, "title"),
        *drawn,
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    for file in sorted(FOLDER.glob("*.txt")):
        file.with_suffix(".svg").write_text(draw(file.read_text()))
