"""All commands under one name, and what becomes of their errors."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from itertools import takewhile
from typing import Final, cast

import typer
from typer.main import get_command

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
from casty_es.cli.common import NotThereError, dumps
from casty_es.cli.demo import command as demo
from casty_es.errors import CastyError

__all__ = ["app", "run"]

# Click's class. Newer versions of typer carry click within themselves, and show this one only as a base of their own.
_UsageError: Final = cast("type[typer.BadParameter]", typer.BadParameter.__base__)

_FAILED: Final = 1
_USAGE: Final = 2
_NOT_THERE: Final = 3
_INTERRUPTED: Final = 130  # what shells give for a command that SIGINT ended

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


def run(arguments: Sequence[str]) -> int:
    """Run a command line and give its exit code. Errors become one line, or one JSON object, never a traceback."""
    as_json = "--json" in takewhile(lambda argument: argument != "--", arguments)
    try:
        code = get_command(app)(args=list(arguments), prog_name="casty-es", standalone_mode=False)
        sys.stdout.flush()
    except _UsageError as error:
        if as_json:
            return _failed("UsageError", error.format_message(), _USAGE, as_json=True)
        error.show()
        return _USAGE
    except (NotThereError, CastyError) as error:
        code = _NOT_THERE if isinstance(error, NotThereError) else _FAILED
        return _failed(type(error).__name__, str(error), code, as_json=as_json)
    except BrokenPipeError:
        # Whoever read the output has gone, as `head` does. Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _FAILED
    except (KeyboardInterrupt, typer.Abort):
        return _INTERRUPTED
    return code if isinstance(code, int) else 0


def _failed(kind: str, message: str, code: int, *, as_json: bool) -> int:
    """Tell what went wrong; give the exit code back."""
    if as_json:
        typer.echo(dumps({"error": {"type": kind, "message": message}}))
    else:
        typer.echo(f"casty-es: {' '.join(message.split())}", err=True)
    return code
