"""``casty-es node``: a bare node, which owns slots for others until it is told to leave."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
from typing import Annotated, Any, Final

import typer

from casty_es.arguments import ADVERTISE_VARIABLE
from casty_es.cli.common import Json, dumps, say
from casty_es.cli.reaching import opened
from casty_es.cli.table import iso_time
from casty_es.cli.where import (
    DEFAULT_URL,
    Host,
    Port,
    Secret,
    SecretFile,
    SessionUrl,
    TlsAuthority,
    TlsCertificate,
    TlsKey,
    TlsRequire,
    Url,
    given_secret,
    given_tls,
)
from casty_es.journal.urls import shown
from casty_es.node import ClusteredActorSystem
from casty_es.printing import visible

_LEAVE_ON: Final = (signal.SIGTERM, signal.SIGINT)

_MICROSECONDS: Final = 1_000_000


def node(
    *,
    url: Url = DEFAULT_URL,
    session_url: SessionUrl = None,
    host: Host = None,
    port: Port = 0,
    advertise: Annotated[
        str | None,
        typer.Option(
            "--advertise",
            envvar=ADVERTISE_VARIABLE,
            help="HOST or HOST:PORT where others reach it, if that is another.",
        ),
    ] = None,
    node_id: Annotated[
        str | None, typer.Option("--node-id", help="Its name in the journal; a fresh one if none is given.")
    ] = None,
    name: Annotated[
        str, typer.Option("--name", envvar="CASTY_ES_SYSTEM", help="The system's name, the same for all nodes.")
    ] = "casty",
    secret: Secret = None,
    secret_file: SecretFile = None,
    tls_ca: TlsAuthority = None,
    tls_cert: TlsCertificate = None,
    tls_key: TlsKey = None,
    tls_require_cert: TlsRequire = False,
    verbose: Annotated[bool, typer.Option("--verbose", help="Log what it does to stderr.")] = False,
    json: Json = False,
) -> None:
    """Run a node until SIGTERM or SIGINT; then it finishes what it began, hands its slots over and ends.

    Prints one line when it is ready. An SQLite file is made when there is none. With --tls-cert and --tls-key it is
    reached over TLS only; all nodes of a journal are, or none.
    """
    if verbose:
        _log_to_stderr(as_json=json)
    outward, tls = given_tls(tls_ca, tls_cert, tls_key, require_certificate=tls_require_cert)
    if outward is not None and tls is None:
        raise typer.BadParameter("A node with TLS needs --tls-cert and --tls-key. Nothing was started.")
    if tls_require_cert and tls_ca is None:
        raise typer.BadParameter("--tls-require-cert needs --tls-ca, whose certificates count. Nothing was started.")
    how: dict[str, Any] = {
        "name": name,
        "host": host,
        "port": port,
        "node_id": node_id,
        "advertise": advertise,
        "secret": given_secret(secret, secret_file),
        "ssl": tls,
        "session_url": session_url,
    }
    asyncio.run(_serve(url, how, as_json=json))


async def _serve(url: str, how: dict[str, Any], *, as_json: bool) -> None:
    loop = asyncio.get_running_loop()
    told = asyncio.Event()
    for number in _LEAVE_ON:
        loop.add_signal_handler(number, told.set)
    journal = await opened(url, create=True)
    system = ClusteredActorSystem(journal=journal, **how)
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(journal.close)
        await stack.enter_async_context(system)
        ready = {"node_id": system.node_id, "address": system.address, "pid": os.getpid(), "journal": shown(url)}
        say(dumps(ready) if as_json else f"node {system.node_id} listens at {system.address}")
        sys.stdout.flush()  # whoever waits for the line reads it from a pipe
        await told.wait()
        for number in _LEAVE_ON:
            loop.remove_signal_handler(number)  # a second signal ends a node that cannot finish


def _log_to_stderr(*, as_json: bool) -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(_JsonLines() if as_json else _Lines())
    logger = logging.getLogger("casty_es")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)


class _Lines(logging.Formatter):
    """``2026-01-31T12:00:00.000000+00:00 INFO casty_es.leases: what happened``."""

    def format(self, record: logging.LogRecord) -> str:
        said = [f"{_time(record)} {record.levelname} {record.name}: {record.getMessage()}"]
        if record.exc_info is not None:
            said += self.formatException(record.exc_info).split("\n")
        return "\n".join(map(visible, said))


class _JsonLines(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        fields = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info is not None:
            fields["exception"] = self.formatException(record.exc_info)
        return dumps(fields)


def _time(record: logging.LogRecord) -> str:
    return iso_time(round(record.created * _MICROSECONDS))
