"""All commands under one name, and what becomes of their errors."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import sys
import traceback
from collections.abc import Sequence
from functools import cache
from itertools import takewhile
from pathlib import Path
from typing import Final, cast

import typer
from typer.main import get_command

from casty_es import structures
from casty_es.cli import (
    anchor,
    check_replay,
    counter,
    db,
    doctor,
    lock,
    log,
    map_,
    node,
    nodes,
    queue,
    redact,
    retention,
    secret,
    semaphore,
    set_,
    show,
    timeline,
    tokens,
    transfer,
    upkeep,
    verify,
    who,
)
from casty_es.cli.common import COULD_NOT, DONE, FOUND, USAGE, NotThereError, dumps, say
from casty_es.cli.demo import command as demo
from casty_es.errors import CastyError, InvalidArgumentError, InvalidTypeError
from casty_es.printing import printed, visible

__all__ = ["TRACEBACK_VARIABLE", "app", "run"]

# Click's class. Newer versions of typer carry click within themselves, and show this one only as a base of their own.
_UsageError: Final = cast("type[typer.BadParameter]", typer.BadParameter.__base__)

_INTERRUPTED: Final = 130  # what shells give for a command that SIGINT ended

TRACEBACK_VARIABLE: Final = "CASTY_ES_TRACEBACK"
"""Set to anything, it lets an error that nobody foresaw print where it came from."""

app = typer.Typer(
    name="casty-es",
    help="Durable, shared data structures in a SQL journal: look at them, change them, and manage the journal.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.add_typer(db.app, name="db")
app.add_typer(counter.app, name="counter")
app.add_typer(map_.app, name="map")
app.add_typer(set_.app, name="set")
app.add_typer(queue.app, name="queue")
app.add_typer(lock.app, name="lock")
app.add_typer(semaphore.app, name="semaphore")
app.add_typer(retention.app, name="retention")
app.command("log")(log.log)
app.command("show")(show.show)
app.command("node")(node.node)
app.command("nodes")(nodes.nodes)
app.command("slots")(nodes.slots)
app.command("doctor")(doctor.doctor)
app.add_typer(secret.app, name="secret")
app.add_typer(tokens.app, name="token")
app.command("who")(who.who)
app.command("timeline")(timeline.timeline_command)
app.command("verify")(verify.verify_command)
app.command("anchor")(anchor.anchor)
app.command("redact")(redact.redact_command)
app.command("export")(transfer.export)
app.command("import")(transfer.import_command)
app.command("copy")(transfer.copy)
app.command("check-replay")(check_replay.check_replay_command)
app.command("accept-loss")(upkeep.accept_loss)
app.command("demo")(demo.demo)


_commands = cache(get_command)
"""To build all commands takes longer than to run most of them: a process that runs many builds them once."""


def run(arguments: Sequence[str]) -> int:
    """Run a command line and give its exit code. Errors become one line, or one JSON object, never a traceback."""
    as_json = "--json" in takewhile(lambda argument: argument != "--", arguments)
    _ready_output()
    try:
        structures.load()
        code = _commands(app)(args=list(arguments), prog_name="casty-es", standalone_mode=False)
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
