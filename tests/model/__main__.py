"""``python -m tests.model``: search every configuration, then switch off each rule and show what breaks.

``--long`` searches the large configurations too.
"""

from __future__ import annotations

import sys

from .check import Part, explore
from .parts import PARTS


def main() -> int:
    """Print the shortest counterexamples and the tables of the documentation; 1 if anything is not as it should be."""
    failed = [_failed(part, long="--long" in sys.argv) for part in PARTS]
    return int(any(failed))


def _failed(part: Part, *, long: bool) -> bool:
    _say(f"# {part.title}\n\nAll rules kept")
    kept = {name: explore(model) for name, model in (part.models | (part.long if long else {})).items()}
    for result in kept.values():
        _say(result)
    broken = {rule: explore(part.without(rule)) for rule in part.rules}
    for rule, result in broken.items():
        _say(f"\nWithout {rule.name}: {rule.value}\n{result}")
    _say("\n| rule | without it | steps |\n|---|---|---|")
    for rule, result in broken.items():
        _say(f"| {rule.value} | {result.violation.partition(':')[0]} ({result.name}) | {len(result.trace)} |")
    _say("\n| configuration | states |\n|---|---|")
    for result in kept.values():
        _say(f"| {result.name} | {result.states:,} |")
    _say("")
    return any(r.violation for r in kept.values()) or not all(r.violation for r in broken.values())


def _say(words: object) -> None:
    sys.stdout.write(f"{words}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
