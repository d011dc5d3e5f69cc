"""All commands under one name, and what becomes of their errors."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import io
import os
import re
import sys
import traceback
from collections.abc import Callable, Sequence
from functools import cache, partial
from importlib import import_module
from itertools import takewhile
from pathlib import Path
from typing import Any, Final, cast

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command, get_group

from casty_es.cli.common import COULD_NOT, DONE, FOUND, USAGE, NotThereError, dumps, say
from casty_es.cli.contents import COMMANDS
from casty_es.config import STRUCTURES_VARIABLE
from casty_es.errors import CastyError, InvalidArgumentError, InvalidTypeError
from casty_es.printing import printed, visible

# Click's class. Newer versions of typer carry click within themselves, and show this one only as a base of their own.
_UsageError: Final = cast("type[typer.BadParameter]", typer.BadParameter.__base__)

_NUMBER: Final = re.compile("-?[1-9][0-9]{0,17}|0")  # what nobody reads otherwise

_INTERRUPTED: Final = 130  # what shells give for a command that SIGINT ended

TRACEBACK_VARIABLE: Final = "CASTY_ES_TRACEBACK"
"""Set to anything, it lets an error that nobody foresaw print where it came from."""


class _Commands(TyperGroup):
    """All commands, of which only the one that is asked for is loaded: together they take a second to import."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        for name, (_, line) in COMMANDS.items():
            self.add_command(TyperCommand(name, help=line))

    def resolve_command(self, *arguments: Any) -> Any:  # the types are click's, which newer versions of typer hide
        name, command, rest = super().resolve_command(*arguments)
        command = command if name is None else loaded(name)
        if not gc.isenabled():  # see main
            gc.freeze()
            gc.enable()
        return name, command, rest


@cache
def loaded(name: str) -> Any:
    """Return one of ``COMMANDS``, a command or a group of them, made ready to run."""
    module, _, function = COMMANDS[name].place.partition(":")
    found = getattr(import_module(f"casty_es.cli.{module}"), function or "app")
    one = typer.Typer(pretty_exceptions_enable=False)
    if function:
        one.command(name)(found)
    else:
        one.add_typer(found, name=name)
    command = get_group(one).commands[name]
    _take_as_they_are(command)
    return command


def _take_as_they_are(command: Any) -> None:
    """Convert texts, numbers, paths and what was not given here: typer loads pydantic for it, which takes long."""
    for below in getattr(command, "commands", {}).values():
        _take_as_they_are(below)
    for parameter in command.get_params(typer.Context(command)):  # --help among them
        descriptor = getattr(parameter, "type_descriptor", None)  # older versions have none, and no pydantic
        if descriptor is not None:
            parameter.process_value = partial(_converted, parameter, descriptor.annotation, parameter.process_value)


def _converted(parameter: Any, type_: Any, convert: Callable[..., Any], context: Any, value: Any) -> Any:
    if value is None and not parameter.required:
        value = () if parameter.multiple else None
    elif type_ is Path and isinstance(value, str) and "\0" not in value:
        value = Path(value)
    elif type_ is int and isinstance(value, str) and _NUMBER.fullmatch(value) and _fits(parameter, int(value)):
        value = int(value)
    elif not isinstance(type_, type) or not isinstance(value, type_):
        return convert(context, value)
    return value if parameter.callback is None else parameter.callback(context, parameter, value)


def _fits(parameter: Any, number: int) -> bool:
    return (parameter.min is None or parameter.min <= number) and (parameter.max is None or number <= parameter.max)


_app = typer.Typer(
    cls=_Commands,
    name="casty-es",
    help="Durable, shared data structures in a SQL journal: look at them, change them, and manage the journal.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
_app.callback()(lambda: None)


@cache
def _all() -> Any:
    """Return all commands; a process that runs many command lines builds what they share once."""
    command = get_command(_app)
    _take_as_they_are(command)
    return command


def run(arguments: Sequence[str]) -> int:
    """Run a command line and give its exit code. Errors become one line, or one JSON object, never a traceback."""
    as_json = "--json" in takewhile(lambda argument: argument != "--", arguments)
    _ready_output()
    try:
        if os.environ.get(STRUCTURES_VARIABLE):
            import_module("casty_es.structures").load()
        code = _all()(args=list(arguments), prog_name="casty-es", standalone_mode=False)
        sys.stdout.flush()
    except (KeyboardInterrupt, asyncio.CancelledError, typer.Abort):
        return _INTERRUPTED
    except (OSError, SystemExit) as error:
        # The library's own are CastyErrors, so it is the output. Who reads a pipe may have gone, as `head` does; then
        # click and rich end the process.
        if isinstance(error, CastyError):
            return _told(error, as_json=as_json)
        return _unwritten(error)
    except Exception as error:  # noqa: BLE001 - a fault of ours is told like any other error
        return _told(error, as_json=as_json)
    return code if isinstance(code, int) else DONE


def _told(error: Exception, *, as_json: bool) -> int:
    """Tell an error; return its exit code."""
    if isinstance(error, _UsageError):
        if as_json:
            return _failed("UsageError", error.format_message(), USAGE, as_json=True)
        with contextlib.suppress(OSError):  # where nobody reads what is wrong, the exit code still says it
            error.message = visible(error.message)
            error.show()
        return USAGE
    text, code = str(error), _code(error)
    if not isinstance(error, NotThereError | CastyError):
        if os.environ.get(TRACEBACK_VARIABLE):
            say(*"".join(traceback.format_exception(error)).split("\n"), err=True)
        text = (
            f"{printed(error)}: nobody foresaw this error, it is a fault of casty-es. What had been done by then is "
            f"done. Please report it, with what {TRACEBACK_VARIABLE}=1 lets this command print."
        )
    return _failed(type(error).__name__, text, code, as_json=as_json)


def _code(error: Exception) -> int:
    if isinstance(error, NotThereError):
        return FOUND
    return USAGE if isinstance(error, InvalidArgumentError | InvalidTypeError) else COULD_NOT


def _ready_output() -> None:
    """Let nothing that is printed fail for what it is, and let a closed output be one that nobody reads."""
    if sys.stdout is None:
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115 - as long as the process
    if sys.stderr is None:
        sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115 - likewise
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _unwritten(error: OSError | SystemExit) -> int:
    """Say that the output could not be written, and keep Python from trying once more when it flushes at exit."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if isinstance(error, OSError) and not isinstance(error, BrokenPipeError):
        with contextlib.suppress(OSError):
            say(f"casty-es: the output could not be written: {error}. What was done is done.", err=True)
    return COULD_NOT


def _failed(kind: str, message: str, code: int, *, as_json: bool) -> int:
    """Return what went wrong; return the exit code back."""
    try:
        if as_json:
            say(dumps({"error": {"type": kind, "message": message}}))
        else:
            say(f"casty-es: {' '.join(message.split())}", err=True)
    except (OSError, SystemExit) as error:
        return _unwritten(error)
    return code
