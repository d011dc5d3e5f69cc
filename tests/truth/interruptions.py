"""The table of interruptions: what befalls operations on their way, generated over turns and milliseconds.

A turn is one iteration of the event loop, counted by callbacks that follow each other. The loop does not wait while
they do, so a hop to another thread or a socket takes as many turns as it takes, and the moments go on far beyond the
turn at which the last operation is done.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from unittest.mock import patch

from casty_es.cluster import service
from casty_es.format.codec import encode_reply

from .oracle import Leniency

if TYPE_CHECKING:
    from random import Random

    from .cases import Case, Wrap
    from .worlds import World

__all__ = ["EVERY", "Interruption", "Scene"]

_PATIENT: Final = 60.0
"""The handle's own timeout where it is not to play a part, in seconds."""
_SHORT: Final = 0.05
"""The handle's own timeout where it is what everything is about."""
_CLUSTER: Final = ("routed", "client")
_ALL: Final = ("local", *_CLUSTER)


class Scene:
    """Some cases in a world, about to be interrupted.

    Attributes
    ----------
    tasks : list[asyncio.Task]
        The callers.
    """

    def __init__(self, world: World, cases: list[Case], meanwhile: list[Callable[[], Awaitable[None]]]) -> None:
        self.world = world
        self.cases = cases
        self.tasks: list[asyncio.Task[None]] = []
        self.others: list[asyncio.Task[None]] = []
        self._meanwhile = meanwhile

    def start(self, wrap: Wrap | None = None) -> None:
        """Call every operation."""
        d = self.world.caller
        self.tasks = [asyncio.create_task(case.run(d, wrap)) for case in self.cases]
        self.others = [asyncio.create_task(_run(work)) for work in self._meanwhile]


async def _run(work: Callable[[], Awaitable[None]]) -> None:
    await work()


class Interruption(NamedTuple):
    """One way of interrupting, at one moment.

    Attributes
    ----------
    family : str
        The row of the report.
    moment : str
        Which of the family.
    ways : tuple[str, ...]
        The worlds in which it can be.
    strike : Callable
        ``strike(scene, dice)``: starts the calls, and interrupts them.
    seconds : float
        The handles' own timeout.
    cancels : bool
        Whether callers are cancelled, and then told nothing.
    closes : bool
        Whether the caller is gone afterwards, with everything that it held.
    misread : bool
        Whether callers declare a type that what is stored does not have.
    """

    family: str
    moment: str
    ways: tuple[str, ...]
    strike: Callable[[Scene, Random], Awaitable[None]]
    seconds: float = _PATIENT
    cancels: bool = False
    closes: bool = False
    misread: bool = False
    leniency: Leniency = Leniency()

    def __str__(self) -> str:
        return f"{self.family} ({self.moment})"


def _in_turns(turns: int, then: Callable[[], object]) -> None:
    if turns:
        asyncio.get_running_loop().call_soon(_in_turns, turns - 1, then)
    else:
        then()


async def _turns(turns: int) -> None:
    passed = asyncio.get_running_loop().create_future()
    _in_turns(turns, lambda: passed.set_result(None))
    await passed


async def _cancel_in_turns(scene: Scene, dice: Random, *, turns: int) -> None:
    scene.start()
    for task in scene.tasks:
        _in_turns(turns + dice.randrange(3), task.cancel)


async def _cancel_without_a_way(scene: Scene, dice: Random, *, turns: int) -> None:
    """Cancel callers whose link to the owner was lost a moment ago, while it is looked for."""
    scene.world.proxy.break_all()
    await asyncio.sleep(0.002 * dice.random())
    await _cancel_in_turns(scene, dice, turns=turns)


async def _cancel_in_time(scene: Scene, dice: Random, *, seconds: float) -> None:
    loop = asyncio.get_running_loop()
    scene.start()
    for task in scene.tasks:
        loop.call_later(dice.uniform(seconds / 2, seconds), task.cancel)


async def _time_out(
    scene: Scene, dice: Random, *, milliseconds: int, by: str, slow: bool = False, cut: bool = False
) -> None:
    """Let the caller's own patience end about when the handle's does; the link may be lost just before."""
    seconds = _SHORT + milliseconds / 1000
    if slow:
        scene.world.delay = lambda: dice.uniform(0, 2 * _SHORT)

    if cut:
        before = dice.uniform(-0.005, 0.01)
        asyncio.get_running_loop().call_later(_SHORT - before, scene.world.proxy.break_all)

    async def timeout(call: Awaitable[Any]) -> Any:
        async with asyncio.timeout(seconds):
            return await call

    scene.start(timeout if by == "timeout" else lambda call: asyncio.wait_for(call, seconds))


async def _slow(scene: Scene, dice: Random) -> None:
    scene.world.delay = lambda: dice.uniform(0, 3 * _SHORT)
    scene.start()


async def _close_caller(scene: Scene, dice: Random, *, turns: int, seconds: float) -> None:
    if dice.random() < 0.5:
        scene.world.delay = lambda: dice.uniform(0, 0.01)
    scene.start()
    await (_turns(turns) if turns else asyncio.sleep(seconds))
    await scene.world.close_caller()


async def _close_owner(scene: Scene, _: Random, *, turns: int, seconds: float) -> None:
    scene.start()
    await (_turns(turns) if turns else asyncio.sleep(seconds))
    await scene.world.close_node("owner")


async def _cut(scene: Scene, dice: Random, *, swallowed: str, turns: int) -> None:
    """Cut the link to the owner, after what one side says is lost."""
    proxy = scene.world.proxy
    if swallowed != "nothing":
        proxy.swallowed.add(swallowed == "requests")
    scene.start()
    await _turns(turns)
    if swallowed != "nothing":
        await asyncio.sleep(dice.uniform(0.0, 0.05))
    proxy.break_all()
    proxy.swallowed.clear()


async def _spoil(scene: Scene, dice: Random) -> None:
    scene.world.proxy.spoiled = dice.randrange(1, 4)
    scene.start()
    await asyncio.wait(scene.tasks, timeout=_SHORT)
    scene.world.proxy.spoiled = 0


async def _garble(scene: Scene, dice: Random) -> None:
    """Let the owner send replies that nobody can read."""
    with _garbled(dice):
        scene.start()
        await asyncio.wait(scene.tasks, timeout=10 * _SHORT)


@contextmanager
def _garbled(dice: Random) -> Iterator[None]:
    def garbled(reply: object) -> bytes:
        return b"?" if dice.random() < 0.5 else encode_reply(reply)

    with patch.object(service, "encode_reply", garbled):
        yield


async def _only_call(scene: Scene, _: Random) -> None:
    scene.start()


def _growing(first: int, last: int) -> Iterator[int]:
    number = first
    while number < last:
        yield number
        number += max(1, number // 8)


def _cancellations() -> Iterator[Interruption]:
    for turns in [*range(1, 16), *_growing(16, 3_000)]:
        strike = partial(_cancel_in_turns, turns=turns)
        yield Interruption("cancelled at a turn", f"{turns}", _ALL, strike, cancels=True)
    for turns in [*range(1, 16), *_growing(16, 800)]:
        strike = partial(_cancel_without_a_way, turns=turns)
        yield Interruption("cancelled without a way", f"{turns}", _CLUSTER, strike, cancels=True)
    for half in range(1, 40):
        strike = partial(_cancel_in_time, seconds=half / 2000)
        yield Interruption("cancelled after a time", f"{half / 2:g} ms", _ALL, strike, cancels=True)


def _timeouts() -> Iterator[Interruption]:
    for by in ("wait_for", "timeout"):
        for milliseconds in range(-5, 21):
            for slow in (False, True):
                strike = partial(_time_out, milliseconds=milliseconds, by=by, slow=slow)
                moment = f"{milliseconds:+d} ms{', slow commits' if slow else ''}"
                yield Interruption(f"asyncio.{by} around it", moment, _ALL, strike, _SHORT, cancels=True)
            strike = partial(_time_out, milliseconds=milliseconds, by=by, cut=True)
            family = f"asyncio.{by} as the link is cut"
            yield Interruption(family, f"{milliseconds:+d} ms", _CLUSTER, strike, _SHORT, cancels=True)
    for _ in range(8):
        yield Interruption("slow commits", "0 to 150 ms", _ALL, _slow, _SHORT)


def _closings() -> Iterator[Interruption]:
    moments = [(turns, 0.0) for turns in [*range(1, 8), *_growing(8, 800)]]
    moments += [(0, number / 1000) for number in range(1, 30)]
    for turns, seconds in moments:
        moment = f"{turns} turns" if turns else f"{seconds * 1000:g} ms"
        close = partial(_close_caller, turns=turns, seconds=seconds)
        yield Interruption("caller closed", moment, _ALL, close, closes=True, leniency=Leniency(unknown_stands=False))
        if turns % 2 == 0:
            hand_over = partial(_close_owner, turns=turns, seconds=seconds)
            yield Interruption("owner closed", moment, _CLUSTER, hand_over, 1.0)


def _links() -> Iterator[Interruption]:
    for swallowed in ("nothing", "requests", "replies"):
        for turns in [*range(6), *_growing(6, 300)]:
            strike = partial(_cut, swallowed=swallowed, turns=turns)
            family = "link cut" if swallowed == "nothing" else f"link cut, {swallowed} lost"
            yield Interruption(family, f"{turns} turns", _CLUSTER, strike, 1.0)
    for _ in range(8):
        yield Interruption("reply frame spoiled", "", _CLUSTER, _spoil, 1.0)
        yield Interruption("reply garbled", "", _CLUSTER, _garble, 0.5)


EVERY: Final = (
    *_cancellations(),
    *_timeouts(),
    *_closings(),
    *_links(),
    *(Interruption("read as another type", "", _ALL, _only_call, 0.2, misread=True) for _ in range(3)),
)
