"""``casty-es token``: who may do what without the cluster's secret."""

from __future__ import annotations

import time
from typing import Annotated, Any, Final

import typer

from casty_es.access import EVERYTHING, Grant, Pattern, Scopes, Token, check_token_name
from casty_es.cli.common import FOUND, Json, dumps, say, show
from casty_es.cli.reaching import inspect, look
from casty_es.cli.table import Table, iso_time, short_time
from casty_es.cli.times import parse_time
from casty_es.cli.where import DEFAULT_URL, Url
from casty_es.errors import InvalidArgumentError
from casty_es.journal.access_tables import AccessTables
from casty_es.replay import to_microseconds

app = typer.Typer(help="Make, list and revoke tokens: what programs and people may do.", no_args_is_help=True)

_WITHIN: Final = "Nodes follow within two seconds."


@app.command()
def create(
    *,
    name: Annotated[str, typer.Option("--name", help="What its holder is called in the journal.")],
    read: Annotated[bool, typer.Option("--read", help="Read every structure.")] = False,
    write: Annotated[bool, typer.Option("--write", help="Change and read every structure.")] = False,
    read_of: Annotated[
        list[str] | None, typer.Option("--read-of", metavar="KIND/NAME", help="Read these: 'map/users', 'counter/p-*'.")
    ] = None,
    write_of: Annotated[
        list[str] | None, typer.Option("--write-of", metavar="KIND/NAME", help="Change and read these.")
    ] = None,
    operate: Annotated[bool, typer.Option("--operate", help="See the hosts and processes of the nodes.")] = False,
    maintain: Annotated[bool, typer.Option("--maintain", help="Carry out retention and redaction.")] = False,
    ends: Annotated[
        str | None, typer.Option("--ends", help="When it ends, such as 2027-01-31; never without it.")
    ] = None,
    url: Url = DEFAULT_URL,
    json: Json = False,
) -> None:
    """Make a token and print it, this once: the database keeps only digests of it.

    What a token allows never changes. Make another one, and revoke this.
    """
    scopes = Scopes(
        (*(Pattern.parse(text) for text in read_of or ()), *((EVERYTHING,) if read else ())),
        (*(Pattern.parse(text) for text in write_of or ()), *((EVERYTHING,) if write else ())),
        operate,
        maintain,
    )
    if scopes == Scopes():
        raise typer.BadParameter(
            "A token that allows nothing is of no use. Nothing was made. Give --read, --write, --read-of, --write-of, "
            "--operate or --maintain."
        )
    token, now = Token.make(), _now()
    ends_at = None if ends is None else to_microseconds(parse_time(ends))
    grant = token.grant(check_token_name(name), scopes, created_at=now, ends_at=ends_at)
    if grant.over(now):
        raise typer.BadParameter(f"{ends!r} is over already. Nothing was made. Give --ends a time to come.")
    inspect(url, lambda journal: AccessTables(journal).add(grant))
    if not json:
        say(f"The token {name} ({grant.id}) allows {scopes}. It is shown this once:", err=True)
    show({**_row(grant, now), "token": token.text}, token.text, json=json)


@app.command(name="list")
def list_(*, url: Url = DEFAULT_URL, json: Json = False) -> None:
    """Show every token that was ever made, without what makes it one."""
    now = _now()
    (grants, wrong), damaged = look(url, lambda journal: AccessTables(journal).rows())
    if json:
        say(dumps({"tokens": [_row(grant, now) for grant in grants], "unreadable": wrong}))
    else:
        _print(grants, now)
        say(*(f"casty-es: {row}" for row in wrong), err=True)
    if wrong or damaged:
        raise typer.Exit(FOUND)


def _print(grants: list[Grant], now: int) -> None:
    table = Table("tokens", ("name", "id", "allows", "made", "ends", "state"))
    for grant in grants:
        ends = "" if grant.ends_at is None else short_time(grant.ends_at)
        cells = (grant.name, grant.id, grant.scopes, short_time(grant.created_at), ends, _state(grant, now))
        table.add(*cells, style="" if grant.over(now) is None else "red")
    if grants:
        table.print()
    say(f"Tokens that are valid: {sum(grant.over(now) is None for grant in grants)} of {len(grants)}.")


@app.command()
def revoke(
    token: Annotated[str, typer.Argument(help="Its name, for all of that name, or its id.", show_default=False)],
    *,
    url: Url = DEFAULT_URL,
    json: Json = False,
) -> None:
    """Let a token be valid no more, on open connections too."""
    if token.startswith("ces_"):
        raise InvalidArgumentError("Give the token's name or id and not the token. Nothing was revoked.")
    now = _now()
    revoked = inspect(url, lambda journal: AccessTables(journal).revoke(token, now))
    ids = [grant.id for grant in revoked]
    text = f"Revoked: {revoked[0].name} ({', '.join(ids)}). {_WITHIN}"
    show({"name": revoked[0].name, "revoked": ids}, text, json=json)


def _row(grant: Grant, now: int) -> dict[str, Any]:
    return {
        "name": grant.name,
        "id": grant.id,
        "read": [str(one) for one in grant.scopes.read],
        "write": [str(one) for one in grant.scopes.write],
        "operate": grant.scopes.operate,
        "maintain": grant.scopes.maintain,
        "created_at": iso_time(grant.created_at),
        "ends_at": None if grant.ends_at is None else iso_time(grant.ends_at),
        "revoked_at": None if grant.revoked_at is None else iso_time(grant.revoked_at),
        "valid": grant.over(now) is None,
    }


def _state(grant: Grant, now: int) -> str:
    if grant.revoked_at is not None:
        return f"revoked {short_time(grant.revoked_at)}"
    return "valid" if grant.over(now) is None else "has ended"


def _now() -> int:
    return time.time_ns() // 1_000
