"""The protocol as modelled keeps its promises, and breaks one as soon as any single rule is not kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.model.check import explore
from tests.model.configurations import CONFIGURATIONS, RULES
from tests.model.deciding import effects
from tests.model.rules import Rule
from tests.model.state import Model, State


@pytest.mark.parametrize("model", CONFIGURATIONS.values(), ids=lambda model: model.name.replace(" ", "-"))
def test_all_rules_together_keep_every_promise(model: Model) -> None:
    """Given all rules, when everything that can happen happened, then nothing is doubled, lost, denied or stale."""
    result = explore(model)
    assert not result.violation, str(result)


@pytest.mark.parametrize(("rule", "name"), RULES.items(), ids=lambda value: getattr(value, "name", None))
def test_no_rule_can_be_spared(rule: Rule, name: str) -> None:
    """Given all rules but one, when the states are searched, then one is wrong, and the way to it is printed."""
    result = explore(replace(CONFIGURATIONS[name], off=frozenset({rule})))
    print(f"Without {rule.name}: {rule.value}\n{result}")  # noqa: T201 - the counterexample is for the reader of -rP
    assert result.violation, str(result)


def test_every_rule_is_tried() -> None:
    """Given the rules of the model, when they are compared with those that are switched off, then none is missing."""
    assert set(RULES) == set(Rule)


_EVENTS: dict[str, tuple[str, Callable[[State], bool]]] = {
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
    "reply kept under a key": ("keyed takes", lambda s: any(record.kind == "concluded" for record in s.log)),
    "effects lost": ("lossy", lambda s: "Z" in s.excused and effects(s.log) == ("A",)),
}


@pytest.mark.parametrize("event", _EVENTS)
def test_the_model_gets_there(event: str) -> None:
    """Given all rules, when the states are searched for something that should be possible, then it is found."""
    name, happened = _EVENTS[event]
    result = explore(CONFIGURATIONS[name], wrong=lambda _, state: event if happened(state) else "")
    assert result.violation == event, str(result)
