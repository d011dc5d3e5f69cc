"""The ways to the structures: a living node if there is one, else a node of this command's own for a moment.

1. A node that was named with ``--node`` is asked, and nobody else; no database is opened.
2. Otherwise the journal says which nodes were there. One that answers is asked as any client asks it: a command that
   became a node beside it would only move slots to itself and back.
3. The node of another command is not asked, because it may be gone before it has answered: one joins it.
4. When no node answers, this process is one until the command is done.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Final, TypeVar
from uuid import uuid4

import typer

from casty_es.arguments import check_place
from casty_es.assembly import lease_manager
from casty_es.cli.common import say
from casty_es.cli.where import Where, split_address
from casty_es.client import ClusterClient
from casty_es.config import Settings
from casty_es.errors import ConfigurationError, PeerError, PeerRefusedError, SchemaError
from casty_es.handles.distributed import Distributed
from casty_es.journal.damaged import damage_of
from casty_es.journal.other_columns import other_columns
from casty_es.journal.port import NodeRow
from casty_es.journal.sql import SqlJournal
from casty_es.node import ClusteredActorSystem

T = TypeVar("T")

COMMAND_PREFIX: Final = "command-"
"""What the names of nodes that live for one command begin with."""

# A node that is there answers in milliseconds; an address where nobody is left may be silent.
_ANSWER_SECONDS: Final = 0.5
_ANSWERS_SECONDS: Final = 1.5


def change(where: Where, work: Callable[[Distributed], Awaitable[T]]) -> T:
    """Do something that may write. An SQLite file is made when there is none."""
    return asyncio.run(_done(where, work, create=True))


def read(where: Where, work: Callable[[Distributed], Awaitable[T]]) -> T:
    """Do something that only reads. No file is made."""
    return asyncio.run(_done(where, work, create=False))


async def _done(where: Where, work: Callable[[Distributed], Awaitable[T]], *, create: bool) -> T:
    async with reached(where, create=create) as d:
        return await work(d)


def inspect(url: str, work: Callable[[SqlJournal], Awaitable[T]]) -> T:
    """Look into the journal itself, without a system above it."""

    async def main() -> T:
        async with journal_at(url) as journal:
            return await work(journal)

    return asyncio.run(main())


@contextlib.asynccontextmanager
async def journal_at(url: str) -> AsyncIterator[SqlJournal]:
    """Yield a journal, open, beside whatever else has it open."""
    journal = SqlJournal(url)
    await journal.open()
    try:
        yield journal
    finally:
        await journal.close()


def look(url: str, work: Callable[[SqlJournal], Awaitable[T]]) -> tuple[T, bool]:
    """Look at the records of a journal; return what was found, and whether ``casty_meta`` or a whole column is damaged.

    That was said on stderr then, and the exit code is ``FOUND``.
    """

    async def main() -> tuple[T, bool]:
        journal = SqlJournal(url)
        damage = damage_of(await journal.open_to_read(every_slot=True))
        try:
            wrong = [*([] if damage is None else [damage]), *await other_columns(journal)]
            say(*(f"casty-es: {one} What can be read is shown all the same." for one in wrong), err=True)
            return await work(journal), bool(wrong)
        finally:
            await journal.close()

    return asyncio.run(main())


@contextlib.asynccontextmanager
async def reached(where: Where, *, create: bool) -> AsyncIterator[Distributed]:
    """Yield the structures."""
    if where.node is not None:
        async with where.client(where.node) as client:
            yield client.distributed()
        return
    journal = await opened(where.url, create=create)
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(journal.close)
        client_or_none = await _client(journal, where, stack)
        if client_or_none is not None:
            await journal.close()  # it is the nodes' now, for as long as the command lasts
            yield client_or_none.distributed()
            return
        if where.tls is not None and where.node_tls is None:
            raise ConfigurationError(
                "No node answers, and to be one for this command takes a certificate: give --tls-cert and --tls-key, "
                "or start a node. Nothing was done."
            )
        system = ClusteredActorSystem(
            journal=journal,
            name=where.system,
            port=0,  # the one that the environment names is for a node that stays
            advertise=_own_name(),
            node_id=f"{COMMAND_PREFIX}{uuid4()}",
            secret=where.secret,
            ssl=where.node_tls,
            session_url=where.session_url,
        )
        await stack.enter_async_context(system)
        yield system.distributed()


def _own_name() -> str | None:
    """Return by which host the environment says that others reach this one."""
    advertise = check_place(None, 0, None).advertise
    return advertise[0] if isinstance(advertise, tuple) else advertise


async def opened(url: str, *, create: bool) -> SqlJournal:
    """Open a journal; an SQLite file that is missing or of an older schema is made ready, if that is asked for."""
    journal = SqlJournal(url)
    try:
        await journal.open()
    except SchemaError:
        if not create or journal.file is None:
            raise
        from casty_es.journal import migrating  # noqa: PLC0415 - alembic is slow to import, and rarely needed

        await asyncio.to_thread(migrating.upgrade, url)  # refuses a file that is newer than this code
        await journal.open()
    return journal


async def _client(journal: SqlJournal, where: Where, stack: contextlib.AsyncExitStack) -> ClusterClient | None:
    """Connect to a node, until the stack is left; ``None`` when no node answers."""
    rows = [row for row in await journal.nodes() if row.address and not row.node_id.startswith(COMMAND_PREFIX)]
    if not rows:
        return None
    secret = where.secret or await journal.secret()
    refused: dict[str, PeerRefusedError] = {}
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_ANSWERS_SECONDS):
            for row in rows:
                assert row.address is not None  # noqa: S101 - looked at above
                try:
                    client = where.client(split_address(row.address), secret)
                    async with asyncio.timeout(_ANSWER_SECONDS):
                        return await stack.enter_async_context(client)
                except PeerRefusedError as error:
                    refused[row.node_id] = error
                except (PeerError, TimeoutError, typer.BadParameter):
                    continue  # or no address at all. The next one may answer, and there is still the journal
    # Another cluster's process may listen where a dead node did. A living node of this journal must not be left aside.
    if refused and (alive := await living(journal, rows, where.session_url) & refused.keys()):
        raise refused[alive.pop()]
    return None


async def living(journal: SqlJournal, rows: Iterable[NodeRow], session_url: str | None) -> set[str]:
    """Return which nodes have a lease session, without being one: nothing is written, and no slot is taken."""
    slots = (await journal.open()).slots
    session = await lease_manager(journal, Settings(), slots, session_url=session_url).open(
        f"{COMMAND_PREFIX}{uuid4()}"
    )
    try:
        return await session.living([row.node_id for row in rows])
    finally:
        await session.close()
