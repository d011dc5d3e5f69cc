"""How a connection to Postgres is made from a URL, and what is told of its errors."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import traceback
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import asyncpg
import pytest

from casty_es.cli.app import app, run
from casty_es.errors import CastyError, InvalidArgumentError, JournalUnavailableError
from casty_es.journal.driver_errors import without_values
from casty_es.journal.hosts import dial
from casty_es.journal.migrating import upgrade
from casty_es.journal.restoring import Restored, restoring
from casty_es.journal.schema import current
from casty_es.journal.sql import SqlJournal
from tests.faults.standby import pair

Sql = Callable[..., list[tuple[Any, ...]]]

VALUE = "vAlUe-of-a-person"


def with_query(url: str, **parameters: str) -> str:
    """Return the URL with more parameters."""
    place = urlsplit(url)
    query = "&".join([*filter(None, [place.query]), *(f"{name}={quote(value)}" for name, value in parameters.items())])
    return place._replace(query=query).geturl()


@contextlib.asynccontextmanager
async def reached_by_tcp(url: str) -> AsyncIterator[str]:
    """Yield a URL by which the server, which listens at a socket, is reached over TCP."""
    place = urlsplit(url)
    [folder] = parse_qs(place.query)["host"]
    tasks: set[asyncio.Task[Any] | None] = set()
    writers: list[asyncio.StreamWriter] = []

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.current_task())
        writers.append(writer)
        there, back = await asyncio.open_unix_connection(f"{folder}/.s.PGSQL.5432")
        writers.append(back)
        tasks.update({asyncio.create_task(pump(reader, back)), asyncio.create_task(pump(there, writer))})

    server = await asyncio.start_server(accepted, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield f"postgresql://{place.username}@127.0.0.1:{port}{place.path}"
    finally:
        server.close()
        for task in filter(None, tasks):
            task.cancel()
        await asyncio.gather(*filter(None, tasks), return_exceptions=True)
        for writer in writers:
            writer.transport.abort()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


def test_parameters_reach_the_server(postgres_url: str) -> None:
    """Given parameters in the URL, then the session has them; what the session must have wins."""
    # given
    url = with_query(
        postgres_url,
        application_name="till",
        options="-c geqo=off",
        search_path="own",
        statement_timeout="7",
        gssencmode="disable",
        channel_binding="prefer",
        connect_timeout="5",
        target_session_attrs="read-write",
    )

    # when
    async def main() -> list[str]:
        connection = await dial(url, {"statement_timeout": "0"})
        try:
            names = ("application_name", "geqo", "search_path", "statement_timeout")
            return [await connection.fetchval("SELECT current_setting($1)", name) for name in names]
        finally:
            await connection.close()

    # then
    assert asyncio.run(main()) == ["till", "off", "own", "0"]


def test_keepalives_are_set(postgres_url: str) -> None:
    """Given keepalives in the URL, then the socket has them."""

    async def main() -> tuple[int, int, int]:
        async with reached_by_tcp(postgres_url) as url:
            connection = await dial(f"{url}?keepalives_idle=41&tcp_user_timeout=9000&sslmode=disable", {})
            try:
                used = connection._transport.get_extra_info("socket")
                return (
                    used.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE),
                    used.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE),
                    used.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT),
                )
            finally:
                await connection.close()

    assert asyncio.run(main()) == (1, 41, 9000)


def test_a_silent_host_costs_its_own_time_only(postgres_journal_url: str) -> None:
    """Given hosts that are silent or closed before the one that answers, then that one is found."""

    async def main() -> int:
        silent = socket.create_server(("127.0.0.1", 0))
        closed = socket.create_server(("127.0.0.1", 0))
        ports = [silent.getsockname()[1], closed.getsockname()[1]]
        closed.close()
        with contextlib.closing(silent):
            async with reached_by_tcp(postgres_journal_url) as url:
                place = urlsplit(url)
                hosts = f"{place.username}@127.0.0.1:{ports[0]},127.0.0.1:{ports[1]},127.0.0.1:{place.port}"
                journal = SqlJournal(f"postgresql://{hosts}{place.path}?connect_timeout=2&sslmode=disable")
                meta = await journal.open()
                await journal.close()
                return meta.slots

    assert asyncio.run(main()) == 256


def test_of_several_hosts_the_primary_is_taken(sql: Sql) -> None:
    """Given a standby before the primary, then a journal is migrated and opened at the primary, whatever is asked."""
    with pair(sql) as both:
        # given
        both.follow()
        assert both._standby is not None
        sockets = [both._standby[1], both._primary[1]]
        url = urlsplit(both.url())._replace(query=f"host={','.join(map(str, sockets))}").geturl()

        # when
        upgrade(url)

        # then
        assert current(f"{url}&target_session_attrs=any") is not None

        async def main() -> bool:
            journal = SqlJournal(url)
            await journal.open()
            try:
                return bool((await journal.query("SELECT pg_is_in_recovery()"))[0][0])
            finally:
                await journal.close()

        assert asyncio.run(main()) is False
        alone = urlsplit(url)._replace(query=f"host={sockets[0]},{sockets[0]}").geturl()
        with pytest.raises(JournalUnavailableError, match=r"none of 2 hosts is a primary that answers.*no primary"):
            current(alone)


def test_a_setting_that_no_server_has_is_named(postgres_journal_url: str) -> None:
    """Given a parameter that is nobody's, then the error names it."""
    url = with_query(postgres_journal_url, nonsense="1")
    for use in (lambda: current(url), lambda: asyncio.run(SqlJournal(url).open())):
        with pytest.raises(InvalidArgumentError, match="parameter nonsense of the URL is none of libpq's"):
            use()


def test_channel_binding_is_not_passed_over(postgres_url: str) -> None:
    """Given channel_binding=require and a server without a certificate that can be verified, then nothing is sent."""

    async def main() -> None:
        async with reached_by_tcp(postgres_url) as url:
            await SqlJournal(f"{url}?channel_binding=require").open()

    with pytest.raises(JournalUnavailableError, match="SSL"):
        asyncio.run(main())


def commands() -> list[list[str]]:
    """Return every command that takes a URL, with the arguments that it needs."""
    found = []

    def walk(command: Any, path: list[str]) -> None:
        for name, one in getattr(command, "commands", {}).items():
            walk(one, [*path, name])
        if not hasattr(command, "commands"):
            needed = [one for one in command.params if one.required and one.param_type_name == "argument"]
            if any("--url" in one.opts for one in command.params) or path == ["copy"]:
                found.append([*path, *("1" for _ in needed)])

    from typer.main import get_command

    walk(get_command(app), [])
    return found


URLS = ("postgresql://app:{}@h/db", "postgresql://app@h/db?password={}&x=y", "postgresql://app:{}", "{}")


@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_every_command_refuses_without_showing(
    command: list[str], capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a URL that cannot be read, then each command says what to do in one line, and no piece of the password."""
    monkeypatch.chdir(tmp_path)
    Path("1").touch()
    special = {
        ("copy",): ["copy"],
        ("export",): ["export", "out.jsonl"],
        ("log",): ["log", "counter/x"],
        ("show",): ["show", "counter/x"],
        ("who",): ["who", "lock/x"],
        ("timeline",): ["timeline", "lock/x"],
        ("lock", "run"): ["lock", "run", "x", "--", "true"],
        ("semaphore", "run"): ["semaphore", "run", "x", "--permits", "1", "--", "true"],
    }
    words = next((words for path, words in special.items() if tuple(command[: len(path)]) == path), command)
    for form in URLS:
        url = form.format("Zq7xKw#/@Wv9pLm")
        if words[0] == "copy":
            arguments = ["copy", url, "sqlite:///to.db"]
        elif "--" in words:
            split = words.index("--")
            arguments = [*words[:split], "--url", url, *words[split:]]
        else:
            arguments = [*words, "--url", url]
        code = run(arguments)
        out, err = capfd.readouterr()
        assert code != 0, (arguments, out)
        assert "Zq7xKw" not in out + err
        assert "Wv9pLm" not in out + err
        assert "Traceback" not in out + err


def chain(error: BaseException | None) -> str:
    """Return everything that is printed of an error and of those behind it."""
    text = ""
    while error is not None:
        text += "".join(traceback.format_exception(error)) + repr(error)
        error = error.__context__
    return text


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO casty_structures (kind, name, shards) VALUES ('counter', '{}', NULL)",
        "INSERT INTO casty_structures (kind, name, shards) VALUES ('counter', '{0}', 1), ('counter', '{0}', 2)",
        "SELECT '{}'::int",
        "SELECT '{}'::json",
        "SELECT '{}'::timestamptz",
        "SELECT jsonb_path_query('1', '${} x')",
    ],
)
def test_values_stay_out_of_errors(postgres_journal_url: str, statement: str, caplog: pytest.LogCaptureFixture) -> None:
    """Given a statement that Postgres refuses with the row or the value, then neither is told, nor kept, nor logged."""
    caplog.set_level(logging.DEBUG)

    async def main() -> list[CastyError]:
        journal = SqlJournal(postgres_journal_url)
        await journal.open()
        errors = []
        try:
            for use in (
                lambda: journal.query(statement.format(VALUE)),
                lambda: journal.maintain([(statement.format(VALUE), ())]),
                lambda: journal.query("SELECT $1::int", VALUE),
                lambda: journal.maintain([("SELECT $1::int", (VALUE,))]),
            ):
                with pytest.raises(CastyError) as caught:
                    await use()
                errors.append(caught.value)
        finally:
            await journal.close()
        async with restoring(postgres_journal_url) as database:
            bad = Restored(structures=[("counter", VALUE, None, None)])  # type: ignore[list-item]
            with pytest.raises(CastyError) as caught:
                await database.write(bad)
            errors.append(caught.value)
        return errors

    for error in asyncio.run(main()):
        told = "\n".join(line for line in chain(error).splitlines() if "statement" not in line)
        assert VALUE not in told
        assert "DETAIL" not in told
    assert VALUE not in caplog.text


def test_what_is_not_a_value_is_kept() -> None:
    """Given an error of Postgres', then its type, code and constraint stay."""
    error = asyncpg.UniqueViolationError('duplicate key value violates unique constraint "x"')
    error.detail, error.constraint_name = f"Key (name)=({VALUE}) already exists.", "x"
    assert without_values(error) is error
    assert str(error) == 'duplicate key value violates unique constraint "x"'
    assert (error.sqlstate, error.constraint_name) == ("23505", "x")
