"""What a Postgres URL says: libpq's grammar and parameters, read here and not by the driver.

1. A character that is reserved and not percent-encoded is refused: where a password has one, several readings are
   possible, and its pieces would be looked up as hosts, and shown. No error says any piece of such a URL.
2. A parameter of libpq's takes effect, or is refused with what it is. None is passed over where that would leave a
   connection less protected than the URL asks for.
3. Other parameters are settings of the server, as in psql's ``options``.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from typing import Final, NoReturn
from urllib.parse import unquote_to_bytes

import msgspec

from casty_es.errors import InvalidArgumentError

_SECRET: Final = {"password", "sslpassword"}
_SHOWN: Final = {
    *("host", "port", "user", "dbname", "database", "sslmode", "ssl", "channel_binding", "connect_timeout"),
    *("gssencmode", "target_session_attrs", "application_name", "fallback_application_name", "client_encoding"),
    "search_path",
}

# What the driver reads out of a URL and takes nowhere else.
_TLS: Final = {
    *("sslmode", "sslcert", "sslkey", "sslrootcert", "sslcrl", "sslpassword", "sslnegotiation"),
    *("ssl_min_protocol_version", "ssl_max_protocol_version"),
}
_SSL_MODES: Final = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_WITH_SYSTEM_ROOTS: Final = {"sslmode", "sslcert", "sslkey", "sslpassword", "sslrootcert"}
_PASSED_ON: Final = {"passfile", "krbsrvname", "gsslib", "service"}

# The values at which a parameter asks for nothing that the driver does not do.
_HARMLESS: Final = {
    "client_encoding": {"utf8", "utf-8", "unicode", "auto"},
    "gssencmode": {"disable", "prefer"},
    "gssdelegation": {"0"},
    "load_balance_hosts": {"disable", "random"},  # only the primary is used
    "max_protocol_version": {"3.0", "3.2", "latest"},
    "min_protocol_version": {"3.0"},
    "replication": {"0", "false", "off", "no"},
    "sslcertmode": {"allow"},
    "sslcompression": {"0", "1"},  # libpq passes it over, too
    "sslsni": {"1"},
}
_MISSING: Final = {
    *("require_auth", "requirepeer", "sslcrldir", "sslkeylogfile", "servicefile", "scram_client_key"),
    *("scram_server_key", "oauth_issuer", "oauth_client_id", "oauth_client_secret", "oauth_scope", "oauth_ca_file"),
}
_FOREIGN: Final = {
    **dict.fromkeys(
        ("pgbouncer", "connection_limit", "pool_timeout", "schema", "sslidentity", "sslaccept", "socket_timeout"),
        "a setting of Prisma",
    ),
    **dict.fromkeys(("supa", "workaround"), "a mark of a hosting provider's"),
    **dict.fromkeys(("statement_cache_size", "prepared_statement_cache_size"), "a setting of a driver"),
    **dict.fromkeys(("currentSchema", "prepareThreshold", "uselibpqcompat"), "a setting of another driver"),
}
_KEEPALIVES: Final = {
    "keepalives_idle": "TCP_KEEPIDLE",
    "keepalives_interval": "TCP_KEEPINTVL",
    "keepalives_count": "TCP_KEEPCNT",
    "tcp_user_timeout": "TCP_USER_TIMEOUT",
}
_TARGETS: Final = ("any", "primary", "read-write")
_LIBPQ: Final = {
    *(*_TLS, *_PASSED_ON, *_HARMLESS, *_MISSING, *_KEEPALIVES),
    *("host", "hostaddr", "port", "user", "dbname", "database", "password", "ssl", "requiressl", "options"),
    *("application_name", "fallback_application_name", "connect_timeout", "channel_binding", "keepalives"),
    "target_session_attrs",
}
_SETTINGS_TOO: Final = {"application_name", "options"}  # parameters of libpq's that the server takes as they are

_PARTS: Final = re.compile(r"([^/?]*)(/[^?]*)?(?:\?(.*))?")
_PLACE: Final = re.compile(r"(?:\[([0-9A-Za-z:.%]+)\]|([^\[\]:]*))(?::([0-9]{0,5}))?")
_HOST: Final = re.compile(r"[\w.-]+")
_ESCAPE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_SETTING: Final = re.compile(r"[a-z_][a-z0-9_]*(\.[a-z_][a-z0-9_]*)?", re.IGNORECASE)
_NUMBER: Final = re.compile(r"-?[0-9]{1,9}")
_LARGEST_PORT: Final = 65_535
_LEAST_TIMEOUT: Final = 2  # libpq's

_ADVICE: Final = (
    "In a user, password or database name write : as %3A, / as %2F, ? as %3F, # as %23, [ as %5B, ] as %5D, @ as %40, "
    "% as %25 and a space as %20, as urllib.parse.quote(password, safe='') does; or leave the password out and give it "
    "in PGPASSWORD or ~/.pgpass."
)


class PostgresUrl(msgspec.Struct, frozen=True):
    """A URL that was read. What is printed of it has no password."""

    shown: str  # the part behind the scheme without what is secret
    # Hosts and ports in the order in which they are tried; ``None`` is the driver's default.
    places: tuple[tuple[str | None, int | None], ...]
    user: str | None = None
    password: str | None = None
    database: str | None = None
    tls: dict[str, str] = {}  # libpq's parameters about TLS
    passed_on: dict[str, str] = {}  # arguments that the driver takes by libpq's names
    settings: dict[str, str] = {}  # settings of the server's
    socket_options: tuple[tuple[int, int, int], ...] = ()  # level, name and value
    connect_seconds: float | None = None  # how long to wait for each place

    def __repr__(self) -> str:
        return f"PostgresUrl({self.shown!r})"


def read_postgres_url(rest: str) -> PostgresUrl:
    """Read what stands behind ``postgresql://``.

    Refuses what can be read in more than one way, or asks for what the driver cannot do. No piece of the URL is in
    the error.

    Examples
    --------
    >>> read_postgres_url("app:s3cret@db/shop?sslmode=require")
    PostgresUrl('app:***@db/shop?sslmode=require')
    """
    if "#" in rest or any(one.isspace() or not one.isprintable() for one in rest):
        _refuse("it has a # or a space, or another character that no URL has")
    whole = _PARTS.fullmatch(rest)
    assert whole is not None  # noqa: S101 - there is no line end, and everything else fits
    authority, path, query = (part or "" for part in whole.groups())
    user_info, at, hosts = authority.rpartition("@")
    if "@" in user_info + path or any(one in user_info for one in "[]"):
        _refuse("it has a reserved character where a user, a password or a database name is")
    given = _parameters(query, authority_has_user=bool(at))
    user, _, password = user_info.partition(":")
    values = {
        "user": _decoded(user),
        "password": _decoded(password),
        "dbname": _decoded(path[1:]),
        **{("dbname" if name == "database" else name): value for name, value in given.items()},
    }
    visible = f"{user}{':***' if password else ''}{at}{hosts}{path}"
    places = _places(hosts, values.pop("host", ""), values.pop("port", ""))
    named = {name: values.pop(name) or None for name in ("user", "password", "dbname")}
    tls, passed_on, settings = _sorted(values, has_socket=any((host or "/").startswith("/") for host, _ in places))
    return PostgresUrl(
        visible + _shown_query(query),
        places,
        named["user"],
        named["password"],
        named["dbname"],
        tls,
        passed_on,
        settings,
        _socket_options(values),
        _connect_seconds(values),
    )


def _parameters(query: str, *, authority_has_user: bool) -> dict[str, str]:
    """Return the decoded parameters, the last of each name."""
    given: dict[str, str] = {}
    for number, part in enumerate(filter(None, query.split("&")), 1):
        name, equals, value = part.partition("=")
        if not equals or not _SETTING.fullmatch(name):
            _refuse(f"its parameter number {number} is not NAME=VALUE")
        if "@" in value and (authority_has_user or name not in {"user", "password"}):
            _refuse(f"its parameter number {number} has a reserved character")
        given[name] = _decoded(value)
    if given.keys() & _SECRET:
        for number, name in enumerate(given, 1):
            if name not in {*_LIBPQ, "search_path"}:  # it may be a piece of the password
                _refuse(f"its parameter number {number} is none of libpq's, in a URL that has a password among them")
    return given


def _decoded(text: str) -> str:
    if _ESCAPE.search(text):
        _refuse("it has a % that does not begin a percent-encoded character")
    decoded = unquote_to_bytes(text).decode(errors="replace")
    if "\0" in decoded or ("\ufffd" in decoded and "\ufffd" not in text):
        _refuse("it has percent-encoded bytes that are no text")
    return decoded


def _places(hosts: str, host: str, port: str) -> tuple[tuple[str | None, int | None], ...]:
    """Return hosts and ports; parameters win over what stands before the path, as for libpq."""
    found: list[tuple[str, str]] = []
    for place in hosts.split(","):
        matched = _PLACE.fullmatch(place)
        if matched is None:
            _refuse("its host or port cannot be one")
        address, name, number = matched.groups()
        if address and not _is_address(address):
            _refuse("its host is in brackets, and no address")
        found.append((address or _decoded(name or ""), number or ""))
    if host:
        found = [(name, "") for name in host.split(",")]
    if port:
        ports = port.split(",")
        if len(ports) not in {1, len(found)}:
            _refuse("it has another number of ports than of hosts")
        found = [
            (name, number)
            for (name, _), number in zip(found, ports * len(found) if len(ports) == 1 else ports)  # noqa: B905 - checked
        ]
    if len(found) > 1 and any(not name for name, _ in found):
        _refuse("it has an empty name among its hosts")
    return tuple((_host(name), _port(number)) for name, number in found)


def _host(name: str) -> str | None:
    if name and not (name.startswith("/") or _HOST.fullmatch(name) or _is_address(name)):
        _refuse("its host cannot be one")
    return name or None


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _port(number: str) -> int | None:
    if number and not (number.isascii() and number.isdecimal() and 0 < int(number[:6]) <= _LARGEST_PORT):
        _refuse(f"its port is not a number from 1 to {_LARGEST_PORT}")
    return int(number) if number else None


def _sorted(values: dict[str, str], *, has_socket: bool) -> tuple[dict[str, str], dict[str, str], dict[str, str]]:
    """Return what is about TLS, what the driver takes by its name, and the settings of the server."""
    for name, value in values.items():
        _check(name, value)
    tls = {name: value for name, value in values.items() if name in _TLS and value}
    _tls_by_other_names(values, tls)
    if values.get("channel_binding") == "require":
        _verify_instead_of_binding(tls, has_socket=has_socket)
    if tls.get("sslrootcert") == "system":
        if tls.setdefault("sslmode", "verify-full") != "verify-full":
            _refuse("sslrootcert=system goes with sslmode=verify-full only", advice="Write that, or name a file.")
        if other := sorted(tls.keys() - _WITH_SYSTEM_ROOTS):
            _refuse(f"sslrootcert=system does not go with {other[0]} here", advice="Name the file of the certificates.")
    passed_on = {name: values[name] for name in sorted(_PASSED_ON & values.keys()) if values[name]}
    settings = {name: value for name, value in values.items() if name in _SETTINGS_TOO or name not in _LIBPQ}
    if fallback := values.get("fallback_application_name"):
        settings.setdefault("application_name", fallback)
    return tls, passed_on, settings


def _check(name: str, value: str) -> None:
    """Refuse a parameter that cannot have its effect. Names that are known are safe to be told; values are not."""
    if name in _MISSING or name == "hostaddr":
        why = "give the address as the host" if name == "hostaddr" else "leave it out, or use another way to connect"
        _refuse(f"{name} is a parameter of libpq's that this driver does not have", advice=f"Rather {why}.")
    if name in _FOREIGN:
        _refuse(
            f"{name} is {_FOREIGN[name]}, and none of libpq's or Postgres'",
            advice="Leave it out. If the host is a connection pooler, use the URL of the database itself, or give "
            "that as session_url.",
        )
    if name in _HARMLESS and value.lower() not in _HARMLESS[name]:
        _refuse(
            f"this driver has {name} only as {' or '.join(sorted(_HARMLESS[name]))}",
            advice="Write that, or leave it out.",
        )
    if name == "sslmode" and value and value not in _SSL_MODES:
        _refuse(f"sslmode is none of {', '.join(_SSL_MODES)}", advice="Write one of them.")
    if name == "channel_binding" and value not in {"disable", "prefer", "require"}:
        _refuse("channel_binding is none of disable, prefer, require", advice="Write one of them.")
    if name == "target_session_attrs" and value not in _TARGETS:
        _refuse(
            f"a journal is written and read at the primary, so target_session_attrs is one of {', '.join(_TARGETS)}",
            advice="Leave it out: of several hosts the primary is found.",
        )
    if (name in _KEEPALIVES or name in {"keepalives", "connect_timeout"}) and not _NUMBER.fullmatch(value):
        _refuse(f"{name} is not a whole number", advice="Write a number of seconds, or leave it out.")


def _tls_by_other_names(values: dict[str, str], tls: dict[str, str]) -> None:
    given = values.get("ssl", "").lower()
    if given in _SSL_MODES:
        tls.setdefault("sslmode", given)
    elif given in {"true", "1"} or values.get("requiressl") == "1":
        tls.setdefault("sslmode", "require")
    elif given not in {"", "false", "0"}:
        _refuse("ssl is none of true and the modes of sslmode", advice="Write sslmode=require, or what you mean.")


def _verify_instead_of_binding(tls: dict[str, str], *, has_socket: bool) -> None:
    """Have the server's certificate verified: the driver cannot bind channels, and that keeps others out as well."""
    if has_socket or tls.get("sslmode") == "disable":
        _refuse("channel_binding=require needs TLS, which this URL does not use", advice="Leave one of them out.")
    tls["sslmode"] = "verify-full"
    tls.setdefault("sslrootcert", "system")


def _socket_options(values: dict[str, str]) -> tuple[tuple[int, int, int], ...]:
    if values.get("keepalives") == "0":
        return ((socket.SOL_SOCKET, socket.SO_KEEPALIVE, 0),)
    wanted = {
        number: int(values[name])
        for name, option in _KEEPALIVES.items()
        if (number := getattr(socket, option, None)) is not None and int(values.get(name, "0")) > 0
    }
    if not wanted and "keepalives" not in values:
        return ()
    options = [(socket.IPPROTO_TCP, number, value) for number, value in wanted.items()]
    return ((socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1), *options)


def _connect_seconds(values: dict[str, str]) -> float | None:
    seconds = int(values.get("connect_timeout", "0"))
    return float(max(seconds, _LEAST_TIMEOUT)) if seconds > 0 else None


def _shown_query(query: str) -> str:
    parts = [part.partition("=") for part in query.split("&") if part]
    visible = [f"{name}={value if name in _SHOWN else '***'}" for name, _, value in parts]
    return f"?{'&'.join(visible)}" if visible else ""


def _refuse(why: str, *, advice: str = _ADVICE) -> NoReturn:
    raise InvalidArgumentError(f"The URL postgresql://*** cannot be used: {why}. Nothing was opened. {advice}")
