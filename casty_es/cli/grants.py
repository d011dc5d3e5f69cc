"""``casty-es db grants``: the SQL that gives programs, auditors and maintenance what each needs."""

from __future__ import annotations

from typing import Annotated

import typer

from casty_es.cli.common import Json, show
from casty_es.cli.where import DEFAULT_URL, Url
from casty_es.journal import grants as granting
from casty_es.journal.urls import shown

Application = Annotated[str | None, typer.Option(metavar="NAME", help="The role that programs log in as.")]
Auditor = Annotated[str | None, typer.Option(metavar="NAME", help="The role that reads everything but the secrets.")]
Maintenance = Annotated[str | None, typer.Option(metavar="NAME", help="The role for retention and redaction.")]
Schema = Annotated[str, typer.Option("--schema", help="The schema that the tables are in.")]
WithSecret = Annotated[
    bool,
    typer.Option("--secret/--no-secret", help="Let programs read the cluster's secret; without it they need secret=."),
]


def grants(
    *,
    application: Application = None,
    auditor: Auditor = None,
    maintenance: Maintenance = None,
    schema: Schema = "public",
    secret: WithSecret = True,
    url: Url = DEFAULT_URL,
    json: Json = False,
) -> None:
    """Print the SQL that gives roles of Postgres what they need and nothing else. Connects to nothing.

    Without a name all three are granted to: casty_application, casty_auditor and casty_maintenance.
    """
    granting.refuse_sqlite(url)
    if application is auditor is maintenance is None:
        application, auditor, maintenance = (f"casty_{what}" for what in granting.PRIVILEGES)
    roles = granting.Roles(application=application, auditor=auditor, maintenance=maintenance, secret=secret)
    text = granting.grants(roles, schema=schema)
    show({"url": shown(url), "schema": schema, "roles": roles.named(), "sql": text}, *text.split("\n"), json=json)
