"""How a Postgres URL is read, and that no piece of its password is ever shown."""

from __future__ import annotations

import socket
import traceback
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from casty_es import InvalidArgumentError, SqlJournal, connect
from casty_es.journal.postgres_url import read_postgres_url
from casty_es.journal.urls import postgres_parts, shown

if TYPE_CHECKING:
    from collections.abc import Iterator

HEAD, TAIL = "Zq7xKw", "Wv9pLm"
RESERVED = "#/?[]@ %\t\n&=+;,:"
FORMS = (
    "postgresql://app:{}@h/db",
    "postgresql://app:{}@h",
    "postgresql+asyncpg://app:{}@h:5432,i:5433/db?sslmode=require",
    "postgresql://h/db?user=app&password={}",
    "postgresql://h/db?password={}&user=app",
    "postgresql://app@h/db?sslpassword={}&sslmode=require",
    "postgresql://app:{}",
    "postgresql://app:{}/db",
    "postgresql:/app:{}@h/db",
    "postgresql//app:{}@h/db",
    "postgresq://app:{}@h/db",
    "app:{}@h/db",
    "host=h user=app password={}",
    "sqlite://app:{}@h/db",
    "sqlite:///casty.db?key={}",
    "{}",
)


def told(error: BaseException) -> Iterator[str]:
    """Everything that may be printed of an error, and of the errors behind it, suppressed or not."""
    yield "".join(traceback.format_exception(error))
    seen: BaseException | None
    for seen in (error, error.__cause__, error.__context__):
        if seen is not None:
            yield str(seen)
            yield repr(seen)
    for behind in (error.__cause__, error.__context__):
        if behind is not None:
            yield from told(behind)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("character", RESERVED)
def test_no_piece_of_a_password_is_told(form: str, character: str) -> None:
    """Given a password with a reserved character, then it is read right or refused, and no piece of it is shown."""
    # given
    password = f"{HEAD}{character}{TAIL}"
    url = form.format(password)
    if character == "@" and form in {"postgresql://app:{}", "postgresql://app:{}/db"}:
        return  # a password and a host

    # when
    try:
        journal = SqlJournal(url)
    except InvalidArgumentError as error:
        pieces = list(told(error))
    else:
        assert postgres_parts(url).password == password or "sslpassword" in form
        pieces = [repr(journal), repr(postgres_parts(url))]

    # then
    for piece in [*pieces, shown(url)]:
        assert HEAD not in piece
        assert TAIL not in piece


@given(password=st.text(min_size=1).filter(lambda text: "\0" not in text), user=st.text(min_size=1))
@example(password="a%b", user="me")  # noqa: S106 - made up
def test_a_percent_encoded_password_is_read_as_it_is(password: str, user: str) -> None:
    """Given any password, percent-encoded, then it is read as it is."""
    if "\0" in user or any("\ud800" <= one <= "\udfff" for one in user + password):
        return
    url = f"postgresql://{quote(user, safe='')}:{quote(password, safe='')}@h:5/db"
    parts = postgres_parts(url)
    assert (parts.user, parts.password, parts.places, parts.database) == (user, password, (("h", 5),), "db")
    by_name = postgres_parts(f"postgresql:///?user={quote(user, safe='')}&password={quote(password, safe='')}")
    assert (by_name.user, by_name.password) == (user, password)


@given(st.text(alphabet="ab1:/?#[]@%&=, .-", max_size=40))
def test_whatever_is_written_is_read_or_refused(rest: str) -> None:
    """Given any text behind the scheme, then it is read, or refused by an error of ours that has none of it."""
    refused: InvalidArgumentError | None = None
    try:
        parts = read_postgres_url(rest)
    except InvalidArgumentError as error:
        refused = error
    if refused is not None:
        assert (refused.__cause__, refused.__context__) == (None, None)
        return
    assert "#" not in rest
    assert parts.password is None or len(parts.password) < 3 or f":{parts.password}@" not in parts.shown


HOSTED = {
    "neon": "postgresql://alex:AbC123dEf@ep-cool-darkness-123456-pooler.us-east-2.aws.neon.tech/dbname?sslmode=require&channel_binding=require",
    "supabase": "postgresql://postgres.apbkobhfnmcqqzqeeqss:pw@aws-0-ca-central-1.pooler.supabase.com:5432/postgres",
    "supabase direct": "postgresql://postgres:pw@db.apbkobhfnmcqqzqeeqss.supabase.co:5432/postgres",
    "heroku": "postgres://uabc:p0f1@ec2-1-2-3-4.compute-1.amazonaws.com:5432/d7abc",
    "rds": "postgresql://app:pw@shop.abc123.eu-central-1.rds.amazonaws.com:5432/shop?sslmode=verify-full&sslrootcert=/etc/rds.pem",
    "render": "postgresql://shop_user:pw@dpg-abc-a.frankfurt-postgres.render.com/shop",
    "fly": "postgres://shop:pw@shop-db.flycast:5432/shop?sslmode=disable",
    "azure": "postgresql://app%40shop:pw@shop.postgres.database.azure.com:5432/postgres?sslmode=require",
    "azure by name": "postgres://shop.postgres.database.azure.com/postgres?user=app@shop&password=pw&sslmode=require",
    "digitalocean": "postgresql://doadmin:pw@db-fra1-1-do-user-1-0.b.db.ondigitalocean.com:25060/defaultdb?sslmode=require",
    "aiven": "postgres://avnadmin:pw@pg-1-x.aivencloud.com:12345/defaultdb?sslmode=require",
    "railway": "postgresql://postgres:pw@containers-us-west-1.railway.app:5432/railway",
    "cloud sql": "postgresql://app:pw@localhost/shop?host=/cloudsql/project:region:instance",
    "timescale": "postgres://tsdbadmin:pw@abc.tsdb.cloud.timescale.com:31234/tsdb?sslmode=require",
    "crunchy": "postgres://postgres:pw@p.abc.db.postgresbridge.com:5432/postgres?connect_timeout=15",
    "multiple": "postgresql://app:pw@one:5432,two:5432/shop?target_session_attrs=read-write&gssencmode=disable",
}


@pytest.mark.parametrize("provider", HOSTED)
def test_what_hosted_databases_give_is_read(provider: str) -> None:
    """Given the URL that a provider shows for copying, then it can be used as it is."""
    parts = postgres_parts(HOSTED[provider])
    assert parts.password in {"pw", "AbC123dEf", "p0f1"}
    assert parts.settings == {}
    assert parts.places[0][0]


def test_channels_that_cannot_be_bound_are_verified() -> None:
    """Given channel_binding=require, then the server's certificate is verified, or the URL is refused."""
    assert postgres_parts(HOSTED["neon"]).tls == {"sslmode": "verify-full", "sslrootcert": "system"}
    own = postgres_parts("postgresql://h/db?channel_binding=require&sslrootcert=/ca.pem&sslmode=prefer")
    assert own.tls == {"sslmode": "verify-full", "sslrootcert": "/ca.pem"}
    for url in (
        "postgresql://h/db?channel_binding=require&sslmode=disable",
        "postgresql:///db?channel_binding=require",
    ):
        with pytest.raises(InvalidArgumentError, match="channel_binding=require needs TLS"):
            postgres_parts(url)


@pytest.mark.parametrize(
    ("query", "why"),
    [
        ("gssencmode=require", "gssencmode only as disable or prefer"),
        ("require_auth=scram-sha-256", "require_auth is a parameter of libpq's"),
        ("hostaddr=10.0.0.1", "hostaddr is a parameter of libpq's"),
        ("replication=database", "replication only as"),
        ("client_encoding=latin1", "client_encoding only as"),
        ("target_session_attrs=standby", "a journal is written and read at the primary"),
        ("pgbouncer=true", "pgbouncer is a setting of Prisma"),
        ("supa=base-pooler.x", "supa is a mark of a hosting provider"),
        ("statement_cache_size=0", "statement_cache_size is a setting of a driver"),
        ("sslmode=on", "sslmode is none of"),
        ("channel_binding=yes", "channel_binding is none of"),
        ("connect_timeout=soon", "connect_timeout is not a whole number"),
        ("keepalives_idle=x", "keepalives_idle is not a whole number"),
        ("sslrootcert=system&sslmode=require", "goes with sslmode=verify-full only"),
        ("sslrootcert=system&sslcrl=/crl", "does not go with sslcrl"),
        ("ssl=maybe", "ssl is none of true"),
        ("sslmode", "parameter number 1 is not NAME=VALUE"),
        ("port=1,2", "another number of ports"),
        ("host=a,,b", "an empty name among its hosts"),
        ("port=x", "its port is not a number"),
    ],
)
def test_what_cannot_have_its_effect_is_named(query: str, why: str) -> None:
    """Given a parameter that this driver does not have, then the error says what it is."""
    with pytest.raises(InvalidArgumentError, match=why):
        postgres_parts(f"postgresql://h/db?{query}")


@pytest.mark.parametrize(
    "hosts", ["h:x", "h:0", "h:65536", "h:999999", "a,,b", "[::1", "::1", "[zz]", "a b", "h:1:2", "h%zz"]
)
def test_places_that_cannot_be(hosts: str) -> None:
    """Given a host or port that cannot be one, then it is refused, and not looked up."""
    with pytest.raises(InvalidArgumentError, match="Nothing was opened"):
        postgres_parts(f"postgresql://app:pw@{hosts}/db")


def test_parameters_have_their_effect() -> None:
    """Given parameters of libpq's, then each is where the connection is made from."""
    parts = postgres_parts(
        "postgresql://a:b@ignored/x?host=/run/postgresql,h&port=5,6&dbname=shop&application_name=till&connect_timeout=1"
        "&options=-c%20geqo%3Doff&keepalives=1&keepalives_idle=7&tcp_user_timeout=900&gssencmode=prefer&sslmode=require"
        "&fallback_application_name=other&search_path=own&passfile=/p"
    )
    assert parts.places == (("/run/postgresql", 5), ("h", 6))
    assert parts.database == "shop"
    assert parts.settings == {"application_name": "till", "options": "-c geqo=off", "search_path": "own"}
    assert (parts.tls, parts.passed_on, parts.connect_seconds) == ({"sslmode": "require"}, {"passfile": "/p"}, 2.0)
    assert (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1) in parts.socket_options
    assert postgres_parts("postgresql://h/?keepalives=0").socket_options[0][2] == 0
    assert postgres_parts("postgresql://[::1]:5/").places == (("::1", 5),)
    assert postgres_parts("postgresql://%2Frun%2Fx/db").places == (("/run/x", None),)


def test_connect_says_what_to_do() -> None:
    """Given the password of the report, then connect says how to write it."""
    password = f"s3cret{'#'}x"  # in no line of a traceback
    with pytest.raises(InvalidArgumentError, match="# as %23") as caught:
        connect(f"postgresql://app:{password}@h/db")
    assert not any("s3cret" in text or "#x" in text for text in told(caught.value))
