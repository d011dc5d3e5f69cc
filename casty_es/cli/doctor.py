"""``casty-es doctor``: everything that a node rests on, each with what was found and what to set."""

from __future__ import annotations

import asyncio
from typing import Annotated, Final

import typer

from casty_es.cli.common import COULD_NOT, FOUND, Json, dumps, say
from casty_es.cli.doctor_nodes import examined as examined_nodes
from casty_es.cli.doctor_structures import examined as examined_structures
from casty_es.cli.doctor_structures import repaired
from casty_es.cli.table import Table, short_time
from casty_es.cli.where import (
    DEFAULT_URL,
    Secret,
    SecretFile,
    SessionUrl,
    System,
    TlsAuthority,
    TlsCertificate,
    TlsKey,
    Url,
    Where,
    given_secret,
    given_tls,
)
from casty_es.config import DEFAULT_SLOTS
from casty_es.errors import CastyError, ConfigurationError, JournalUnavailableError, SchemaError
from casty_es.journal import schema
from casty_es.journal.database_clock import CLOCK_SECONDS, database_clock
from casty_es.journal.port import Meta
from casty_es.journal.revisions import is_ours
from casty_es.journal.sql import SqlJournal
from casty_es.journal.urls import is_sqlite, shown
from casty_es.leases.checks import Check
from casty_es.leases.preflight import preflight
from casty_es.leases.strangers import strangers_of, told_strangers
from casty_es.replay import slots_ahead, told_ahead

# Shorter ones could be guessed from one recorded handshake.
_SECRET_BYTES: Final = 16
_MICROSECONDS: Final = 1_000_000

_NAMED: Final = 3  # of the slots that are closed

_STYLES: Final = {"ok": "green", "warn": "yellow", "fail": "bold red"}


def doctor(
    *,
    repair: Annotated[
        bool, typer.Option("--repair", help="Record how many shards structures have whose record is missing or wrong.")
    ] = False,
    url: Url = DEFAULT_URL,
    session_url: SessionUrl = None,
    system: System = "casty",
    secret: Secret = None,
    secret_file: SecretFile = None,
    tls_ca: TlsAuthority = None,
    tls_cert: TlsCertificate = None,
    tls_key: TlsKey = None,
    json: Json = False,
) -> None:
    """Look at everything that a node rests on: schema, durability, leases, clock, limits, the secret, the directory.

    Dials the nodes that run, and asks them whom they cannot reach. Changes nothing without --repair. Exits with an
    error if something is found over which a node would not start.
    """
    if repair:
        repaired(url, session_url, json=json)
        return
    known = given_secret(secret, secret_file)
    tls, _ = given_tls(tls_ca, tls_cert, tls_key, require_certificate=False)
    checks = asyncio.run(examined(Where(url, secret=known, system=system, session_url=session_url, tls=tls)))
    ok = all(check.ok or not check.required for check in checks)
    if json:
        rows = [
            {"name": check.name, "status": _status(check), "found": check.found, "advice": _advice(check)}
            for check in checks
        ]
        say(dumps({"url": shown(url), "ok": ok, "checks": rows}))
    else:
        table = Table(shown(url), ("", "check", "found", "what to do"))
        for check in checks:
            status = _status(check)
            table.add(status, check.name, check.found, _advice(check), style=_STYLES[status] if status != "ok" else "")
        table.print()
        say("A node can start." if ok else "A node would not start, or could lose what it acknowledged.")
    if not ok:
        # Where not even the database answered, nothing was looked at.
        raise typer.Exit(COULD_NOT if [check.name for check in checks] == ["database"] else FOUND)


def _status(check: Check) -> str:
    return "ok" if check.ok else "fail" if check.required else "warn"


def _advice(check: Check) -> str:
    return "" if check.ok else check.advice


async def examined(where: Where) -> list[Check]:
    """Return every check of a journal; what stands in the way of a check is a check that is not well."""
    url, session_url = where.url, where.session_url
    try:
        revision = await asyncio.to_thread(schema.current, url)
        left = await asyncio.to_thread(schema.left_over, url) if revision is None else None
    except CastyError as error:
        return [Check("database", ok=False, found=str(error))]
    checks = [_schema(revision, left)]
    journal = SqlJournal(url, unsafe_durability=True)  # looked at below, instead of refused
    meta: Meta | None = None
    if checks[0].ok:
        try:
            meta = await journal.open()
        except CastyError as error:
            checks.append(Check("journal", ok=False, found=str(error)))
    try:
        if is_sqlite(url):
            from casty_es.cli import doctor_sqlite  # noqa: PLC0415 - of one database only

            checks += await doctor_sqlite.examined(journal, opened=meta is not None)
        else:
            try:
                checks += await preflight(url, session_url, slots=DEFAULT_SLOTS if meta is None else meta.slots)
            except JournalUnavailableError as error:
                checks.append(Check("database", ok=False, found=str(error)))
        if meta is not None:
            checks += [await _secret(journal), await _times(journal), await _lost_records(journal)]
            checks += [await examined_structures(journal, meta.slots), await examined_nodes(journal, where)]
            if not is_sqlite(url):
                from casty_es.cli import doctor_readers  # noqa: PLC0415 - likewise

                checks += [await doctor_readers.examined(url), await _slot_locks(journal)]
    finally:
        await journal.close()
    return checks


def _schema(revision: str | None, left: SchemaError | None) -> Check:
    found = f"revision {revision}" if revision is not None else "there is no journal"
    if left is not None:
        found, advice = "there are parts of a journal", str(left)
    elif revision is None or schema.is_older(revision):
        advice = "Run `casty-es db upgrade`."
    elif is_ours(revision):
        advice = "Install a newer casty-es."
    else:
        advice = "It is none of casty_es: give what wrote it a version table of its own, and write ours back."
    return Check(
        "schema", revision == schema.EXPECTED_REVISION, f"{found}; {schema.EXPECTED_REVISION} is needed", advice
    )


async def _lost_records(journal: SqlJournal) -> Check:
    """Whether slots are closed, because their logs do not reach what somebody was told."""
    _, closed = await journal.closed_slots()
    heads = await journal.heads([row.slot for row in closed])
    hashes = await journal.hashes([(row.slot, row.mark.position) for row in closed])
    lost = [
        row
        for row in closed
        if not row.mark.reached(heads[row.slot].position, hashes.get((row.slot, row.mark.position)))
    ]
    named = "; ".join(
        f"slot {row.slot} ended at position {row.found}, and {row.mark.position} had been committed "
        f"({row.node_id}, {short_time(row.closed_at)})"
        for row in lost[:_NAMED]
    )
    more = f"; and {len(lost) - _NAMED} more" if len(lost) > _NAMED else ""
    return Check(
        "lost records",
        not lost,
        f"{named}{more}" if lost else "no slot is closed over a loss of records",
        "Restore the records, or accept the loss with `casty-es accept-loss`. Until then these slots stay closed.",
        required=False,
    )


async def _secret(journal: SqlJournal) -> Check:
    try:
        secret = await journal.secret()
    except ConfigurationError as error:
        return Check("secret", ok=False, found=str(error), required=False)
    return Check(
        "secret",
        len(secret) >= _SECRET_BYTES,
        f"the cluster's secret has {len(secret)} bytes",
        "Replace it: `casty-es secret rotate`, then `casty-es secret rotate --finish`.",
    )


async def _slot_locks(journal: SqlJournal) -> Check:
    """Whether the locks of slots are held by nodes alone."""
    strangers = await strangers_of(journal)
    return Check(
        "slot locks",
        not strangers,
        told_strangers(strangers) if strangers else "none is held by a session that is no node",
        "End such a session with pg_terminate_backend(pid), and let only roles of your own connect to the database: "
        "REVOKE CONNECT, TEMPORARY ON DATABASE … FROM PUBLIC. Until then these slots have no owner.",
        required=False,
    )


async def _times(journal: SqlJournal) -> Check:
    """Whether what hosts wrote down has not come yet by the database's clock."""
    now = await database_clock(journal)
    written = [row.since for row in await journal.slot_rows()] + [row.started_at for row in await journal.nodes()]
    newest = (max(written, default=0) - now) / _MICROSECONDS
    slots = await slots_ahead(journal, range((await journal.open()).slots))
    found = [told_ahead(slots)] if slots else []
    if newest > CLOCK_SECONDS:
        found.append(f"a node or slot was written down {newest:.1f} s in the future")
    return Check(
        "times in the journal",
        not found,
        "; ".join(found) or "none is in the future",
        "Let all hosts keep their clocks by NTP. The times of a slot never go back: until those come, ask for its past "
        "by a sequence or a cursor and not by a moment, and keep a number of its events and not those of a time.",
        required=False,
    )
