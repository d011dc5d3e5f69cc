"""Addresses as people write them, ``host:port`` with an IPv6 host in brackets, and what a host can be reached by."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

LOOPBACK: Final = "127.0.0.1"

REMEDY: Final = (
    "Let that node say where others reach it, with advertise= or CASTY_ES_ADVERTISE, or open the way to its port."
)
"""What to do about a node that others cannot reach."""

_LARGEST_PORT: Final = 65_535


def joined(host: str, port: int) -> str:
    """Return the address of a host and a port.

    Examples
    --------
    >>> joined("10.0.0.5", 7400), joined("2001:db8::5", 7400)
    ('10.0.0.5:7400', '[2001:db8::5]:7400')
    """
    return f"[{host}]:{port}" if ":" in host and not host.startswith("[") else f"{host}:{port}"


def split(address: str) -> tuple[str, int] | None:
    """Return the host and the port of an address, or ``None`` if it is none.

    Examples
    --------
    >>> split("10.0.0.5:7400"), split("[2001:db8::5]:7400"), split("10.0.0.5")
    (('10.0.0.5', 7400), ('2001:db8::5', 7400), None)
    """
    host, _, port = address.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    digits = port.isascii() and port.isdecimal() and len(port) <= len(str(_LARGEST_PORT))
    return (host, int(port)) if host and digits and 0 < int(port) <= _LARGEST_PORT else None


def advertised(text: str) -> str | tuple[str, int] | None:
    """Return what ``HOST`` or ``HOST:PORT`` says of where others reach a node; ``None`` when it says nothing.

    Examples
    --------
    >>> advertised("web1"), advertised("web1:7400"), advertised("[2001:db8::5]:7400"), advertised("2001:db8::5")
    ('web1', ('web1', 7400), ('2001:db8::5', 7400), '2001:db8::5')
    """
    host = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    if ":" not in host or _is_ipv6(host):
        return host or None
    return split(text)


def is_loopback(host: str) -> bool:
    """Return whether an address leads to the own host only."""
    address = _parsed(host)
    return address is None or address.is_loopback  # no address of a network


def is_wildcard(host: str) -> bool:
    """Return whether a host stands for all addresses of a machine, and so for none at which another reaches it."""
    address = _parsed(host)
    return address is not None and address.is_unspecified


def network_host(sockname: object) -> str | None:
    """Return the address that a ``getsockname`` gave, if others may reach it there: none of a Unix socket."""
    address = _parsed(str(sockname[0])) if isinstance(sockname, tuple) else None
    if address is None or address.is_loopback or address.is_unspecified or address.is_link_local:
        return None
    return str(address)


def _parsed(host: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


def _is_ipv6(text: str) -> bool:
    return ":" in text and _parsed(text) is not None
