"""What callers were told, and whether a later answer contradicts it."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import uuid4

from casty_es.errors import CastyError, JournalRegressedError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from random import Random

    from casty_es import Distributed

__all__ = ["ACTIONS", "Count", "Fact", "act", "act_all", "ask_everybody", "contradictions", "put_entry"]

_KEY = "k"


class Fact(NamedTuple):
    """Something that a caller was told: what it asked for, and the answer."""

    what: str
    answer: Any


async def _grant(d: Distributed, on: str, seconds: float) -> int | None:
    lock = d.lock(f"{on}lock", timeout=seconds)
    await lock.acquire()
    token = lock.token
    await lock.release()
    return token


async def _item(d: Distributed, on: str, seconds: float) -> Any:
    queue = d.queue[str](f"{on}queue", timeout=seconds)
    await queue.enqueue(str(uuid4()))
    return await queue.dequeue()


async def _entry(d: Distributed, on: str, seconds: float) -> Any:
    return await d.map[str, str](f"{on}map", timeout=seconds).get(_KEY)


async def _keyed(d: Distributed, on: str, seconds: float) -> int:
    return await d.counter(f"{on}counter", timeout=seconds).increment(idempotency_key=str(uuid4()))


async def _increment(d: Distributed, on: str, seconds: float) -> int:
    return await d.counter(f"{on}counter", timeout=seconds).increment()


async def _get(d: Distributed, on: str, seconds: float) -> int:
    return await d.counter(f"{on}counter", timeout=seconds).get()


ACTIONS = {
    "increment": _increment,
    "keyed increment": _keyed,
    "get": _get,
    "token": _grant,
    "item": _item,
    "entry": _entry,
}


async def act(d: Distributed, what: str, *, seconds: float, on: str = "") -> Fact | CastyError:
    """Do one thing, on structures whose names begin so; return what was told, an answer or an error."""
    try:
        return Fact(what, await ACTIONS[what](d, on, seconds))
    except CastyError as error:
        return error


async def put_entry(d: Distributed, *, seconds: float, on: str = "") -> None:
    """Put the entry that everybody asks for; until then it is not there."""
    await d.map[str, str](f"{on}map", timeout=seconds).put(_KEY, "there")


async def act_all(dice: Random, crowd: Sequence[tuple[Distributed, list[Fact]]], times: int, *, seconds: float) -> None:
    """Let callers do everything in turn, each so often, and add what each is told to its facts."""
    turns = [(d, facts, what) for d, facts in crowd for what in ACTIONS] * times
    dice.shuffle(turns)
    for d, facts, what in turns:
        fact = await act(d, what, seconds=seconds)
        assert isinstance(fact, Fact), f"{what} failed while nothing was wrong: {fact}"
        facts.append(fact)


def contradictions(known: Iterable[Fact], told: Fact) -> list[str]:
    """Return what is wrong with an answer, by what was told before it was asked for."""
    facts = list(known)
    numbers = [fact.answer for fact in facts if fact.what in {"increment", "keyed increment", "get"}]
    highest, answer = max(numbers, default=0), told.answer
    match told.what:
        case "get" if answer < highest:
            return [f"the counter was {highest} and is {answer}"]
        case "increment" | "keyed increment" if answer <= highest:
            return [f"the counter was {highest} and was incremented to {answer}"]
        case "token" | "item" if answer is not None and Fact(told.what, answer) in facts:
            return [f"the same {told.what} was given twice: {answer}"]
        case "entry" if answer is None and any(fact.what == "entry" and fact.answer is not None for fact in facts):
            return ["the key of the map was there, and is not"]
    return []


class Count:
    """What came of some trials: what was wrong, how many answers there were, and the errors by class."""

    def __init__(self, kind: str, seed: int) -> None:
        self.kind = kind
        self.seed = seed
        self.trials = self.answers = 0
        self.errors: Counter[str] = Counter()
        self.wrong: list[str] = []

    def add(self, known: Iterable[Fact], told: Fact | CastyError) -> None:
        """Count what somebody was told."""
        if isinstance(told, Fact):
            self.answers += 1
            self.wrong += [f"trial {self.trials}: {one}" for one in contradictions(known, told)]
        else:
            self.errors[type(told).__name__] += 1

    def judge(self) -> None:
        """Fail if anything was wrong, or if no loss was ever noticed."""
        print(  # noqa: T201 - the count is what a long run is for
            f"{self.kind}, seed {self.seed}: {self.trials} trials, {self.answers} answers, errors {dict(self.errors)}, "
            f"{len(self.wrong)} wrong"
        )
        assert self.wrong == []
        assert self.errors[JournalRegressedError.__name__]


async def ask_everybody(
    dice: Random,
    count: Count,
    living: Sequence[tuple[Distributed, list[Fact]]],
    alone: Sequence[tuple[Distributed, list[Fact]]] = (),
) -> None:
    """Let everybody do everything once, after a loss.

    Parameters
    ----------
    living : Sequence
        Nodes, each with what it was told: what one remembers holds for all.
    alone : Sequence
        Clients, which nobody can ask: what one remembers holds for itself.
    """
    turns = [(one, what) for one in (*living, *alone) for what in ACTIONS]
    dice.shuffle(turns)
    for (d, facts), what in turns:
        known = [fact for _, told in living for fact in told]
        if all(facts is not told for _, told in living):
            known += facts
        told = await act(d, what, seconds=2.0)
        count.add(known, told)
        if isinstance(told, Fact):
            facts.append(told)
