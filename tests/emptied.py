"""Postgres databases that are used again: emptied between tests, which costs a tenth of what a new one does.

Only one in which nothing but rows was changed is used again; what the template has in its tables is put back. Whoever
changed a table, a trigger, a privilege or a setting leaves a database behind that is dropped.
"""

from __future__ import annotations

import asyncio
import io
import uuid
from collections import defaultdict
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

import asyncpg

from casty_es.journal.urls import postgres_dsn

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

# To empty a larger one costs more than a new one does, and leaves its pages behind.
_MOST_BYTES = 4 * 1024 * 1024

# What stands in the catalogs of this database beside what every database has, and each row's version of it.
_SHAPE = """
    SELECT (SELECT oid FROM pg_database WHERE datname = current_database()),
        md5(string_agg(version, ',' ORDER BY version))
    FROM (
        {catalogs}
        UNION ALL
        SELECT 'settings' || (s.*)::text FROM pg_db_role_setting s
        WHERE setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())
        UNION ALL
        SELECT 'access' || coalesce(datacl::text, '') FROM pg_database WHERE datname = current_database()
    ) versions(version)
""".format(
    catalogs="\n        UNION ALL\n        ".join(
        f"SELECT '{catalog}' || count(*) || ' ' || coalesce(sum(hashtextextended(xmin || ' ' || ctid, 0)), 0) "
        f"FROM {catalog} WHERE {which}"
        for catalog, which in {
            "pg_attribute": "attrelid >= 16384",
            "pg_default_acl": "true",
            "pg_event_trigger": "true",
            "pg_extension": "true",
            "pg_inherits": "true",
            "pg_namespace": "true",
            "pg_policy": "true",
            "pg_publication": "true",
            "pg_statistic_ext": "true",
            **dict.fromkeys(
                ("pg_attrdef", "pg_class", "pg_constraint", "pg_proc", "pg_rewrite", "pg_trigger", "pg_type"),
                "oid >= 16384",
            ),
        }.items()
    )
)
_TABLES = """
    SELECT nspname, relname FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace
    WHERE relkind = 'r' AND pg_class.oid >= 16384
"""
_NO_ROWS = 21  # what COPY writes in its binary format around no row at all
_SIZE = "SELECT coalesce(sum(pg_total_relation_size(oid)), 0) FROM pg_class WHERE relkind = 'r' AND oid >= 16384"
_OTHERS_END = """
    SELECT bool_and(pg_terminate_backend(pid, 10000)) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
"""


class _Copy(NamedTuple):
    """A copy of a template: where it is, the shape that it was made with, and what its tables held."""

    url: str
    shape: asyncpg.Record
    held: dict[tuple[str, str], bytes]


class Databases:
    """The databases of one server that wait for the next test."""

    def __init__(self, server: str) -> None:
        self._server = server
        self._free: dict[str, list[_Copy]] = defaultdict(list)

    @contextmanager
    def copy_of(self, template: str) -> Iterator[str]:
        """Give the URL of a database that holds what the template holds, until it is left."""
        free = self._free[template]
        copy = free.pop() if free else asyncio_run(self._made, template)
        try:
            yield copy.url
        finally:
            if asyncio_run(_restored, copy):
                free.append(copy)
            else:
                asyncio_run(self._dropped, copy.url)

    def drop(self, template: str) -> None:
        """Drop the copies of a template, which wait for nobody any more."""
        for copy in self._free.pop(template, []):
            asyncio_run(self._dropped, copy.url)

    def close(self) -> None:
        """Drop them all."""
        for template in list(self._free):
            self.drop(template)

    async def _made(self, template: str) -> _Copy:
        name = f"casty_test_{uuid.uuid4().hex}"
        await _run(self._server, lambda server: server.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"'))
        url = urlsplit(self._server)._replace(path=f"/{name}").geturl()
        return await _run(url, lambda connection: _described(url, connection))

    async def _dropped(self, url: str) -> None:
        name = urlsplit(url).path.removeprefix("/")
        await _run(self._server, lambda server: server.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'))


def asyncio_run(function: Callable[..., Awaitable[Any]], *arguments: Any) -> Any:
    """Run a coroutine function on a loop of its own, whatever policy a test has set."""
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        return runner.run(function(*arguments))


async def _run(url: str, work: Callable[[asyncpg.Connection], Awaitable[Any]]) -> Any:
    connection = await asyncpg.connect(postgres_dsn(url))
    try:
        return await work(connection)
    finally:
        await connection.close()


async def _described(url: str, connection: asyncpg.Connection) -> _Copy:
    held = {}
    for schema, table in await connection.fetch(_TABLES):
        rows = io.BytesIO()
        await connection.copy_from_query(f'SELECT * FROM "{schema}"."{table}"', output=rows, format="binary")
        held[schema, table] = rows.getvalue()
    return _Copy(url, await connection.fetchrow(_SHAPE), held)


async def _restored(copy: _Copy) -> bool:
    """Bring a copy back to what the template is; tell whether that is what it is now."""
    try:
        return bool(await _run(copy.url, lambda connection: _emptied(copy, connection)))
    except (asyncpg.PostgresError, OSError):
        return False  # it was dropped, or its server was; whatever it is, the next test gets another


async def _emptied(copy: _Copy, connection: asyncpg.Connection) -> bool:
    if await connection.fetchval(_OTHERS_END) is False or await connection.fetchrow(_SHAPE) != copy.shape:
        return False
    if await connection.fetchval(_SIZE) > _MOST_BYTES:
        return False
    async with connection.transaction():
        await connection.execute("SET LOCAL session_replication_role = replica")  # the journal's triggers refuse it
        await connection.execute("; ".join(f'DELETE FROM "{schema}"."{table}"' for schema, table in copy.held))
        for (schema, table), rows in copy.held.items():
            if len(rows) > _NO_ROWS:
                await connection.copy_to_table(table, schema_name=schema, source=io.BytesIO(rows), format="binary")
    return True
