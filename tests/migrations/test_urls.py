"""What users write as the URL of a journal, and what they are told when it cannot be one."""

from __future__ import annotations

from pathlib import Path

import pytest

from casty_es.errors import InvalidArgumentError
from casty_es.journal.urls import database_url, postgres_dsn, shown, sqlite_file


@pytest.mark.parametrize(
    ("given", "normal"),
    [
        ("sqlite:///casty.db", "sqlite+aiosqlite:///casty.db"),
        ("sqlite:////var/lib/casty.db", "sqlite+aiosqlite:////var/lib/casty.db"),
        ("sqlite+aiosqlite:///casty.db", "sqlite+aiosqlite:///casty.db"),
        ("postgresql://a:b@db:5432/shop", "postgresql+asyncpg://a:b@db:5432/shop"),
        ("postgres://a:b@db/shop", "postgresql+asyncpg://a:b@db/shop"),
        ("postgresql+asyncpg://db/shop", "postgresql+asyncpg://db/shop"),
        ("postgresql://postgres:@/postgres?host=/tmp/x", "postgresql+asyncpg://postgres:@/postgres?host=/tmp/x"),
        ("postgresql://a@one:1,two:2/shop", "postgresql+asyncpg://a@one:1,two:2/shop"),
    ],
)
def test_forms_that_are_accepted(given: str, normal: str) -> None:
    """Given a form that is accepted, then it names its driver, and doing it twice changes nothing."""
    assert database_url(given) == normal
    assert database_url(normal) == normal


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("", "not the URL of a journal"),
        ("casty.db", "not the URL of a journal"),
        ("mysql://a@b/c", "not the URL of a journal"),
        ("postgresql+psycopg://a@b/c", "not the URL of a journal"),
        ("sqlite://", "names no file"),
        ("sqlite:///", "names no file"),
        ("sqlite:///:memory:", "names no file"),
        ("sqlite://casty.db", "Write three slashes"),
        ("sqlite:///casty.db?nolock=1", "carries options"),
        ("sqlite:///file:casty.db", "carries options"),
    ],
)
def test_forms_that_are_refused(given: str, told: str) -> None:
    """Given a URL that names no journal, then the error says why and what to write instead."""
    with pytest.raises(InvalidArgumentError, match=told):
        database_url(given)


def test_drivers_are_told_what_they_read() -> None:
    """Given URLs, then SQLite gets an absolute path and asyncpg a libpq URL."""
    assert sqlite_file("sqlite:///casty.db") == Path.cwd() / "casty.db"
    assert sqlite_file("sqlite+aiosqlite:////var/lib/a b%20c.db") == Path("/var/lib/a b%20c.db")
    assert postgres_dsn("postgres://a:b@db/shop?sslmode=require") == "postgresql://a:b@db/shop?sslmode=require"


@pytest.mark.parametrize(
    ("given", "visible"),
    [
        ("postgresql://app:geheim@db/shop", "postgresql://app:***@db/shop"),
        ("postgresql://app:ge@heim@db/shop", "postgresql://***"),
        (
            "postgresql://db/shop?user=app&password=geheim&sslmode=require",
            "postgresql://db/shop?user=app&password=***&sslmode=require",
        ),
        ("postgresql://db/shop?user=app&password=geheim&x=1", "postgresql://***"),
        (
            "postgresql://app@db/shop?sslpassword=geheim&options=geheim",
            "postgresql://app@db/shop?sslpassword=***&options=***",
        ),
        ("sqlite:///a.db?key=geheim", "sqlite:///a.db?***"),
        ("sqlite://app:geheim@db/a.db", "sqlite://***"),
        ("host=db password=geheim", "***"),
        ("postgresql://app@db/shop", "postgresql://app@db/shop"),
        ("sqlite:////a/b@c.db", "sqlite:////a/b@c.db"),
        ("mysql://app:geheim@db", "***"),
    ],
)
def test_passwords_are_never_shown(given: str, visible: str) -> None:
    """Given a URL with a password, then what messages show of it has none."""
    assert shown(given) == visible
