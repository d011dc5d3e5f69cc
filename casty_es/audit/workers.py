"""Doing a job for each of many slots, here or in several processes: each takes the next job that is left.

A worker is this program again, over a connection of its own, told by lines of JSON what to do, so nothing is shared but
the database.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final, Generic, TypeAlias, TypeVar

import msgspec

from casty_es import structures
from casty_es.errors import CastyError, JournalUnavailableError
from casty_es.journal.port import EventJournal
from casty_es.journal.sql import SqlJournal

J = TypeVar("J")
R = TypeVar("R")

Walked: TypeAlias = Callable[[int], None]
"""Is told how many records were walked since it was told last."""

# Ctrl-C goes to all processes of a terminal: the one that asks ends, and with it this one, without a word of its own.
_PROGRAM: Final = (
    "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); "
    "import sys; sys.path[:0] = [{path!r}]; from {module} import WORK; WORK.serve()"
)
_LINE_BYTES: Final = 16 * 1024 * 1024  # findings make a long line


class _Task(msgspec.Struct):
    url: str
    structures: str  # those of the program's own, and where its modules are
    path: list[str]


_NONE: Final = b"null"


class _Answer(msgspec.Struct):
    walked: int = 0
    result: msgspec.Raw = msgspec.Raw(_NONE)
    error: str | None = None


_ANSWERS: Final = msgspec.json.Decoder(_Answer)


class Work(Generic[J, R]):
    """What is done for each slot; the module that does it has one as its ``WORK``, where workers find it."""

    def __init__(
        self, module: str, do: Callable[[EventJournal, J, Walked], Awaitable[R]], job: type[J], result: type[R]
    ) -> None:
        self._module = module  # of this library
        self._do = do
        self._job = job  # what a job is, and what it gives: msgspec can write both as JSON
        self._result = result

    async def run(
        self,
        journal: EventJournal,
        jobs: Sequence[J],
        processes: int,
        finished: Callable[[R], None],
        walked: Walked | None,
    ) -> None:
        """Do jobs, and tell of each that is done.

        A journal in memory, or with 1 process at most, is worked on in this one. ``JournalUnavailableError`` if
        a process could not read the database, or ended.
        """
        walked = walked or _tell_nobody
        if processes > 1 and isinstance(journal, SqlJournal):
            await self.in_processes(journal.url, jobs, processes, finished, walked)
            return
        for job in jobs:
            finished(await self._do(journal, job, walked))

    async def in_processes(
        self, url: str, jobs: Sequence[J], processes: int, finished: Callable[[R], None], walked: Walked
    ) -> None:
        """Do jobs in processes of their own; see :meth:`run`."""
        left = list(jobs)[::-1]
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(processes, len(jobs))):
                    group.create_task(self._feed(url, left, finished, walked))
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from failed  # one of them says it all

    async def _feed(self, url: str, left: list[J], finished: Callable[[R], None], walked: Walked) -> None:
        """Start a worker, and give it one job after the other."""
        task = msgspec.json.encode(_Task(url, structures.named(), sys.path)) + b"\n"
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", _PROGRAM.format(path=str(Path(__file__).parents[2]), module=self._module)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=_LINE_BYTES,
        )
        assert process.stdin is not None  # noqa: S101 - asked for above
        assert process.stdout is not None  # noqa: S101 - likewise
        try:
            process.stdin.write(task)
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
                finished(msgspec.json.decode(result, type=self._result))
        finally:
            if process.returncode is None:
                process.stdin.close()
                process.kill()
            await process.wait()

    def serve(self) -> None:
        """Work as such a process, until its input ends."""
        task = msgspec.json.decode(sys.stdin.buffer.readline(), type=_Task)
        try:
            sys.path += [folder for folder in task.path if folder not in sys.path]
            structures.load(task.structures)
            asyncio.run(self._serve(task))
        except CastyError as error:
            _say(_Answer(error=str(error)))

    async def _serve(self, task: _Task) -> None:
        journal = SqlJournal(task.url, unsafe_durability=True)
        await journal.open_to_read()  # whoever asks has refused a journal that it cannot look at
        try:
            while line := sys.stdin.buffer.readline():  # nothing else runs in this process
                job = msgspec.json.decode(line, type=self._job)
                result = await self._do(journal, job, lambda walked: _say(_Answer(walked)))
                _say(_Answer(result=msgspec.Raw(msgspec.json.encode(result))))
        finally:
            await journal.close()


def _say(answer: _Answer) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(answer) + b"\n")
    sys.stdout.buffer.flush()


def _tell_nobody(_walked: int) -> None:
    """Ignore what is reported."""
