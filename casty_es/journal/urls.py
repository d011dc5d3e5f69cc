"""Where a journal is: the URLs that users write, and what each driver wants to be told."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from casty_es.errors import InvalidArgumentError, InvalidTypeError
from casty_es.journal.postgres_url import PostgresUrl, read_postgres_url

_SQLITE: Final = "sqlite+aiosqlite"
_POSTGRES: Final = "postgresql+asyncpg"
_SCHEMES: Final = {
    "sqlite": _SQLITE,
    _SQLITE: _SQLITE,
    "postgresql": _POSTGRES,
    "postgres": _POSTGRES,
    _POSTGRES: _POSTGRES,
}


def database_url(url: str) -> str:
    """Return ``url`` with the scheme that names the driver, after checking that a journal can be there.

    Parameters
    ----------
    url : str
        ``sqlite:///relative.db``, ``sqlite:////absolute.db`` or ``postgresql://user:password@host:port/database``.
        ``postgres://`` and the forms that name the driver are the same. On Postgres the part after the scheme is
        libpq's: several hosts, ``?host=/run/postgresql`` for a socket, ``?sslmode=require``.

    Raises
    ------
    InvalidTypeError
        It is not a str.
    InvalidArgumentError
        The scheme is unknown, an SQLite URL names no file, a server or options, or a Postgres URL can be read in more
        than one way or has a parameter that cannot have its effect. No piece of a password is in the message.

    Examples
    --------
    >>> database_url("sqlite:///casty.db")
    'sqlite+aiosqlite:///casty.db'
    >>> database_url("postgres://app@/shop?host=/run/postgresql")
    'postgresql+asyncpg://app@/shop?host=/run/postgresql'
    """
    if not isinstance(url, str):
        raise InvalidTypeError(
            f"The URL of a journal is a str, not {type(url).__name__}, so nothing was opened. Write sqlite:///casty.db "
            f"or postgresql://user:password@host/database; for a path f'sqlite:///{{path}}', for SQLAlchemy's URL "
            f"url.render_as_string(hide_password=False), for an engine engine.url's."
        )
    url = str.__str__(url)
    if "\0" in url or any("\ud800" <= one <= "\udfff" for one in url):
        raise InvalidArgumentError(
            "The URL of the journal holds a character that is no text, so nothing was opened. Leave it out."
        )
    scheme, separator, rest = url.partition("://")
    driver = _SCHEMES.get(scheme.lower()) if separator else None
    if driver is None:
        raise InvalidArgumentError(
            f"What was given, of {len(url)} characters, is not the URL of a journal: its scheme is another. Nothing "
            f"was opened. Use sqlite:///casty.db, or postgresql://user:password@host/database."
        )
    if driver == _SQLITE:
        _check_sqlite(url, rest)
    else:
        read_postgres_url(rest)
    return f"{driver}://{rest}"


def is_sqlite(url: str) -> bool:
    """Return whether ``url`` names an SQLite file; else it names a Postgres database."""
    return database_url(url).startswith(_SQLITE)


def sqlite_file(url: str) -> Path:
    """Return the file that an SQLite URL names, as an absolute path."""
    return Path(database_url(url).partition(":///")[2]).absolute()


def postgres_dsn(url: str) -> str:
    """Return a Postgres URL in libpq's form, without a driver in the scheme."""
    return "postgresql://" + database_url(url).partition("://")[2]


def postgres_parts(url: str) -> PostgresUrl:
    """Return what a Postgres URL says."""
    return read_postgres_url(database_url(url).partition("://")[2])


def shown(url: str) -> str:
    """Return ``url`` without what is secret in it, for messages and logs; of one that cannot be read, only its scheme.

    Examples
    --------
    >>> shown("postgresql://app:s3cret@db/shop"), shown("postgresql://app:s3#cret@db/shop")
    ('postgresql://app:***@db/shop', 'postgresql://***')
    """
    scheme, _, rest = url.partition("://")
    driver = _SCHEMES.get(scheme.lower())
    if driver == _SQLITE:
        file, options, _ = rest.partition("?")
        return f"{scheme}://{file}{'?***' if options else ''}" if file.startswith("/") else f"{scheme}://***"
    if driver is None:
        return "***"
    try:
        return f"{scheme}://{read_postgres_url(rest).shown}"
    except InvalidArgumentError:
        return f"{scheme}://***"


def _check_sqlite(url: str, rest: str) -> None:
    path = rest.removeprefix("/")
    if not path or path == ":memory:":
        raise InvalidArgumentError(
            f"{shown(url)!r} names no file: its journal would be gone when the connection closes. Nothing was opened. "
            "Use sqlite:///casty.db, or a system without a journal if nothing is to be kept."
        )
    if not rest.startswith("/"):
        raise InvalidArgumentError(
            "The URL has a host where SQLite has none, so nothing was opened. "
            "Write three slashes: sqlite:///casty.db, or four for an absolute path."
        )
    if "?" in path or path.startswith("file:"):
        raise InvalidArgumentError(
            f"{shown(url)!r} carries options. The journal sets SQLite's options itself, because its durability rests "
            "on them, so nothing was opened. Leave out everything from the question mark on."
        )
