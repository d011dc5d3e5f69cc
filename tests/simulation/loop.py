"""An event loop whose time is virtual, and the hosts whose callbacks it runs.

1. Nothing ever waits: when no callback is ready, time jumps to the next timer.
2. Every callback belongs to the host in whose context it was made. A frozen host's callbacks are put aside while time
   goes on, and run in their order when it goes on too; a dead host's are dropped.
3. Whatever is random, is drawn from a generator that was made from the seed. Tasks have numbers for hashes, so that a
   set of them has the same order in every run.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections import deque
from contextvars import Context, ContextVar, copy_context
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from .network import Network

__all__ = ["HERE", "Host", "SimulatedLoop", "StuckError"]

T = TypeVar("T")

_MOST_STEPS: Final = 200_000


class Host:
    """One machine: a node's or a client's.

    Attributes
    ----------
    frozen, dead : bool
        Whether its callbacks are put aside, or dropped.
    died : asyncio.Future[None]
        Done when it is dead.
    ahead : float
        How far its wall clock is ahead, in seconds.
    """

    def __init__(self, name: str, address: str, loop: SimulatedLoop) -> None:
        self.died: asyncio.Future[None] = loop.create_future()
        self.name = name
        self.address = address
        self.frozen = False
        self.dead = False
        self.ahead = 0.0
        self.backlog: list[_Callback] = []

    def __repr__(self) -> str:
        return self.name

    def context(self) -> Context:
        """Return a context whose callbacks belong to this host."""
        context = copy_context()
        context.run(HERE.set, self)
        return context


HERE: ContextVar[Host | None] = ContextVar("HERE", default=None)


class StuckError(Exception):
    """Nothing will ever happen again, or far too much happens at one moment."""


class _Callback:
    """A callback that is due, or will be: all that asyncio asks of a handle, in few words."""

    __slots__ = ("args", "callback", "context", "gone", "timed")

    def __init__(self, callback: Callable[..., Any], args: Any, context: Context | None, timed: float | None) -> None:
        self.callback = callback
        self.args = args
        self.context = copy_context() if context is None else context
        self.timed = timed
        self.gone = False

    def cancel(self) -> None:
        """Do not run it."""
        self.gone = True
        self.callback = self.args = None  # type: ignore[assignment]

    def cancelled(self) -> bool:
        """Tell whether it will not be run."""
        return self.gone

    def when(self) -> float:
        """Return when it is due."""
        assert self.timed is not None
        return self.timed


class _Task(asyncio.Task[Any]):
    def __init__(self, *args: Any, loop: SimulatedLoop, **kwargs: Any) -> None:
        self._number = next(loop.numbers)
        super().__init__(*args, loop=loop, **kwargs)

    def __hash__(self) -> int:
        return self._number


class SimulatedLoop(asyncio.AbstractEventLoop):
    """The loop.

    Attributes
    ----------
    network : Network
        Where connections of this loop lead.
    unheard : list[str]
        Errors that nobody retrieved, of hosts that live.
    steps : int
        How many callbacks have run.
    """

    network: Network

    def __init__(self) -> None:
        self._now = 0.0
        self._ready: deque[_Callback] = deque()
        self._timers: list[tuple[float, int, _Callback]] = []
        self._sequence = itertools.count()
        self._closed = False
        self.numbers = itertools.count()
        self.unheard: list[str] = []
        self.steps = 0
        self.hears = True

    # What asyncio asks for

    def time(self) -> float:
        """Return virtual seconds."""
        return self._now

    def get_debug(self) -> bool:
        """Tell that this is no debugging."""
        return False

    def is_running(self) -> bool:
        """Tell that it runs."""
        return not self._closed

    def is_closed(self) -> bool:
        """Tell whether it was closed."""
        return self._closed

    def call_soon(self, callback: Callable[..., Any], *args: Any, context: Context | None = None) -> asyncio.Handle:  # type: ignore[override]
        """Run a callback after those that are ready."""
        handle = _Callback(callback, args, context, None)
        self._ready.append(handle)
        return handle  # type: ignore[return-value]

    def call_soon_threadsafe(  # type: ignore[override]
        self, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        """Run a callback; there is one thread."""
        return self.call_soon(callback, *args, context=context)

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Run a callback after some virtual seconds."""
        return self.call_at(self._now + delay, callback, *args, context=context)

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Run a callback at a virtual time."""
        timer = _Callback(callback, args, context, when)
        heapq.heappush(self._timers, (when, next(self._sequence), timer))
        return timer  # type: ignore[return-value]

    def create_future(self) -> asyncio.Future[Any]:
        """Make a future."""
        return asyncio.Future(loop=self)

    def create_task(  # type: ignore[override]
        self, coro: Coroutine[Any, Any, T], *, name: str | None = None, context: Context | None = None
    ) -> asyncio.Task[T]:
        """Make a task."""
        if context is None:
            return _Task(coro, loop=self, name=name)
        return _Task(coro, loop=self, name=name, context=context)

    async def run_in_executor(self, _executor: Any, function: Callable[..., T], *args: Any) -> T:  # type: ignore[override]
        """Run a function here: there are no threads."""
        await asyncio.sleep(0)
        return function(*args)

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Keep what nobody retrieved, unless its host is dead."""
        host = HERE.get()
        if self.hears and not (host is not None and host.dead):
            self.unheard.append(f"{context['message']}: {context.get('exception')!r} on {host}")

    async def create_connection(self, factory: Any, host: str, port: int, **_: Any) -> Any:  # type: ignore[override]
        """Connect through the simulated network."""
        return await self.network.connect(factory, host, port)

    async def create_server(self, factory: Any, host: str, port: int, **_: Any) -> Any:  # type: ignore[override]
        """Listen in the simulated network."""
        return self.network.listen(factory, host, port)

    # What the simulation asks for

    def start(self, host: Host | None, work: Coroutine[Any, Any, T], *, name: str | None = None) -> asyncio.Task[T]:
        """Begin a piece of work on a host, or beside all hosts."""
        context = copy_context()
        context.run(HERE.set, host)
        return self.create_task(work, name=name, context=context)

    def freeze(self, host: Host) -> None:
        """Stop a host while time goes on."""
        host.frozen = True

    def thaw(self, host: Host) -> None:
        """Let a frozen host go on with all that has come meanwhile: first with what it heard, as a selector does."""
        host.frozen = False
        backlog, host.backlog = host.backlog, []
        self._ready.extend(sorted(backlog, key=lambda one: one.timed is not None))

    def kill(self, host: Host) -> None:
        """End a host, in the middle of whatever it does."""
        host.dead = True
        host.backlog.clear()
        if not host.died.done():
            host.died.set_result(None)

    def run(self, main: asyncio.Future[T]) -> T:
        """Run until a future is done.

        Raises
        ------
        StuckError
            It never will be.
        """
        ready, timers = self._ready, self._timers
        before = asyncio._get_running_loop()
        asyncio._set_running_loop(self)
        try:
            while not main.done():
                if not ready:
                    self._advance(timers, ready)
                handle = ready.popleft()
                if handle.gone:
                    continue
                host = handle.context.get(HERE)
                if host is not None and (host.frozen or host.dead):
                    if not host.dead:
                        host.backlog.append(handle)
                    continue
                self.steps += 1
                try:
                    handle.context.run(handle.callback, *handle.args)
                except Exception as error:  # noqa: BLE001 - as asyncio does: it is told, and the loop goes on
                    what = {"message": f"Exception in callback {handle.callback}", "exception": error}
                    handle.context.run(self.call_exception_handler, what)
            return main.result()
        finally:
            asyncio._set_running_loop(before)

    def _advance(self, timers: list[tuple[float, int, _Callback]], ready: deque[_Callback]) -> None:
        while timers and timers[0][2].gone:
            heapq.heappop(timers)
        if not timers:
            raise StuckError("Everybody waits, and no timer is set.")
        if self.steps > _MOST_STEPS:
            raise StuckError(f"{self.steps} callbacks have run.")
        self._now = max(self._now, timers[0][0])
        while timers and timers[0][0] <= self._now:
            ready.append(heapq.heappop(timers)[2])

    def close(self) -> None:
        """Forget everything."""
        self._closed = True
        self._ready.clear()
        self._timers.clear()
