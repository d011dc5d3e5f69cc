"""The code of the README and the documentation runs, and prints what the text says.

A document is run from its top to its end, in a folder of its own:

1. A Python block whose first line is ``# name.py`` is a file that later blocks use. Any other is run where it stands,
   with the names of ``examples.names``.
2. Of the shell blocks, what starts with one of ``RUN`` is run; the rest installs or serves, which other tests do. A
   command that ends in ``|| echo WORDS`` must fail, and its errors are part of what it prints. What is exported is
   there for Python, too, and may be ``$(what a command prints)``. ``10.0.0.5:7400`` is the node of the Python blocks.
3. A ``text`` block is what the block before it prints; ``...`` stands for anything.
"""

from __future__ import annotations

import asyncio
import doctest
import os
import re
import shlex
import sys
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from .documents import DOCUMENTS, ROOT, Block, blocks, title
from .examples import names, run, run_doctest

PLACEHOLDER = "postgresql://app:secret@localhost/shop"
NODE = "10.0.0.5:7400"
FOLLOW_SECONDS = 10  # until nodes have heard of what was changed, on a machine that is busy
RUN = {
    "alembic": [sys.executable, "-m", "alembic"],
    "python": [sys.executable],
    "mkdir": ["mkdir"],
}
COMMAND = {"casty-es", ".venv/bin/casty-es"}
LEFT_OUT = {"python3", ".venv/bin/pip", ".venv/bin/python", "uvicorn", "curl"}


class Reader:
    """Somebody who types a document's blocks, one after the other."""

    def __init__(self, folder: Path, journal_url: str, placeholder_url: str, warm: list[str]) -> None:
        self._folder = folder
        self._run = RUN | dict.fromkeys(COMMAND, warm)
        self._journal_url = journal_url
        self._placeholder_url = placeholder_url
        self._environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200"}
        self._environment.pop("CASTY_ES_DATABASE_URL", None)
        self._exported: dict[str, str] = {}
        self._namespace: dict[str, Any] | None = None
        self._stack = AsyncExitStack()
        self._printed = ""

    async def read(self, block: Block) -> None:
        """Do what a block says."""
        text = block.text.replace(PLACEHOLDER, self._placeholder_url)
        if block.language == "text":
            same = doctest.OutputChecker().check_output(text, self._printed, doctest.ELLIPSIS)
            assert same, f"{block.where} says\n{text}\nand this is printed:\n{self._printed}"
        elif block.language == "sh":
            if NODE in text:
                text = text.replace(NODE, "{}:{}".format(*(await self._names())["address"]))
            for command in re.split(r"\n|&&", text):
                if exported := re.fullmatch(r"export (\w+)=\$\((.+)\)", command):
                    await self._type(shlex.split(exported[2]), block.where)
                    self._export(exported[1], self._printed.rstrip("\n"))
                    continue
                words = shlex.split(command, comments=True)
                fails = words.index("||") if "||" in words else None
                await self._typed(words[:fails], block.where, echo=None if fails is None else words[fails + 2 :])
        elif file := re.match(r"# (\w+\.py)\n", text):
            (self._folder / file[1]).write_text(text)
        else:
            await self._execute(text, block.where)

    async def _names(self) -> dict[str, Any]:
        if self._namespace is None:
            self._namespace = await self._stack.enter_async_context(names(self._journal_url))
        return self._namespace

    async def _execute(self, text: str, where: str) -> None:
        namespace = await self._names()
        with patch.dict(os.environ, self._exported):
            if ">>>" in text:
                await run_doctest(text, namespace, where)
            else:
                self._printed = await run(text, namespace, where)

    def _export(self, name: str, value: str) -> None:
        self._environment[name] = self._exported[name] = value

    async def _typed(self, words: list[str], where: str, *, echo: list[str] | None) -> None:
        """Type a command; one that is to fail may be a moment too early for that, where nodes follow by and by."""
        until = time.monotonic() + (0 if echo is None else FOLLOW_SECONDS)
        while True:
            try:
                return await self._type(words, where, echo=echo)
            except AssertionError:
                if time.monotonic() >= until:
                    raise
            await asyncio.sleep(0.1)

    async def _type(self, words: list[str], where: str, *, echo: list[str] | None = None) -> None:
        if not words or words[0] in LEFT_OUT:
            return
        if words[0] == "export":
            name, _, value = words[1].partition("=")
            self._export(name, value)
            return
        assert words[0] in self._run, f"{where}: {words[0]} is neither run nor left out on purpose"
        process = await asyncio.create_subprocess_exec(
            *self._run[words[0]],
            *(part for word in words[1:] for part in self._expanded(word)),
            cwd=ROOT if words[0] == "alembic" else self._folder,
            env=self._environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, errors = await process.communicate()
        said = f"{out.decode()}{errors.decode()}"
        assert (process.returncode == 0) is (echo is None), f"{where}: {shlex.join(words)} ended otherwise:\n{said}"
        self._printed = out.decode() if echo is None else f"{said}{' '.join(echo)}\n"

    def _expanded(self, word: str) -> list[str]:
        """Return the files that a pattern stands for, as a shell does."""
        if "*" not in word:
            return [word]
        return sorted(str(file.relative_to(self._folder)) for file in self._folder.glob(word)) or [word]

    async def close(self) -> None:
        """Close what the blocks opened."""
        await self._stack.aclose()


WITH_CODE = [path for path in DOCUMENTS if any(True for _ in blocks(path))]


@pytest.fixture
def reader(
    document: Path,
    tmp_path: Path,
    sqlite_journal_url: str,
    warm: list[str],
    monkeypatch: pytest.MonkeyPatch,
    request: Any,
) -> Reader:
    """A reader in an empty folder, with an empty Postgres database for a document that speaks of one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "docs").symlink_to(ROOT / "docs")  # as in the checkout, for what reads an example
    postgres = request.getfixturevalue("postgres_url") if PLACEHOLDER in document.read_text() else ""
    return Reader(tmp_path, sqlite_journal_url, postgres, warm)


@pytest.mark.parametrize("document", WITH_CODE, ids=title)
@pytest.mark.timeout(300)  # a page may start some twenty commands
async def test_document(document: Path, reader: Reader) -> None:
    """Whoever types a document from top to bottom sees what it says."""
    # Given somebody with an empty folder
    try:
        # When each block is typed, then it works and prints what the text says
        for block in blocks(document):
            await reader.read(block)
    finally:
        await reader.close()


def test_readme_and_quickstart_have_code() -> None:
    """The documents that must have code have it, so that the test above cannot be empty."""
    assert {"README.md", "docs/quickstart.md", "docs/howto/lock-with-fencing-token.md"} <= set(map(title, WITH_CODE))
