"""The node processes of the demo, as their parent sees them."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Final

import msgspec

from casty_es.cli.demo.load import GO, STOP, Order, Progress, Ready, Said
from casty_es.errors import CastyError

__all__ = ["LOG_FILE", "Child", "DemoError"]

LOG_FILE: Final = "nodes.log"
_LAST_LINES: Final = 5


class DemoError(CastyError):
    """The demo could not be carried through. What was acknowledged and what is there were not compared."""


class Child:
    """A process with a node and its callers.

    Attributes
    ----------
    address : str
        Where the node listens, once it is ready.
    progress : Progress
        How far it was when it was last heard.
    """

    def __init__(self, order: Order, process: asyncio.subprocess.Process, log: Path) -> None:
        self.order = order
        self.address = ""
        self.progress = Progress()
        self._process = process
        self._log = log
        self._hearing: asyncio.Task[int] | None = None

    @staticmethod
    async def start(order: Order, folder: Path) -> Child:
        """Start the process. What it says on stderr goes to a file in the folder."""
        log = folder / LOG_FILE
        with log.open("ab") as errors:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "casty_es.cli.demo.load",
                msgspec.json.encode(order).decode(),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=errors,
            )
        return Child(order, process, log)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def exit_code(self) -> int:
        """How it ended; the number of a signal is negative."""
        assert self._process.returncode is not None  # noqa: S101 - asked when it has ended
        return self._process.returncode

    async def ready(self) -> None:
        """Wait until its node is one of them all."""
        said = await self._said()
        if not isinstance(said, Ready):
            await self._process.wait()
            raise self._ended_early()
        self.address = said.address

    async def go(self) -> None:
        """Let its callers begin."""
        self._hearing = asyncio.create_task(self._hear())
        await self._tell(GO)

    async def stop(self) -> None:
        """Let its callers finish and its node leave; wait for that."""
        self.refuse_ended()
        await self._tell(STOP)
        if await self._heard_out() != 0:
            raise self._ended_early()

    async def kill(self) -> None:
        """End it as ``kill -9`` does."""
        self._process.kill()
        await self._heard_out()

    async def clean_up(self) -> None:
        """Leave nothing behind."""
        if self._process.returncode is None:
            self._process.kill()
        await (self._process.wait() if self._hearing is None else self._heard_out())

    def refuse_ended(self) -> None:
        """Raise a ``DemoError`` if the process has ended."""
        if self._hearing is not None and self._hearing.done():
            raise self._ended_early()

    async def _heard_out(self) -> int:
        assert self._hearing is not None  # noqa: S101 - it was told to go
        return await self._hearing

    async def _hear(self) -> int:
        while (said := await self._said()) is not None:
            if isinstance(said, Progress):
                self.progress = said
        return await self._process.wait()

    async def _said(self) -> Said | None:
        assert self._process.stdout is not None  # noqa: S101 - it was asked for
        line = await self._process.stdout.readline()
        # What was cut off by the kill was not said.
        return msgspec.json.decode(line, type=Said) if line.endswith(b"\n") else None

    async def _tell(self, line: bytes) -> None:
        assert self._process.stdin is not None  # noqa: S101 - it was asked for
        self._process.stdin.write(line)
        await self._process.stdin.drain()

    def _ended_early(self) -> DemoError:
        said = self._log.read_text(errors="replace").strip().splitlines()[-_LAST_LINES:]
        return DemoError(
            f"{self.order.node_id} ended with exit code {self._process.returncode} before its time; nothing was "
            f"compared. It said in {self._log}: {' | '.join(said) or 'nothing'}"
        )
