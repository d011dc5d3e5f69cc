"""Where a command finds the structures: the options that say so, the same for every command that needs them."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from ssl import SSLContext
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
import typer

from casty_es import addresses
from casty_es.arguments import HOST_VARIABLE, PORT_VARIABLE
from casty_es.certificates import client_tls, node_tls
from casty_es.errors import ConfigurationError
from casty_es.journal.schema import URL_VARIABLE

if TYPE_CHECKING:
    from casty_es.client import ClusterClient

DEFAULT_URL: Final = "sqlite:///casty.db"

_LARGEST_PORT: Final = 65_535

Url = Annotated[
    str,
    typer.Option(
        "--url",
        envvar=URL_VARIABLE,
        help="The journal: sqlite:///casty.db, or postgresql://user:password@host/database.",
    ),
]
Host = Annotated[
    str | None,
    typer.Option(
        "--host",
        envvar=HOST_VARIABLE,
        help="The address to listen at; if none is given, where the database shows this host to be.",
    ),
]
Port = Annotated[
    int,
    typer.Option(
        "--port", envvar=PORT_VARIABLE, min=0, max=_LARGEST_PORT, help="The port to listen at; 0 takes a free one."
    ),
]
SessionUrl = Annotated[
    str | None,
    typer.Option(
        "--session-url",
        envvar="CASTY_ES_SESSION_URL",
        help="The way to Postgres itself, for the leases, where --url leads to a connection pooler.",
    ),
]
System = Annotated[
    str, typer.Option("--system", envvar="CASTY_ES_SYSTEM", help="The name that the nodes were started with.")
]
_Node = Annotated[
    str | None,
    typer.Option(
        "--node",
        envvar="CASTY_ES_NODE",
        help="HOST:PORT of a node to ask instead of the database; with a secret or --token.",
    ),
]
Secret = Annotated[
    str | None,
    typer.Option(
        "--secret",
        envvar="CASTY_ES_SECRET",
        help="What `casty-es secret` prints. Others can see arguments, so rather set the variable or give a file.",
    ),
]
SecretFile = Annotated[
    Path | None,
    typer.Option("--secret-file", envvar="CASTY_ES_SECRET_FILE", help="A file with what `casty-es secret` prints."),
]
TlsAuthority = Annotated[
    Path | None,
    typer.Option(
        "--tls-ca",
        envvar="CASTY_ES_TLS_CA",
        help="TLS: PEM file of the authorities that sign the cluster's certificates; the system's if none is given.",
    ),
]
TlsCertificate = Annotated[
    Path | None,
    typer.Option("--tls-cert", envvar="CASTY_ES_TLS_CERT", help="TLS: PEM file of the certificate to show to others."),
]
TlsKey = Annotated[
    Path | None,
    typer.Option("--tls-key", envvar="CASTY_ES_TLS_KEY", help="TLS: PEM file of its key, without password."),
]
TlsRequire = Annotated[
    bool,
    typer.Option(
        "--tls-require-cert",
        envvar="CASTY_ES_TLS_REQUIRE_CERT",
        help="TLS: serve only who shows a certificate of the authorities, too.",
    ),
]


# CASTY_ES_TOKEN is the fencing token that `casty-es lock run` hands to the program that it runs.
_Token = Annotated[
    str | None,
    typer.Option(
        "--token",
        envvar="CASTY_ES_ACCESS_TOKEN",
        help="What `casty-es token create` printed, in place of the secret. Rather set the variable.",
    ),
]


class Where(msgspec.Struct, frozen=True):
    """What a user said of where the structures are."""

    url: str = DEFAULT_URL  # the journal; not used when a node was named
    node: tuple[str, int] | None = None  # the node that was named, and with it no database
    secret: bytes | None = None  # the cluster's secret; the journal's when it was not given
    system: str = "casty"
    session_url: str | None = None  # where the leases are, when that is not the journal's URL
    tls: SSLContext | None = None  # how nodes are dialled, when they use TLS
    # How this command listens and dials when it has to be a node itself.
    node_tls: tuple[SSLContext, SSLContext] | None = None
    token: str | None = None  # a token in place of the secret, for the node that was named

    def client(self, contact: tuple[str, int], secret: bytes | None = None) -> ClusterClient:
        """Return a client that dials as the user said; with the secret of the journal, if that was read."""
        known = None if self.token is not None else self.secret or secret
        from casty_es.client import ClusterClient  # noqa: PLC0415 - most commands ask no node

        return ClusterClient(
            contact_points=[contact], system_name=self.system, secret=known, token=self.token, ssl=self.tls
        )


def takes_where(command: Callable[..., None]) -> Callable[..., None]:
    """Return a command the options of ``Where`` in place of its parameter ``where``."""
    own = inspect.signature(command, eval_str=True)
    options = inspect.signature(_where, eval_str=True).parameters

    @functools.wraps(command)
    def with_options(**given: Any) -> None:
        where = _where(**{name: given.pop(name) for name in options})
        command(**given, where=where)

    parameters = [
        parameter
        for name, one in own.parameters.items()
        for parameter in (options.values() if name == "where" else [one])
    ]
    described: Any = with_options  # the two names below are not declared on functions
    described.__signature__ = own.replace(parameters=parameters)
    described.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return with_options


def split_address(text: str) -> tuple[str, int]:
    """Return the host and port of ``HOST:PORT``."""
    place = addresses.split(text)
    if place is None:
        raise typer.BadParameter(f"{text!r} is not HOST:PORT, such as 10.0.0.5:7400. Nothing was done.")
    return place


def _where(
    *,
    url: Url = DEFAULT_URL,
    session_url: SessionUrl = None,
    node: _Node = None,
    secret: Secret = None,
    secret_file: SecretFile = None,
    token: _Token = None,
    system: System = "casty",
    tls_ca: TlsAuthority = None,
    tls_cert: TlsCertificate = None,
    tls_key: TlsKey = None,
    tls_require_cert: TlsRequire = False,
) -> Where:
    known = given_secret(secret, secret_file)
    if node is not None and known is None and token is None:
        raise typer.BadParameter(
            "--node needs the cluster's secret or a token. Nothing was done. Run `casty-es secret` or `casty-es token "
            "create` where the journal can be read, and give what it prints as CASTY_ES_SECRET or "
            "CASTY_ES_ACCESS_TOKEN, in a file with --secret-file, or with --token."
        )
    if token is not None and (known is not None or node is None):
        raise typer.BadParameter(
            "--token goes with --node and in place of the secret: a token says what a node does for its holder. "
            "Nothing was done. Give --node, and leave out the secret."
        )
    tls = given_tls(tls_ca, tls_cert, tls_key, require_certificate=tls_require_cert)
    contact = None if node is None else split_address(node)
    return Where(url, contact, known, system, session_url, *tls, token)


def given_secret(secret: str | None, file: Path | None) -> bytes | None:
    """Return the secret that a user gave, as text or in a file."""
    if secret is not None and file is not None:
        raise typer.BadParameter("Give --secret or --secret-file, and not both. Nothing was done.")
    if file is not None:
        try:
            secret = file.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or "it is not text"
            raise typer.BadParameter(f"The file {str(file)!r} cannot be read: {why}. Nothing was done.") from None
    return None if secret is None else _bytes(secret)


def given_tls(
    authority: Path | None, certificate: Path | None, key: Path | None, *, require_certificate: bool
) -> tuple[SSLContext | None, tuple[SSLContext, SSLContext] | None]:
    """Return what a user said of TLS, to dial with and to be a node with; the latter takes a certificate."""
    if authority is None and certificate is None and key is None:
        if require_certificate:
            raise typer.BadParameter("--tls-require-cert needs --tls-cert, --tls-key and --tls-ca. Nothing was done.")
        return None, None
    try:
        outward = client_tls(authority, certificate, key)
        if certificate is None or key is None:
            return outward, None
        return outward, node_tls(certificate, key, authority=authority, require_certificate=require_certificate)
    except ConfigurationError as error:
        raise typer.BadParameter(str(error)) from None  # options that name what cannot be used are wrong usage


def _bytes(secret: str) -> bytes:
    try:
        return bytes.fromhex(secret)
    except ValueError:
        raise typer.BadParameter(
            "The secret is not hexadecimal. Nothing was done. Give it as `casty-es secret` prints it."
        ) from None
