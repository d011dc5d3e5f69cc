"""The report as Markdown: what was measured on, then every line with ours, the peer's, the ratio and the goal."""

from __future__ import annotations

from collections.abc import Iterable

from tests.benchmarks.measuring import Measured, Spread
from tests.benchmarks.plan import Case, Line, Sizes

HEAD = "| case | what | OURS | PEER | RATIO | GOAL | met |\n|---|---|---|---|---|---|---|"
_EXACT_BELOW = 100


def opening(sizes: Sizes, facts: dict[str, str]) -> str:
    """Return everything before the first number."""
    lines = [f"# Benchmark ({sizes.name} run)", ""]
    lines += [f"- {name}: {value}" for name, value in facts.items()]
    lines += [
        "",
        "Every measurement is a process and a database of its own. Ours and the peer take turns; each number is the",
        "median of the turns, with the least and the most in brackets. A ratio is taken within a turn, ours over the",
        "peer's: of operations per second a high one is good, of times a low one.",
    ]
    if sizes.name != "full":
        lines.append("The sizes are smaller than those the goals are about: a number that is met here is a hint only.")
    return "\n".join(lines)


def table(measured: Iterable[tuple[Case, Measured]]) -> str:
    """Return all lines."""
    return "\n".join([HEAD, *(row(case, one) for case, one in measured)])


def row(case: Case, measured: Measured) -> str:
    """Return one line."""
    line = measured.line
    ours = _shown(measured.ours, f" {line.unit}")
    peer = f"{_shown(measured.peer, f' {line.unit}')}: {line.peer}" if line.peer else "none"
    met = {True: "yes", False: "NO", None: "not measured" if measured.ours is None or line.goal else "-"}[measured.met]
    remarks = "; ".join(remark for remark in (line.note, measured.reason) if remark)
    cells = [
        str(case.number),
        line.title,
        ours,
        peer,
        _shown(measured.ratio, " times"),
        _goal(line),
        met + (f" ({remarks})" if remarks else ""),
    ]
    return "| " + " | ".join(cell.replace("|", "/") for cell in cells) + " |"


def _goal(line: Line) -> str:
    goal = line.goal
    if goal is None:
        return "none"
    unit = " times" if goal.of_ratio else f" {line.unit}"
    return f"at {'most' if goal.at_most else 'least'} {_number(goal.bound)}{unit}"


def _shown(spread: Spread | None, unit: str) -> str:
    if spread is None:
        return "-"
    if spread.least == spread.most:
        return f"{_number(spread.median)}{unit}"
    return f"{_number(spread.median)}{unit} ({_number(spread.least)} to {_number(spread.most)})"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= _EXACT_BELOW or value == int(value) else f"{value:.2f}"
