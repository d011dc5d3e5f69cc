"""Connecting to what a Postgres URL names: the first of its hosts that answers and is a primary."""

from __future__ import annotations

import socket
import ssl
from typing import Any, Final, TypeAlias
from urllib.parse import urlencode

import asyncpg

from casty_es.errors import InvalidArgumentError
from casty_es.journal.postgres_url import PostgresUrl
from casty_es.journal.urls import postgres_parts

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

_APPLICATION: Final = "casty_es"
_SECONDS: Final = 10.0  # a server that is there answers in milliseconds

# After these the next host is tried; libpq does not after others, such as a wrong password.
_NEXT: Final = (
    OSError,
    TimeoutError,
    asyncpg.CannotConnectNowError,
    asyncpg.ConnectionDoesNotExistError,
    asyncpg.TargetServerAttributeNotMatched,
)


# Arrays of built-in types: their numbers are the same in every server (pg_type.dat). The driver asks the server of each
# connection what they are before it uses one, which takes 20 ms.
_ARRAYS: Final = {1000: ("bool", 16), 1001: ("bytea", 17), 1007: ("int4", 23), 1016: ("int8", 20)}
_ARRAY_TYPES: Final = [
    {
        "oid": oid,
        "ns": "pg_catalog",
        "name": f"_{name}",
        "kind": b"b",
        "basetype": None,
        "basetype_name": None,
        "elemtype": element,
        "elemtype_name": name,
        "elemdelim": b",",
        "range_subtype": None,
        "range_subtype_name": None,
        "attrtypoids": None,
        "attrnames": None,
        "depth": 0,
    }
    for oid, (name, element) in _ARRAYS.items()
]


async def dial(url: str, settings: dict[str, str]) -> Connection:
    """Open a connection; of several hosts only a primary is taken.

    The settings win over those of the URL. Raises what the driver raises, and ``InvalidArgumentError`` for a URL
    that cannot be used.
    """
    parts = postgres_parts(url)
    try:
        connection = await _connected(parts, _arguments(parts, settings))
    except asyncpg.UndefinedObjectError as error:
        named = [name for name in parts.settings if f'"{name}"' in str(error)]
        if not named:
            raise
        raise InvalidArgumentError(
            f"The parameter {named[0]} of the URL is none of libpq's, and no setting of the server's: {error}. Nothing "
            f"was opened. Leave it out."
        ) from error
    connection.get_settings().register_data_types(_ARRAY_TYPES)
    if parts.socket_options:
        used = connection._transport.get_extra_info("socket")  # noqa: SLF001 - asyncpg shows it nowhere else
        if used is not None and used.family != socket.AF_UNIX:
            for option in parts.socket_options:
                used.setsockopt(*option)
    return connection


async def _connected(parts: PostgresUrl, arguments: dict[str, Any]) -> Connection:
    if len(parts.places) == 1:
        host, port = parts.places[0]
        return await asyncpg.connect(host=host, port=port, **arguments)
    failed = []
    for host, port in parts.places:
        try:
            # One by one: the driver has one timeout for all, which a host that is silent would use up.
            return await asyncpg.connect(host=host, port=port, target_session_attrs="primary", **arguments)
        except _NEXT as error:
            why = "no primary" if isinstance(error, asyncpg.TargetServerAttributeNotMatched) else str(error)
            failed.append(f"{host} ({why or type(error).__name__})")
    raise ConnectionError(f"none of {len(failed)} hosts is a primary that answers: {'; '.join(failed)}")


def _arguments(parts: PostgresUrl, settings: dict[str, str]) -> dict[str, Any]:
    """Return the driver's arguments. The password is never a part of a text that the driver would read, and quote."""
    arguments: dict[str, Any] = {
        "user": parts.user,
        "password": parts.password,
        "database": parts.database,
        "timeout": parts.connect_seconds or _SECONDS,
        "server_settings": {"application_name": _APPLICATION, **parts.settings, **settings},
        **parts.passed_on,
    }
    if parts.tls.get("sslrootcert") == "system":
        arguments["ssl"] = _verifying(parts.tls)
    elif parts.tls:
        arguments["dsn"] = f"postgresql://?{urlencode(parts.tls)}"
    return arguments


def _verifying(tls: dict[str, str]) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.set_alpn_protocols(["postgresql"])
    if "sslcert" in tls:
        context.load_cert_chain(tls["sslcert"], tls.get("sslkey"), lambda: tls.get("sslpassword", ""))
    return context
