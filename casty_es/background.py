"""Tasks that nobody awaits: none of them ends in silence.

1. What goes on for as long as its node does is a ``Loop``: an error is logged with its traceback, and after a pause the
   next turn follows. If something from outside ends it, such as a program that cancels every task, its owner is told,
   and the node stops where everybody sees it.
2. What is done once is begun by ``Errands``. It tells those whom it concerns itself; what it did not foresee is logged.
   One that is cancelled from outside tells nobody, so its owner is told, as above.
3. What must not be cut in half by a caller that is cancelled is ``finished`` in a task of its own.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, TypeVar

T = TypeVar("T")

_LOG: Final = logging.getLogger("casty_es.background")

_FIRST_PAUSE_SECONDS: Final = 0.05
_LONGEST_PAUSE_SECONDS: Final = 5.0


class Loop:
    """A task that does the same again and again until it is stopped.

    A turn waits by itself until there is something to do. ``ended`` is told why, when the task ends without having
    been stopped.
    """

    def __init__(self, turn: Callable[[], Awaitable[None]], *, name: str, ended: Callable[[str], None]) -> None:
        self._turn = turn
        self._name = name
        self._ended = ended
        self._stopped = False
        self._failures = 0
        self._task = asyncio.create_task(self._run(), name=name)
        self._task.add_done_callback(self._done)

    async def stop(self) -> None:
        """End the task, wherever it is, and wait until it has ended."""
        self._stopped = True
        self._task.cancel()
        await asyncio.wait({self._task})

    async def over(self) -> None:
        """Wait until the task has ended."""
        await asyncio.wait({self._task})

    async def _run(self) -> None:
        while True:
            try:
                await self._turn()
            except asyncio.CancelledError:
                if being_cancelled():
                    raise
                await self._recover()  # something that the turn waited for was cancelled, not this task
            except Exception:  # noqa: BLE001 - whatever it is, the next turn may go well
                await self._recover()
            else:
                self._failures = 0

    async def _recover(self) -> None:
        pause = min(_FIRST_PAUSE_SECONDS * 2.0 ** min(self._failures, 10), _LONGEST_PAUSE_SECONDS)
        self._failures += 1
        _LOG.exception("The task %s failed; it goes on in %.2f s", self._name, pause)
        await asyncio.sleep(pause)

    def _done(self, task: asyncio.Task[None]) -> None:
        if not self._stopped:
            why = "was cancelled" if task.cancelled() else f"ended with {task.exception()!r}"
            self._ended(f"its task {self._name} {why} from outside")


class Errands:
    """Tasks that are begun, held until they are done, and looked at then.

    ``ended`` is told why, when one ends before its work is done, although nobody gave it up here.
    """

    def __init__(self, ended: Callable[[str], None] | None = None) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()
        self._ended = ended
        self._given_up: set[asyncio.Task[Any]] = set()

    def __len__(self) -> int:
        """Return how many are not done yet."""
        return len(self._tasks)

    def begin(self, work: Coroutine[Any, Any, None], *, name: str) -> asyncio.Task[None]:
        """Begin a piece of work."""
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    async def settled(self) -> None:
        """Wait until nothing is on its way any more."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def cancel(self) -> None:
        """Give up what is not done, and wait until it has ended."""
        for task in self._tasks:
            self._given_up.add(task)
            task.cancel()
        await self.settled()

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            if task not in self._given_up and self._ended is not None:
                self._ended(f"its task {task.get_name()} was cancelled from outside")
            self._given_up.discard(task)
        elif (error := task.exception()) is not None:
            _LOG.error("The task %s failed", task.get_name(), exc_info=error)


async def finished(work: Awaitable[T]) -> T:
    """Carry a piece of work to its end, even while this task is being cancelled; then let the cancellation go on."""
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        looked_at(task)  # nobody is left to be told; what was not undone expires with its lease
        raise cancelled
    return task.result()


def being_cancelled() -> bool:
    """Return whether it is the running task that is cancelled, and not only something that it waited for."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def looked_at(task: asyncio.Future[Any]) -> None:
    """Look at an error that whoever could await it has been told in another way, or has no use for any more."""
    if not task.cancelled():
        task.exception()
