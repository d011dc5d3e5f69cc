"""``python -m tests.model``: search every configuration, then switch off each rule and show what breaks."""

from __future__ import annotations

import sys
from dataclasses import replace

from .check import explore
from .configurations import CONFIGURATIONS, RULES


def main() -> int:
    """Print the states looked at and the shortest counterexamples; 1 if anything is not as it should be."""
    failed = False
    _say("All rules kept")
    for model in CONFIGURATIONS.values():
        result = explore(model)
        failed |= bool(result.violation)
        _say(result)
    for rule, name in RULES.items():
        result = explore(replace(CONFIGURATIONS[name], off=frozenset({rule})))
        failed |= not result.violation
        _say(f"\nWithout {rule.name}: {rule.value}\n{result}")
    return int(failed)


def _say(words: object) -> None:
    sys.stdout.write(f"{words}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
