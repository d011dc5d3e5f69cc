"""Verifying slots in several processes: each takes the next slot that is left, over a connection of its own.

A worker is this program again, told by lines of JSON what to do, so nothing is shared but the database.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from casty_es.audit.verify.findings import SlotResult
from casty_es.audit.verify.slot import verify_slot
from casty_es.errors import CastyError, JournalUnavailableError
from casty_es.journal.port import Head
from casty_es.journal.sql import SqlJournal

__all__ = ["Job", "in_processes", "work"]

_PROGRAM: Final = "import sys; sys.path[:0] = [{path!r}]; from casty_es.audit.verify.workers import work; work()"
_LINE_BYTES: Final = 16 * 1024 * 1024  # findings make a long line


class Job(msgspec.Struct):
    """A slot to verify, behind a record."""

    slot: int
    start: Head


class _Task(msgspec.Struct):
    url: str
    slots: int
    read_ahead: bool


class _Answer(msgspec.Struct):
    walked: int = 0
    result: SlotResult | None = None
    error: str | None = None


_ANSWERS: Final = msgspec.json.Decoder(_Answer)


async def in_processes(
    url: str,
    slots: int,
    jobs: Sequence[Job],
    processes: int,
    finished: Callable[[SlotResult], None],
    walked: Callable[[int], None],
) -> None:
    """Verify slots in processes, and tell of each that is done.

    Raises
    ------
    JournalUnavailableError
        A process could not read the database, or ended.
    """
    left = list(jobs)[::-1]
    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(processes, len(jobs))):
                group.create_task(_feed(_Task(url, slots, read_ahead="sqlite" not in url), left, finished, walked))
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from failed  # one of them says it all


async def _feed(
    task: _Task, left: list[Job], finished: Callable[[SlotResult], None], walked: Callable[[int], None]
) -> None:
    """Start a worker, and give it one slot after the other."""
    program = _PROGRAM.format(path=str(Path(__file__).parents[3]))
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        program,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=_LINE_BYTES,
    )
    assert process.stdin is not None  # noqa: S101 - asked for above
    assert process.stdout is not None  # noqa: S101 - likewise
    try:
        process.stdin.write(msgspec.json.encode(task) + b"\n")
        while left:
            process.stdin.write(msgspec.json.encode(left.pop()) + b"\n")
            result = None
            while result is None:
                line = await process.stdout.readline()
                if not line:
                    raise JournalUnavailableError("A process that verified slots ended. Verify again, with --resume.")
                answer = _ANSWERS.decode(line)
                if answer.error is not None:
                    raise JournalUnavailableError(answer.error)
                walked(answer.walked)
                result = answer.result
            finished(result)
    finally:
        if process.returncode is None:
            process.stdin.close()
            process.kill()
        await process.wait()


def work() -> None:
    """Be such a process, until there is nothing more to do."""
    task = msgspec.json.decode(sys.stdin.buffer.readline(), type=_Task)
    try:
        asyncio.run(_work(task))
    except CastyError as error:
        _say(_Answer(error=str(error)))


async def _work(task: _Task) -> None:
    journal = SqlJournal(task.url, unsafe_durability=True)
    await journal.open()
    try:
        while line := sys.stdin.buffer.readline():  # nothing else runs in this process
            job = msgspec.json.decode(line, type=Job)
            result = await verify_slot(
                journal,
                job.slot,
                task.slots,
                start=job.start,
                read_ahead=task.read_ahead,
                progress=lambda walked: _say(_Answer(walked)),
            )
            _say(_Answer(result=result))
    finally:
        await journal.close()


def _say(answer: _Answer) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(answer) + b"\n")
    sys.stdout.buffer.flush()
