"""``casty-es semaphore``."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from casty_es.cli.common import FOUND, Json, Name, show
from casty_es.cli.reaching import change, look
from casty_es.cli.running import run_command
from casty_es.cli.where import DEFAULT_URL, Url, Where, takes_where
from casty_es.journal.port import EntityName
from casty_es.names import check_at_least_one, check_name
from casty_es.replay import committed_state

app = typer.Typer(help="A fixed number of holders at a time, first come, first served.", no_args_is_help=True)

Permits = Annotated[int, typer.Option("--permits", help="How many may hold it at once.", show_default=False)]
Timeout = Annotated[float, typer.Option("--timeout", help="How long to wait for a permit, in seconds.")]
Command = Annotated[list[str], typer.Argument(help="What to run, after --.", show_default=False)]


@app.command()
@takes_where
def run(
    name: Name, command: Command, *, permits: Permits, timeout: Timeout = 60.0, where: Where, json: Json = False
) -> None:
    """Hold a permit while a command runs, and exit with its code: semaphore run NAME --permits N -- COMMAND...

    The command finds its fencing token in CASTY_ES_TOKEN. If the lease is lost it is stopped. With --json its output
    goes to stderr.
    """
    check_at_least_one(permits, "permits")
    run_command("semaphore", name, permits, command, timeout=timeout, where=where, json=json)


@app.command()
def status(name: Name, *, url: Url = DEFAULT_URL, json: Json = False) -> None:
    """Show who holds permits and who waits, as the journal has it; a holder that died is there until somebody asks."""
    check_name(name)
    state: Any
    state, damaged = look(url, lambda journal: committed_state(journal, EntityName("semaphore", name, "")))
    holders = [
        {"owner": holder.owner, "request": request, "granted_at": holder.token}
        for request, holder in state.holders.items()
    ]
    line = [{"owner": owner, "request": request} for request, owner in state.line.items()]
    permits = state.permits or None  # nobody has opened it, or it was destroyed
    lines = [f"{len(holders)} of {permits} permits are held" if permits else "never opened"]
    lines += [f"held by {holder['owner']} since its event {holder['granted_at']}" for holder in holders]
    lines += [f"{place}. in line: {waiter['owner']}" for place, waiter in enumerate(line, 1)]
    result = {"semaphore": name, "permits": permits, "held": len(holders), "holders": holders, "line": line}
    show(result, "\n".join(lines), json=json)
    if damaged:
        raise typer.Exit(FOUND)


@app.command()
@takes_where
def destroy(name: Name, *, where: Where, json: Json = False) -> None:
    """Destroy a semaphore: all permits are gone, who waits is turned away, and it may be opened with another number."""
    # The number of permits plays no part in destroying.
    destroyed = change(where, lambda d: d.semaphore(name, permits=1).destroy())
    show({"destroyed": destroyed}, "destroyed" if destroyed else "there was nothing to destroy", json=json)
