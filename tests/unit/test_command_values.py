"""What the commands make of what they are given: the same as typer would, without what typer loads for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import typer

from casty_es.cli.app import loaded
from casty_es.cli.contents import COMMANDS

# A value as the parser gives it for an option that is given once, and for one that is given several times.
ONCE = (
    None,
    "",
    "7",
    "-1",
    "0",
    "-0",
    "007",
    "+7",
    "7\n",
    "\u0667",
    "1_0",
    "5000",
    "9" * 30,
    "-" + "9" * 18,
    "a/b",
    "ü",
    "str",
    "\udcff",
    "a\0b",
)
SEVERAL = (None, ("7",), ("a", "a/b"), ("a\0b",))


def below(command: Any) -> Iterator[Any]:
    yield command
    for one in getattr(command, "commands", {}).values():
        yield from below(one)


def told(work: Callable[[], Any]) -> Any:
    try:
        return work()
    except typer.BadParameter as error:
        return type(error), error.message
    except Exception as error:  # noqa: BLE001 - what is missing is told by a class that typer hides
        return type(error), str(error)


@pytest.mark.parametrize("name", COMMANDS)
def test_values_are_what_typer_makes_of_them(name: str) -> None:
    """Given any parameter of any command, when it has a value or none, then it is what typer makes of it."""
    compared = 0
    for command in below(loaded(name)):
        context = typer.Context(command)
        for parameter in command.get_params(context):
            if parameter.is_eager:
                continue  # --help, which prints
            for value in SEVERAL if parameter.multiple or parameter.nargs != 1 else ONCE:
                ours = told(lambda: parameter.process_value(context, value))  # noqa: B023 - called at once
                theirs = told(lambda: type(parameter).process_value(parameter, context, value))  # noqa: B023 - likewise
                assert (type(ours), ours) == (type(theirs), theirs), (command.name, parameter.name, value)
                compared += 1
    assert compared
