"""What may be told of a driver's error.

Postgres repeats rows and values in some of its errors, and so does its driver in some of its own. People see the texts
of errors, and logs keep them together with what caused them, while what is in a journal is for who may read it. So the
driver's error itself loses the values, and everything else of it stays: its type, SQLSTATE and constraint.
"""

from __future__ import annotations

from typing import TypeVar

import asyncpg

_Error = TypeVar("_Error", bound=BaseException)


def said(error: BaseException) -> str:
    """Return what an error says, without values; some of a socket's say nothing but their name."""
    return str(without_values(error)) or type(error).__name__


def without_values(error: _Error) -> _Error:
    """Take rows and values out of an error of Postgres' or of its driver's; return it.

    Examples
    --------
    >>> error = asyncpg.NotNullViolationError("null value in column")
    >>> error.detail = "Failing row contains (1, secret)."
    >>> str(without_values(error))
    'null value in column'
    """
    if isinstance(error, asyncpg.DataError):
        # Of its text, which may be in any language, the value is a part. The driver's own begins with the argument.
        own = str(error.args[0]).partition(":")[0] if error.severity is None and error.args else ""
        error.args = (own or f"{type(error).__name__} ({error.sqlstate})",)
        error.__cause__ = error.__context__ = None  # what the driver could not encode
    if isinstance(error, asyncpg.PostgresError):
        error.detail = error.context = error.internal_query = None
    return error


def driver_error(error: BaseException) -> BaseException:
    """Return the driver's error behind one of SQLAlchemy's, whose own text repeats statement and parameters."""
    original = getattr(error, "orig", None)
    return error if original is None else without_values(original.__cause__ or original)
