"""Whatever is passed to the public interface, what comes of it is a result or an error of ours.

The table is made by looking: every public callable, each of its parameters, every hostile argument. A name that the
package exports and a parameter that must be given are covered from the day they come, or a test asks for them.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio

import casty_es
from casty_es import (
    CastyError,
    ClusterClient,
    ClusteredActorSystem,
    Distributed,
    InvalidArgumentError,
    Settings,
    SqlJournal,
    UsageError,
    audit_context,
    connect,
    register,
)
from casty_es.domain.counter import Get
from casty_es.errors import Sent
from casty_es.gateway import StructureFactory
from casty_es.gateway.cursor import encode_cursor
from casty_es.journal.port import EntityName
from casty_es.replay import Positions, Then
from tests.own_kinds import own_kinds

from .hostile import ARGUMENTS, URLS

QUICK = 0.05

# What works for a parameter that must be given, by its name; all others have a default.
FITTING: dict[str, Any] = {
    "amount": 1,
    "command_id": UUID(int=1),
    "contact_points": [("127.0.0.1", 9)],
    "expected": 1,
    "function": lambda value: value or "v",
    "gateway": None,
    "items": {"k": "v"},
    "key": "k",
    "keys": ["k"],
    "moment": "",
    "name": "x",
    "node_id": "n",
    "nodes": 1,
    "permits": 1,
    "region_ref": None,
    "secret": b"x" * 32,
    "sent": Sent("counter", 0, 0, 0),
    "sequence": 1,
    "url": "sqlite:///x.db",
    "value": "v",
}

STRUCTURES: dict[str, Callable[[Distributed], Any]] = {
    "Counter": lambda d: d.counter("c", timeout=QUICK),
    "Dict": lambda d: d.map[str, str]("m", timeout=QUICK),
    "Set": lambda d: d.set[str]("s", timeout=QUICK),
    "Queue": lambda d: d.queue[str]("q", timeout=QUICK),
    "Lock": lambda d: d.lock("l", timeout=QUICK),
    "Semaphore": lambda d: d.semaphore("p", 1, timeout=QUICK),
    "Barrier": lambda d: d.barrier("b", timeout=QUICK),
    "Structure": lambda d: d.structure(FITTING["kind"], "a", timeout=QUICK),
}
FUNCTIONS: dict[str, Callable[..., Any]] = {
    "ClusterClient": ClusterClient,
    "Settings": Settings,
    "SqlJournal": SqlJournal,
    "audit_context": audit_context,
    "connect": connect,
    "register": register,
}
# A default comes back as it was given, and a class is a function, whose errors are the caller's.
THE_CALLERS_OWN = {("default", "path"), ("function", "class")}
SYSTEMS = {"ClusteredActorSystem", "Distributed"}
# Results, errors, and what is written by whoever makes a journal or a gateway of their own.
NOT_CALLED = {"CommandOutcome", "CommandStatus", "EntityGateway", "EventJournal", "InMemoryJournal"}
# What handles call of a gateway: typed, and not checked a second time on the way of every command.
BETWEEN_PARTS = {"entity_ask", "read_history", "read_past", "read_positions", "region_ref"}


def test_everything_public_is_in_the_table() -> None:
    """Given the names that the package exports, then each is tested here or said to be no user's to call."""
    errors = {name for name in casty_es.__all__ if name.endswith("Error")}
    assert set(casty_es.__all__) == errors | NOT_CALLED | SYSTEMS | STRUCTURES.keys() | FUNCTIONS.keys()


def public_methods(one: object) -> Iterator[tuple[str, Callable[..., Any]]]:
    """Yield the methods that a user may call."""
    for name, _ in inspect.getmembers(type(one), callable):
        if not name.startswith("_") and name not in BETWEEN_PARTS:
            yield name, getattr(one, name)


async def finish(outcome: Any) -> None:  # noqa: C901, PLR0912 - one case for each kind of thing that a call gives
    """Carry what a call gave to its end: wait for it, read it, use it."""
    if isinstance(outcome, Awaitable):
        outcome = await outcome
    if isinstance(outcome, AsyncIterator):
        async for _ in outcome:
            pass
    if isinstance(outcome, AbstractContextManager):
        with outcome:
            pass
    if isinstance(outcome, AbstractAsyncContextManager):
        async with outcome as entered:
            outcome = entered
            if isinstance(entered, ClusteredActorSystem | Distributed):
                await finish(entered.distributed() if isinstance(entered, ClusteredActorSystem) else entered)
            return
    if isinstance(outcome, Settings):
        async with ClusteredActorSystem(settings=outcome) as system:
            await finish(system.distributed())
    match type(outcome).__name__:
        case "Distributed":
            await outcome.map[str, str]("k").contains("x")
            await outcome.counter("x").increment()
        case "Counter":
            await outcome.increment()
        case "Dict":
            await outcome.delete("k")
        case "Set" | "Queue":
            await outcome.size()
        case "Barrier":
            await outcome.arrive(1)
        case _:
            pass


async def try_all(call: Callable[..., Any], where: str, **fitting: Any) -> list[str]:
    """Call with each hostile argument in each place; tell where something else than an error of ours came of it."""
    wrong = []
    known = inspect.signature(call).parameters.values()
    base = {one.name: FITTING[one.name] for one in known if one.default is one.empty and one.name not in fitting}
    for one in known:
        for named, argument in (ARGUMENTS | (URLS if one.name.endswith("url") else {})).items():
            if (one.name, named) in THE_CALLERS_OWN:
                continue
            wrong += await wrong_of(f"{where}({one.name}={named})", call, {**base, **fitting, one.name: argument})
    return wrong


async def wrong_of(where: str, call: Callable[..., Any], arguments: dict[str, Any]) -> list[str]:
    """Call once; return what was wrong with what came of it."""
    try:
        await asyncio.wait_for(finish(call(**arguments)), 20)
    except CastyError as error:
        return [] if str(error) else [f"{where}: no words"]
    except Exception as error:  # noqa: BLE001 - it is what is looked for
        return [f"{where}: {type(error).__name__}: {error}"]
    return []


@pytest.fixture(autouse=True)
def own_kind(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A program has a kind of its own."""
    with own_kinds():
        from bank_account import ACCOUNT, Deposit

        monkeypatch.setitem(FITTING, "kind", ACCOUNT)
        monkeypatch.setitem(FITTING, "command", Deposit(1))
        yield


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some of the arguments are paths that work."""
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("structure", STRUCTURES)
async def test_methods_of_a_structure(d: Distributed, structure: str) -> None:
    """Given a structure on each journal, when a method gets a hostile argument, then it fails as ours, or works."""
    wrong = []
    for name, method in public_methods(STRUCTURES[structure](d)):
        wrong += await try_all(method, f"{structure}.{name}")
    assert not wrong, "\n".join(wrong)
    assert await d.counter("after").increment() == 1


async def test_the_facade(d: Distributed) -> None:
    """Given each journal, when a structure is made with a hostile argument, then it fails as ours, or works."""
    wrong = []
    for name, method in public_methods(d):
        wrong += await try_all(method, f"d.{name}", **({"key": "k"} if name == "map" else {}))
    for name, make in (("map", d.map[str, str]), ("set", d.set[str]), ("queue", d.queue[str])):
        wrong += await try_all(make, f"d.{name}[…]")
    wrong += await try_all(Distributed, "Distributed", gateway=d.gateway)
    assert not wrong, "\n".join(wrong)
    assert await d.counter("after").increment() == 1


def test_declared_types(d: Distributed) -> None:
    """Given a hostile argument where a type is declared, then it fails as ours, or works."""
    wrong = []
    for named, argument in ARGUMENTS.items():
        for name, make in {
            "map[…]": lambda one=argument: d.map[one]("x"),
            "map[…, str]": lambda one=argument: d.map[one, str]("x"),
            "map[str, …]": lambda one=argument: d.map[str, one]("x"),
            "set[…]": lambda one=argument: d.set[one]("x"),
            "queue[…]": lambda one=argument: d.queue[one]("x"),
        }.items():
            try:
                make()
            except CastyError:
                pass
            except Exception as error:  # noqa: BLE001 - it is what is looked for
                wrong.append(f"{name} of {named}: {type(error).__name__}: {error}")
    assert not wrong, "\n".join(wrong)


async def test_handles_that_are_made_by_hand() -> None:
    """Given the classes of the structures, when one is made with hostile arguments, then it fails as ours, or works."""
    wrong = []
    async with ClusteredActorSystem() as system:
        for structure in STRUCTURES:
            kind = {"Dict": "map", "Structure": "account"}.get(structure, structure.lower())
            factory = StructureFactory(kind, (("permits", 1),) if kind == "semaphore" else ())
            ref = system.region_ref("x", factory, num_shards=100)
            wrong += await try_all(getattr(casty_es, structure), structure, gateway=system, region_ref=ref)
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("name", FUNCTIONS)
async def test_functions_and_constructors(name: str) -> None:
    """Given what stands by itself, when it is called with a hostile argument, then it fails as ours, or works."""
    wrong = await try_all(FUNCTIONS[name], name)
    assert not wrong, "\n".join(wrong)


async def test_the_constructor_of_a_system(sqlite_journal_url: str) -> None:
    """Given a node on a file, when it is made with a hostile argument, then it fails as ours, or works."""
    journal = SqlJournal(sqlite_journal_url)
    wrong = await try_all(ClusteredActorSystem, "ClusteredActorSystem", journal=journal)
    assert not wrong, "\n".join(wrong)


@pytest_asyncio.fixture
async def system(sqlite_journal_url: str) -> AsyncIterator[ClusteredActorSystem]:
    """A node on a file."""
    async with ClusteredActorSystem(journal=SqlJournal(sqlite_journal_url)) as running:
        yield running


async def test_methods_of_a_system_and_of_a_client(system: ClusteredActorSystem) -> None:
    """Given a node and a client of it, when a method gets a hostile argument, then it fails as ours, or works."""
    secret = await system.journal.secret()
    async with ClusterClient(contact_points=[tuple(system.self_node)], secret=secret) as client:
        wrong = []
        for one in (system, client):
            for name, method in public_methods(one):
                wrong += await try_all(
                    method, f"{type(one).__name__}.{name}", **({"timeout": QUICK} if name == "wait_for" else {})
                )
            for structure, make in STRUCTURES.items():
                if one is client and structure == "Barrier":
                    continue
                for name, method in public_methods(make(one.distributed())):
                    wrong += await try_all(method, f"{structure}.{name} of {type(one).__name__}")
    assert not wrong, "\n".join(wrong)


async def test_a_forgotten_async_with_is_told(sqlite_url: str) -> None:
    """Given what connect gives, when it is used without entering it, then the error says ``async with``."""
    d: Any = connect(sqlite_url)
    for attempt in (
        lambda: d.counter("c"),
        lambda: d.map[str, int],
        lambda: d.cursor,
        lambda: d.gateway,
    ):
        with pytest.raises(UsageError, match=r"async with connect\(url\) as d"):
            attempt()
    with pytest.raises(AttributeError):
        d.nothing  # noqa: B018 - reading it is the point
    assert not hasattr(d, "__wrapped__")
    async with d as entered:
        assert await entered.counter("c").increment() == 1
        with pytest.raises(UsageError, match="running already"):
            async with d:
                pass
        assert await entered.counter("c").increment() == 2
    async with d as entered:
        assert await entered.counter("c").get() == 2


async def test_numbers_that_no_column_holds_are_refused_alone(
    sqlite_journal_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Given a client that sends numbers beyond 64 signed bits, then each is refused, and nothing else ends."""
    async with ClusteredActorSystem(journal=SqlJournal(sqlite_journal_url)) as system:
        await system.distributed().counter("c").increment()
        name, secret = EntityName("counter", "c", ""), await system.journal.secret()
        async with ClusterClient(contact_points=[tuple(system.self_node)], secret=secret) as client:
            for question in (
                lambda: client.read_history(name, after=2**63, after_time=None, limit=1),
                lambda: client.read_history(name, after=0, after_time=2**63, limit=1),
                lambda: client.read_past(name, Get(), Then(position=2**63)),
                lambda: client.read_past(name, Get(), Then(sequence=2**64 - 1)),
                lambda: client.read_past(name, Get(), Then(time=2**63)),
            ):
                with pytest.raises(InvalidArgumentError, match=r"<= 9223372036854775807.*Nothing was done"):
                    await question()
            assert await client.distributed().counter("c").get() == 1
        cursor = encode_cursor(Positions((await system.read_positions()).journal, (2**63,) * 256))
        with pytest.raises(InvalidArgumentError, match="not a cursor"):
            await system.distributed().at(cursor).counter("c").get()
        assert await system.distributed().counter("c").increment() == 2
    assert "never retrieved" not in caplog.text
