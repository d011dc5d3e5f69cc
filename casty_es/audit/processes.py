"""Walking slots in several processes: each takes the next job that is left, over a connection of its own.

A worker is this program again, told by lines of JSON what to do, so nothing is shared but the database.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias

import msgspec

from casty_es.errors import CastyError, JournalUnavailableError
from casty_es.journal.sql import SqlJournal

__all__ = ["Walked", "in_processes", "serve"]

Walked: TypeAlias = Callable[[int], None]
"""Is told how many records were walked since it was told last."""

# Ctrl-C goes to all processes of a terminal: the one that asks ends, and with it this one, without a word of its own.
_PROGRAM: Final = (
    "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); "
    "import sys; sys.path[:0] = [{path!r}]; from {module} import work; work()"
)
_LINE_BYTES: Final = 16 * 1024 * 1024  # findings make a long line


class _Task(msgspec.Struct):
    url: str


_NONE: Final = b"null"


class _Answer(msgspec.Struct):
    walked: int = 0
    result: msgspec.Raw = msgspec.Raw(_NONE)
    error: str | None = None


_ANSWERS: Final = msgspec.json.Decoder(_Answer)


async def in_processes(
    module: str, url: str, jobs: Sequence[object], processes: int, finished: Callable[[bytes], None], walked: Walked
) -> None:
    """Do jobs in processes, and tell of each that is done.

    Parameters
    ----------
    module : str
        The module of this library whose function ``work`` calls :func:`serve`.
    url : str
        The journal's.
    jobs : Sequence[object]
        What msgspec can write as JSON, one after the other.
    processes : int
        How many processes at most.
    finished : Callable[[bytes], None]
        Is given the result of each job, as JSON.
    walked : Callable[[int], None]
        Is told how many records were walked since it was told last.

    Raises
    ------
    JournalUnavailableError
        A process could not read the database, or ended.
    """
    left = list(jobs)[::-1]
    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(processes, len(jobs))):
                group.create_task(_feed(module, url, left, finished, walked))
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from failed  # one of them says it all


async def _feed(module: str, url: str, left: list[object], finished: Callable[[bytes], None], walked: Walked) -> None:
    """Start a worker, and give it one job after the other."""
    program = _PROGRAM.format(path=str(Path(__file__).parents[2]), module=module)
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
        process.stdin.write(msgspec.json.encode(_Task(url)) + b"\n")
        while left:
            process.stdin.write(msgspec.json.encode(left.pop()) + b"\n")
            result = _NONE
            while result == _NONE:
                line = await process.stdout.readline()
                if not line:
                    raise JournalUnavailableError(
                        "A process that read the journal ended before it was done. Run again."
                    )
                answer = _ANSWERS.decode(line)
                if answer.error is not None:
                    raise JournalUnavailableError(answer.error)
                walked(answer.walked)
                result = bytes(answer.result)
            finished(result)
    finally:
        if process.returncode is None:
            process.stdin.close()
            process.kill()
        await process.wait()


def serve(do: Callable[[SqlJournal, bytes, Walked], Awaitable[Any]]) -> None:
    """Serve as such a process, until there is nothing more to do.

    Parameters
    ----------
    do : Callable[[SqlJournal, bytes, Walked], Awaitable[Any]]
        Does one job, given as JSON, and gives what msgspec can write as JSON.
    """
    task = msgspec.json.decode(sys.stdin.buffer.readline(), type=_Task)
    try:
        asyncio.run(_serve(task, do))
    except CastyError as error:
        _say(_Answer(error=str(error)))


async def _serve(task: _Task, do: Callable[[SqlJournal, bytes, Walked], Awaitable[Any]]) -> None:
    journal = SqlJournal(task.url, unsafe_durability=True)
    await journal.open_to_read()  # whoever asks has refused a journal that it cannot look at
    try:
        while line := sys.stdin.buffer.readline():  # nothing else runs in this process
            result = await do(journal, line, lambda walked: _say(_Answer(walked)))
            _say(_Answer(result=msgspec.Raw(msgspec.json.encode(result))))
    finally:
        await journal.close()


def _say(answer: _Answer) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(answer) + b"\n")
    sys.stdout.buffer.flush()
