"""The protocols as modelled keep their promises, and break one as soon as any single rule is not kept."""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Any

import pytest

from tests.model.check import Part, explore
from tests.model.ownership.deciding import effects
from tests.model.parts import PARTS

_MODELS = {name: model for part in PARTS for name, model in part.models.items()}
_RULES = [(part, rule) for part in PARTS for rule in part.rules]


def test_names_are_used_once() -> None:
    """Given the configurations of all parts, when they are counted, then none hides another of the same name."""
    assert len(_MODELS) == sum(len(part.models) for part in PARTS)


@pytest.mark.parametrize("name", _MODELS)
def test_all_rules_together_keep_every_promise(name: str) -> None:
    """Given all rules, when everything that can happen happened, then nobody was told what is not so."""
    result = explore(_MODELS[name])
    assert not result.violation, str(result)


@pytest.mark.parametrize(("part", "rule"), _RULES, ids=[rule.name for _, rule in _RULES])
def test_no_rule_can_be_spared(part: Part, rule: enum.Enum) -> None:
    """Given all rules but one, when the states are searched, then one is wrong, and the way to it is printed."""
    result = explore(part.without(rule))
    print(f"Without {rule.name}: {rule.value}\n{result}")  # noqa: T201 - the counterexample is for the reader of -rP
    assert result.violation, str(result)


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.title.replace(" ", "-"))
def test_every_rule_is_tried(part: Part) -> None:
    """Given the rules of a model, when they are compared with those that are switched off, then none is missing."""
    assert set(part.rules) == set(type(next(iter(part.rules))))


_EVENTS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "done by a third send": ("retries", lambda s: "A" in s.told and not s.denied and s.gateways[0].step == 1),
    "outcome answered: not executed": ("crashes", lambda s: "A" in s.denied),
    "given-up append on its way": ("crashes", lambda s: bool(s.orphans)),
    "two believe that they own": ("comeback", lambda s: all(node.epoch and not node.frozen for node in s.nodes)),
    "frames of two connections": ("comeback", lambda s: any(link.old and link.live for link in s.links)),
    "effect under a third epoch": ("comeback", lambda s: len(s.log) == 4 and effects(s.log[3:]) == ("A",)),
    "read shows an effect": ("reads", lambda s: "A" in s.told and s.gateways[1].step == 1 and not s.gateways[0].step),
    "second in the queue": ("queue", lambda s: effects(s.log) == ("A", "T") and s.gateways[1].step == 1),
    "group behind an append": ("two puts", lambda s: any("batch" in [e.stage for e in n.entries] for n in s.nodes)),
    "withdrawn": ("withdrawal", lambda s: "A" in s.denied and s.gateways[0].step == 2),
    "withdrawn too late": ("withdrawal", lambda s: "A" in s.told and s.gateways[0].step == 2),
    "closed and certain": ("closing", lambda s: "A" in s.denied and not s.faults.closes),
    "closed and done nevertheless": ("closing", lambda s: effects(s.log) == ("A",) and not s.faults.closes),
    "reply kept under a key": ("keyed takes", lambda s: any(record.kind == "concluded" for record in s.log)),
    "effects lost": ("lossy", lambda s: "Z" in s.excused and effects(s.log) == ("A",)),
}


@pytest.mark.parametrize("event", _EVENTS)
def test_the_model_gets_there(event: str) -> None:
    """Given all rules, when the states are searched for something that should be possible, then it is found."""
    name, happened = _EVENTS[event]
    result = explore(_MODELS[name], wrong=lambda state: event if happened(state) else "")
    assert result.violation == event, str(result)
