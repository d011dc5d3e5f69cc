"""How many files a reader passes through who follows one increment from the handle to the commit and back."""

from __future__ import annotations

import asyncio
import sys
import threading
from pathlib import Path
from types import CodeType, FrameType

import casty_es

_PACKAGE = Path(casty_es.__file__).parent
_INCREMENTS = 8

_MOST_FILES = 19
"""Whoever takes a file out of the way counts one less here."""


async def _files(url: str) -> list[str]:
    """Return the files that every one of some increments passes through: beats and turns of others are in few."""
    calls: dict[CodeType, None] = {}

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call":
            calls.setdefault(frame.f_code)

    threading.setprofile(note)  # for the threads that the journal begins
    sys.setprofile(note)
    try:
        async with casty_es.connect(url) as d:
            hits = d.counter("hits")
            await hits.increment()
            ways = []
            for _ in range(_INCREMENTS):
                calls.clear()
                await hits.increment()
                ways.append(dict.fromkeys(Path(code.co_filename) for code in tuple(calls)))
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    passed = [file for file in ways[0] if all(file in way for way in ways)]
    return [file.relative_to(_PACKAGE).as_posix() for file in passed if file.is_relative_to(_PACKAGE)]


def test_an_increment_passes_through_few_files(tmp_path: Path) -> None:
    """Given a counter in memory, when it is incremented once more, then few files of the library are passed through."""
    way = asyncio.run(_files(f"sqlite:///{tmp_path / 'casty.db'}"))
    print(f"{len(way)} files: {', '.join(way)}")  # noqa: T201 - the way is for the reader of -rP
    assert {"handles/counter.py", "gateway/asking.py", "owner/owner.py", "domain/counter.py"} <= set(way)
    assert len(way) <= _MOST_FILES, f"{len(way)} files: {', '.join(way)}"
