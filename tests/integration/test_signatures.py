"""The public interface is the one it was modelled on, and what was added cannot break a caller of that one.

The signatures below are those of casty's ``Distributed`` and its structures.
"""

from __future__ import annotations

import inspect
from inspect import Parameter
from typing import Any

import pytest

import casty_es
from casty_es import ClusteredActorSystem, Distributed, EntityGateway

EMPTY = Parameter.empty
POSITIONAL = Parameter.POSITIONAL_OR_KEYWORD
KEYWORD = Parameter.KEYWORD_ONLY

# name, kind, default
Parameters = list[tuple[str, Any, Any]]

SELF: Parameters = [("self", POSITIONAL, EMPTY)]


def keywords(**defaults: Any) -> Parameters:
    """Return keyword-only parameters; ``...`` stands for no default."""
    return [(name, KEYWORD, EMPTY if default is ... else default) for name, default in defaults.items()]


def positional(*required: str, **defaults: Any) -> Parameters:
    """Return parameters that may be given by position, after ``self``."""
    return [
        *SELF,
        *((name, POSITIONAL, EMPTY) for name in required),
        *((name, POSITIONAL, default) for name, default in defaults.items()),
    ]


HANDLE = [*SELF, *keywords(gateway=..., region_ref=..., name=..., timeout=5.0)]
BARRIER = [*SELF, *keywords(gateway=..., region_ref=..., name=..., node_id=..., timeout=60.0)]
STRUCTURE = keywords(shards=100, timeout=5.0)

SIGNATURES: dict[str, Parameters] = {
    "Distributed.__init__": [*positional("gateway"), *keywords(journal=None)],
    "Distributed.counter": [*positional("name"), *STRUCTURE],
    "Distributed.lock": [*positional("name"), *STRUCTURE],
    "Distributed.semaphore": [*positional("name", "permits"), *STRUCTURE],
    "Distributed.barrier": [*positional("name"), *keywords(node_id=None, shards=10, timeout=60.0)],
    "EntityGateway.region_ref": [*positional("key", "factory"), *keywords(num_shards=...)],
    "EntityGateway.entity_ask": [*positional("ref", "msg_factory"), *keywords(timeout=...)],
    "Barrier.__init__": BARRIER,
    "Barrier.destroy": SELF,
    "Barrier.arrive": positional("expected"),
    "Counter.__init__": HANDLE,
    "Counter.increment": positional(amount=1),
    "Counter.decrement": positional(amount=1),
    "Counter.destroy": SELF,
    "Counter.get": SELF,
    "Dict.__init__": HANDLE,
    "Dict.put": positional("key", "value"),
    "Dict.get": [*positional("key"), *keywords(local=False)],
    "Dict.delete": positional("key"),
    "Dict.contains": positional("key"),
    "Lock.__init__": HANDLE,
    "Lock.destroy": SELF,
    "Lock.acquire": SELF,
    "Lock.try_acquire": SELF,
    "Lock.release": SELF,
    "Queue.__init__": HANDLE,
    "Queue.destroy": SELF,
    "Queue.enqueue": positional("value"),
    "Queue.dequeue": SELF,
    "Queue.peek": SELF,
    "Queue.size": SELF,
    "Semaphore.__init__": HANDLE,
    "Semaphore.destroy": SELF,
    "Semaphore.acquire": SELF,
    "Semaphore.try_acquire": SELF,
    "Semaphore.release": SELF,
    "Set.__init__": HANDLE,
    "Set.destroy": SELF,
    "Set.add": positional("value"),
    "Set.remove": positional("value"),
    "Set.contains": positional("value"),
    "Set.size": SELF,
}

SYNCHRONOUS = {"__init__", "counter", "lock", "semaphore", "barrier", "region_ref"}


def parameters_of(function: Any) -> Parameters:
    """Return the parameters of a function as the table writes them."""
    return [(one.name, one.kind, one.default) for one in inspect.signature(function).parameters.values()]


def assert_compatible(ours: Parameters, theirs: Parameters) -> None:
    """Check that every parameter is there unchanged, and that the rest is keyword-only with a default."""
    known = {name for name, _, _ in theirs}
    assert [one for one in ours if one[0] in known] == theirs
    added = [one for one in ours if one[0] not in known]
    assert [name for name, kind, default in added if kind is not KEYWORD or default is EMPTY] == []


@pytest.mark.parametrize("name", SIGNATURES)
def test_signature(name: str) -> None:
    """A method has the parameters it is known for: names, order, kinds and defaults."""
    # Given a method by its public name
    class_name, _, method_name = name.partition(".")
    method = inspect.getattr_static(getattr(casty_es, class_name), method_name)
    # When its signature is read, then it is the known one, and what was added can be left out
    assert_compatible(parameters_of(method), SIGNATURES[name])
    assert inspect.iscoroutinefunction(method) is (method_name not in SYNCHRONOUS)


@pytest.mark.parametrize("method", ["region_ref", "entity_ask"])
def test_system_is_a_gateway(method: str) -> None:
    """``ClusteredActorSystem`` has the methods of ``EntityGateway`` with the same parameters."""
    # Given the protocol, when the system's signature is read, then it is the protocol's
    assert parameters_of(getattr(ClusteredActorSystem, method)) == parameters_of(getattr(EntityGateway, method))
    assert isinstance(ClusteredActorSystem(), EntityGateway)


@pytest.mark.parametrize("accessor", ["map", "set", "queue"])
def test_accessor_takes_types_and_then_a_name(accessor: str) -> None:
    """``d.map[K, V]("name", shards=100, timeout=5.0)``: an accessor is a property that is subscripted and called."""
    # Given the facade of a system that nobody has started
    assert isinstance(inspect.getattr_static(Distributed, accessor), property)
    subscripted = getattr(Distributed(ClusteredActorSystem()), accessor)
    # When the accessor gets its types
    create = subscripted[str, int] if accessor == "map" else subscripted[str]
    # Then what it gives takes the name, and the options that every structure has
    assert_compatible(parameters_of(create), [("name", POSITIONAL, EMPTY), *STRUCTURE])
    assert create("users", shards=10).name == "users"
