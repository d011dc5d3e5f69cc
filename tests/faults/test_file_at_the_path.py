# ruff: noqa: ASYNC240, ASYNC221 -- what the test does to its files blocks nobody but the test
"""The file at the path is not the file that is written: what parts them, and what is told afterwards."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sqlite3
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest

from casty_es.cli.app import run
from casty_es.journal.urls import sqlite_file

_ROOT = Path(__file__).parents[2]


class Node:
    """A node in a process of its own."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def line(self) -> dict[str, Any]:
        """Wait for its next line."""
        assert self.process.stdout is not None
        line = await self.process.stdout.readline()
        assert line, "the node ended by itself"
        said: dict[str, Any] = json.loads(line)
        return said

    async def do(self, command: str) -> dict[str, Any]:
        """Let it do something; give what it was told."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{command}\n".encode())
        return await self.line()

    async def close(self) -> int:
        """End it in order; give its exit code."""
        assert self.process.stdin is not None
        self.process.stdin.write(b"close\n")
        return await self.process.wait()


@asynccontextmanager
async def node(file: Path) -> AsyncIterator[Node]:
    """Start a node; kill it at the end."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.faults.file_node", f"sqlite:///{file}"),
        cwd=_ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        started = Node(process)
        assert await started.line() == {}
        yield started
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


def remove_all(file: Path) -> None:
    """``rm casty.db*``."""
    for one in file.parent.glob("casty.db*"):
        one.unlink()


async def test_a_removed_journal_acknowledges_nothing(
    sqlite_journal_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Given a node whose files were removed, when it is asked for more, then what survives is what was told since."""
    file = sqlite_file(sqlite_journal_url)
    async with node(file) as old:
        assert [(await old.do("increment"))["told"] for _ in range(6)] == [1, 2, 3, 4, 5, 6]

        remove_all(file)
        refused = [await old.do("increment") for _ in range(5)]
        async with node(file) as new:
            assert [(await new.do("increment"))["told"] for _ in range(3)] == [1, 2, 3]
            refused += [await old.do("increment"), await old.do("get")]

        assert {answer.get("error") for answer in refused} == {"JournalMovedError"}
        assert all("casty.db" in answer["text"] for answer in refused)
        capsys.readouterr()
        assert await asyncio.to_thread(run, ["verify", "--url", sqlite_journal_url]) == 1
        assert f"Process {old.process.pid} has {file} open, which was removed" in capsys.readouterr().out
        assert await asyncio.to_thread(run, ["doctor", "--url", sqlite_journal_url, "--json"]) == 1
        checks = {check["name"]: check for check in json.loads(capsys.readouterr().out)["checks"]}
        assert str(old.process.pid) in checks["open files"]["found"]
