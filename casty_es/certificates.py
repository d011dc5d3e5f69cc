"""TLS from files: what nodes, clients and commands need of certificates, made the same way everywhere."""

from __future__ import annotations

import ssl
from pathlib import Path

from casty_es.errors import ConfigurationError

__all__ = ["client_tls", "node_tls"]


def node_tls(
    certificate: str | Path,
    key: str | Path,
    *,
    authority: str | Path | None = None,
    require_certificate: bool = False,
) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Return what ``ClusteredActorSystem(ssl=...)`` takes: for connections that come in, and for those that go out.

    Parameters
    ----------
    certificate, key : str | Path
        The node's certificate with the chain to its authority, and its key, both as PEM. It is shown to whoever
        connects, and to the nodes that are connected to.
    authority : str | Path | None
        Certificates of the authorities whom this node trusts, as PEM; those of the system when it is not given.
    require_certificate : bool
        Whether whoever connects has to show a certificate of these authorities, too.

    Raises
    ------
    ConfigurationError
        A file cannot be read or is not what it should be.

    Examples
    --------
    >>> node_tls("node.pem", "node.key")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    ConfigurationError: The certificate 'node.pem' with the key 'node.key' cannot be used: ...
    """
    outward = client_tls(authority, certificate, key)
    inward = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    _show(inward, certificate, key)
    if require_certificate:
        _trust(inward, authority)
        inward.verify_mode = ssl.CERT_REQUIRED
    return inward, outward


def client_tls(
    authority: str | Path | None = None, certificate: str | Path | None = None, key: str | Path | None = None
) -> ssl.SSLContext:
    """Return what ``ClusterClient(ssl=...)`` takes.

    Parameters
    ----------
    authority : str | Path | None
        Certificates of the authorities whom the client trusts, as PEM; those of the system when it is not given.
    certificate, key : str | Path | None
        What the client shows to nodes that ask for a certificate, as PEM.

    Raises
    ------
    ConfigurationError
        A file cannot be read or is not what it should be, or there is a certificate without its key.
    """
    context = ssl.create_default_context()
    if authority is not None:
        # Nobody else: with the system's authorities, any of them could make a node.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        _trust(context, authority)
    if (certificate is None) != (key is None):
        raise ConfigurationError("A certificate needs its key, and a key its certificate. Nothing was started.")
    if certificate is not None and key is not None:
        _show(context, certificate, key)
    return context


def _show(context: ssl.SSLContext, certificate: str | Path, key: str | Path) -> None:
    try:
        context.load_cert_chain(certificate, key, password=_no_password)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise ConfigurationError(
            f"The certificate {str(certificate)!r} with the key {str(key)!r} cannot be used: {error}. Nothing was "
            f"started. Give both as PEM, the key without a password."
        ) from error


def _no_password() -> str:
    """Keep OpenSSL from asking at a terminal."""
    return ""


def _trust(context: ssl.SSLContext, authority: str | Path | None) -> None:
    try:
        if authority is None:
            context.load_default_certs(ssl.Purpose.CLIENT_AUTH)
        else:
            context.load_verify_locations(authority)
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"The certificates of the authority {str(authority)!r} cannot be used: {error}. Nothing was started. Give "
            f"them as PEM."
        ) from error
