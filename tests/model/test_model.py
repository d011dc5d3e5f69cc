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
_LONG = {name: model for part in PARTS for name, model in part.long.items()}
# The largest, which CI searches. What the rules prevent is looked for in all of them in every run.
_CI = {
    "crashes",
    "dead holder",
    "frozen owner",
    "keyed puts",
    "keyed takes",
    "lossy reads",
    "promoted",
    "reads",
    "retries",
    "silent client",
    "silent loss",
    "silent, frozen",
    "two puts",
    "two reads",
    "withdrawal",
}
_RULES = [(part, rule) for part in PARTS for rule in part.rules]

# What has to be possible, and in which configuration: a search that never gets there proves nothing.
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
    "dead holder's lock granted on": ("dead holder", lambda s: s.entity.holder == (1, 1) and not s.processes[0].alive),
    "granted to the next life": ("dead holder", lambda s: s.entity.holder == (0, 2)),
    "both arrived": ("dead party", lambda s: len(s.entity.known) == 2 and not s.entity.line and not s.owner.dead),
    "holds on under a new session": (
        "lost session",
        lambda s: s.entity.holder == (0, 1) and s.processes[0].session == s.processes[0].under == 2,
    ),
    "ended while it lives": ("lost session", lambda s: s.processes[0].caller == "lost" and s.entity.holder == (1, 1)),
    "item given again": (
        "cancelled taker",
        lambda s: s.processes[0].caller == "over" and (1, 1) in dict(s.entity.taken),
    ),
    "silent client's lock granted on": ("silent client", lambda s: s.entity.holder == (1, 1) and s.left.ticks == 0),
    "held through a standstill": (
        "stalled owner",
        lambda s: s.entity.holder == (0, 1) and not s.left.ticks and not s.owner.frozen and not s.left.freezes,
    ),
    "closed by who remembers": ("silent loss", lambda s: any(record.kind == "closed" for record in s.log)),
    "told after the loss was accepted": ("accepted", lambda s: any(g.told.incarnation for g in s.gateways)),
    "told by a promoted database": ("promoted", lambda s: s.recorded and s.gateways[0].told.log),
    "effects lost": ("lossy", lambda s: "Z" in s.excused and effects(s.log) == ("A",)),
}


def test_names_are_used_once() -> None:
    """Given the configurations of all parts, when they are counted, then none hides another of the same name."""
    assert len(_MODELS | _LONG) == sum(len(part.models) + len(part.long) for part in PARTS)


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.ci] * (name in _CI)) for name in _MODELS])
def test_all_rules_together_keep_every_promise(name: str) -> None:
    """Given all rules, when all that can happen did, then nobody was told what is not so, and what should did, too."""
    model = _MODELS[name]
    missing = {event: happened for event, (where, happened) in _EVENTS.items() if where == name}

    def judged(state: Any) -> str:
        for event in [event for event, happened in missing.items() if happened(state)]:
            del missing[event]
        return str(model.judged(state))

    result = explore(model, wrong=judged)
    assert not result.violation, str(result)
    assert not missing, str(result)


def test_each_event_has_a_configuration_in_which_it_is_sought() -> None:
    """Given the events that have to be possible, then the search of a configuration looks for each of them."""
    assert {where for where, _ in _EVENTS.values()} <= set(_MODELS)
    assert set(_MODELS) > _CI


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", _LONG)
def test_all_rules_together_keep_every_promise_for_longer(name: str) -> None:
    """Given all rules and a larger configuration, when all states are searched, then nobody was told what is not so."""
    result = explore(_LONG[name])
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
    assert set(part.rules) == {rule for first in part.rules for rule in type(first)}
