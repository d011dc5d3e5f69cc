"""What people pass by mistake, or to see what happens."""

from __future__ import annotations

import enum
import math
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import create_async_engine

__all__ = ["ARGUMENTS", "URLS"]


class Number(int):
    """A subclass of int that lies about itself."""

    def __int__(self) -> int:
        raise RuntimeError("not this way")

    def __index__(self) -> int:
        raise RuntimeError("not this way")

    def __str__(self) -> str:
        return "one"

    __repr__ = __str__


class Fraction(float):
    """A subclass of float that lies about itself."""

    def __float__(self) -> float:
        raise RuntimeError("not this way")


class Text(str):
    """A subclass of str that lies about itself."""

    __slots__ = ()

    def __str__(self) -> str:
        return "\0"

    def encode(self, *_: Any) -> bytes:  # type: ignore[override]
        """Fail."""
        raise RuntimeError("not this way")


class Id(UUID):
    """A subclass of UUID that lies about itself."""

    def __str__(self) -> str:
        return "\0"


class Level(enum.IntEnum):
    """An int by name."""

    ONE = 1


class Word(enum.StrEnum):
    """A str by name."""

    ONE = "one"


class Nowhere(tzinfo):
    """A time zone that does not say where it is."""

    def utcoffset(self, _: datetime | None) -> timedelta | None:
        """Say nothing."""
        return None


class Unprintable:
    """An object whose text cannot be had."""

    def __repr__(self) -> str:
        raise RuntimeError("not this way")


ENGINE = create_async_engine("sqlite+aiosqlite:///engine.db")

ARGUMENTS: dict[str, Any] = {
    "None": None,
    "True": True,
    "ellipsis": ...,
    **{str(number): number for number in (0, -1, 2, 2**31 - 1, 2**31, 2**63 - 1, 2**63, 2**64, -(2**63), -(2**63) - 1)},
    "10**400": 10**400,
    "10**5000": 10**5000,
    "-10**5000": -(10**5000),
    **{str(number): number for number in (0.0, 0.5, 1e-300, 1e18, 1e300, -1.0, math.nan, math.inf, -math.inf)},
    "complex": 1j,
    "Decimal": Decimal("NaN"),
    "subclass of int": Number(1),
    "subclass of float": Fraction(0.05),
    "subclass of str": Text("x"),
    "subclass of UUID": Id(int=1),
    "IntEnum": Level.ONE,
    "StrEnum": Word.ONE,
    "empty": "",
    "text": "x",
    "NUL": "a\0b",
    "surrogate": "\ud800",
    "long text": "x" * 70_000,
    "control characters": "a\nb\x7f",
    "bytes": b"x",
    "no bytes": b"",
    "list": [],
    "list of itself": [[1]],
    "dict": {},
    "tuple": ("a", 1),
    "set": {1},
    "object": object(),
    "unprintable": Unprintable(),
    "class": int,
    "function": lambda *_: None,
    "path": Path("casty.db"),
    "url": make_url("sqlite:///casty.db"),
    "engine": ENGINE,
    "uuid": UUID(int=1),
    "naive": datetime(2026, 1, 1),  # noqa: DTZ001 - it is the point
    "no offset": datetime(2026, 1, 1, tzinfo=Nowhere()),
    "first moment": datetime.min.replace(tzinfo=timezone(timedelta(hours=14))),
    "last moment": datetime.max.replace(tzinfo=timezone(timedelta(hours=-14))),
    "moment": datetime(2020, 1, 1, tzinfo=UTC),
    "duration": timedelta(1),
    "error": ValueError("x"),
}

URLS: dict[str, Any] = {
    url: url
    for url in (
        "sqlite:///",
        "sqlite:///a\0b",
        "sqlite:///\ud800",
        "sqlite:///" + "x" * 5_000,
        "sqlite:///no/such/folder/x.db",
        "sqlite:////proc/self/x.db",
        "sqlite:///.",
        "sqlite://///",
        "postgresql://",
        "postgresql://127.0.0.1:port/x",
        "postgresql://127.0.0.1:99999/x",
        "postgresql://127.0.0.1:1/x",
        "postgresql://[::1/x",
        "postgresql://127.0.0.1:1/x?sslmode=perhaps",
        "postgresql://127.0.0.1:1/x?nonsense=1",
        "postgresql://127.0.0.1:1,127.0.0.1/x",
        "postgresql://u:p%zz@127.0.0.1:1/x",
        "postgresql://127.0.0.1:1/x\0",
        "postgresql://\ud800@127.0.0.1:1/x",
    )
}
