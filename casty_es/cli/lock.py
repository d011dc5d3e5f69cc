"""``casty-es lock``. To break a lock whose holder is stuck, destroy it: the holder's lease is over at once."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from casty_es.cli.common import FOUND, Json, Name, show
from casty_es.cli.reaching import change, look
from casty_es.cli.running import run_command
from casty_es.cli.where import DEFAULT_URL, Url, Where, takes_where
from casty_es.handles.lock import Lock
from casty_es.journal.port import EntityName
from casty_es.names import check_name
from casty_es.replay import committed_state

app = typer.Typer(help="One holder at a time, first come, first served.", no_args_is_help=True)

Timeout = Annotated[float, typer.Option("--timeout", help="How long to wait for the lock, in seconds.")]
Command = Annotated[list[str], typer.Argument(help="What to run, after --.", show_default=False)]


@app.command()
@takes_where
def run(name: Name, command: Command, *, timeout: Timeout = 60.0, where: Where, json: Json = False) -> None:
    """Hold a lock while a command runs, and exit with its code: lock run NAME -- COMMAND...

    The command finds its fencing token in CASTY_ES_TOKEN. If the lease is lost it is stopped. With --json its output
    goes to stderr.
    """
    run_command("lock", name, Lock, command, timeout=timeout, where=where, json=json)


@app.command()
def status(name: Name, *, url: Url = DEFAULT_URL, json: Json = False) -> None:
    """Show who holds a lock and who waits, as the journal has it; a holder that died is there until somebody asks."""
    check_name(name)
    state: Any
    state, damaged = look(url, lambda journal: committed_state(journal, EntityName("lock", name, "")))
    line = [{"owner": owner, "request": request} for request, owner in state.line.items()]
    holder = None
    lines = ["free"]
    if (held := state.holders.first()) is not None:
        holder = {"owner": held[1].owner, "request": held[0], "granted_at": held[1].token}
        lines = [f"held by {held[1].owner} since its event {held[1].token}"]
    lines += [f"{place}. in line: {waiter['owner']}" for place, waiter in enumerate(line, 1)]
    show({"lock": name, "held": holder is not None, "holder": holder, "line": line}, "\n".join(lines), json=json)
    if damaged:
        raise typer.Exit(FOUND)


@app.command()
@takes_where
def destroy(name: Name, *, where: Where, json: Json = False) -> None:
    """Destroy a lock: this breaks it, whoever holds it, and turns away those who wait. Tokens go on growing."""
    destroyed = change(where, lambda d: d.lock(name).destroy())
    show({"destroyed": destroyed}, "destroyed" if destroyed else "there was nothing to destroy", json=json)
