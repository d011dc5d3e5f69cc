"""The gateway of one process: the short way to an entity in memory here, and the start of every longer journey."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final
from uuid import UUID

from casty_es.background import Errands, finished
from casty_es.context import current_metadata
from casty_es.errors import CastyError, OutcomeUnknownError
from casty_es.gateway.deadlines import Deadlines
from casty_es.gateway.directory import Directory
from casty_es.gateway.journey import Journey
from casty_es.gateway.port import CommandContext, RegionRef, ShardEnvelope, Undo
from casty_es.gateway.routing import Routes
from casty_es.hashes import keyed_command_id
from casty_es.journal.port import EntityName
from casty_es.owner.owner import Owner
from casty_es.owner.pending import Pending
from casty_es.printing import log_of
from casty_es.runtime import Runtime

__all__ = ["UNDO_SECONDS", "Gateway"]

_LOG: Final = log_of("casty_es.gateway")

UNDO_SECONDS: Final = 5.0
"""How long it is tried to undo what a caller asked for that is gone, or to learn what became of it; in seconds."""

# A node that is well answers what was sent within some milliseconds; one that is not must not hold up a shutdown.
_ANSWER_SECONDS: Final = 2.0
# A call that was cancelled just before learns of it so many turns of the event loop later, through the tasks around it.
_TURNS: Final = 10


class Gateway:
    """The way of one process to every structure.

    Parameters
    ----------
    directory : Directory
        Where structures and nodes are looked up.
    routes : Routes
        Where owners are found.
    owner : Owner | None
        This process's own slots, unless it is a client.
    """

    def __init__(self, directory: Directory, routes: Routes, owner: Owner | None, runtime: Runtime) -> None:
        self.directory = directory
        self.routes = routes
        self.owner = owner
        self.runtime = runtime
        self.loop = asyncio.get_running_loop()
        self.shards: dict[tuple[str, str], int] = {}
        self.reads: dict[int, int] = {}
        self.closed = False
        self.awaited: set[asyncio.Future[Any]] = set()  # answers of other nodes to what was sent
        self._deadlines = Deadlines(self.loop)
        self._undoing = Errands(_cut_off)

    async def ask(
        self,
        ref: RegionRef,
        msg_factory: Callable[[CommandContext], ShardEnvelope],
        *,
        timeout: float,  # noqa: ASYNC109 - the seed's name
    ) -> Any:
        """Send a command and wait for its reply, at most ``timeout`` seconds.

        Raises
        ------
        NotDoneError
            The time was up; the command certainly did not happen.
        OutcomeUnknownError
            The time was up; the command may have happened.
        asyncio.CancelledError
            The caller was cancelled. What the envelope says is to be undone then has been undone before.
        """
        command_id = self.runtime.new_id()
        deadline = self.loop.time() + timeout
        envelope = msg_factory(CommandContext(command_id, deadline))
        # A map's entities are its keys; every other structure is one entity.
        name = EntityName(ref.kind, ref.name, envelope.entity_id if ref.kind == "map" else "")
        key, metadata = envelope.idempotency_key, current_metadata()
        if key is not None:
            command_id = keyed_command_id(*name, key)
            envelope = msg_factory(CommandContext(command_id, deadline))
        owner = self.owner
        here = None if owner is None else owner.in_memory(name)
        if owner is None or here is None:
            return await self._go_on(
                Journey(self, name, ref.shards, envelope, command_id, deadline, metadata), envelope.undo
            )
        # The short way: no search, nothing to wait for but the reply.
        term, after = here.term, here.head.position
        line = self._deadlines.line(timeout, deadline)
        pending: Pending | None = None
        failed: CastyError | asyncio.CancelledError
        try:
            pending = owner.submit(
                name,
                ref.shards,
                envelope.command,
                command_id,
                slot=here,
                term=term,
                local=envelope.local,
                idempotency_key=key,
                metadata=metadata,
            )
            line.add(pending, deadline)
            return await pending.future
        except CastyError as error:
            failed = error
        except asyncio.CancelledError as error:
            if envelope.undo is None:
                raise
            failed = error
        finally:
            if pending is not None:
                line.leave(pending)
        journey = Journey(self, name, ref.shards, envelope, command_id, deadline, metadata)
        journey.slot, journey.after, journey.sent_under = here.number, after, term
        return await self._go_on(journey, envelope.undo, pending, failed)

    async def _go_on(
        self,
        journey: Journey,
        undo: Undo | None,
        pending: Pending | None = None,
        failed: CastyError | asyncio.CancelledError | None = None,
    ) -> Any:
        """Carry a command, or go on with one, to its reply; for a caller that is gone, undo it."""
        try:
            try:
                if failed is not None:
                    journey.judged(failed)
                return await journey.run()
            except OutcomeUnknownError:
                if undo is None or not undo.late or self.closed:
                    raise
                journey.deadline = self.loop.time() + UNDO_SECONDS
                return await journey.run()
        except asyncio.CancelledError:
            if undo is not None and (undo.even_unsent or pending is None or not pending.dropped()):
                await finished(self._undo(journey, undo))
            raise

    def _undo(self, journey: Journey, undo: Undo) -> asyncio.Task[None]:
        """Begin to undo what was asked for; whoever closes this gateway waits for it."""
        return self._undoing.begin(self._undone(journey, undo), name="casty-undo")

    async def _undone(self, journey: Journey, undo: Undo) -> None:
        if journey.after is None and not undo.even_unsent:
            return
        try:
            reply = await journey.again(self.loop.time() + UNDO_SECONDS) if undo.needs_reply else None
            command = undo.command(reply)
            if command is not None:
                until, command_id = self.loop.time() + UNDO_SECONDS, self.runtime.new_id()
                envelope = ShardEnvelope("", command)
                await Journey(self, journey.name, journey.shards, envelope, command_id, until, journey.metadata).undo()
        except CastyError as error:
            _LOG.error(
                "A caller of %s on the %s %r was cancelled, and what it asked for under the command id %s could not be "
                "undone: %s",
                type(journey.command).__name__,
                journey.name.kind,
                journey.name.name,
                UUID(bytes=journey.command_id),
                error,
            )

    async def settle(self) -> None:
        """Wait until what cancelled callers asked for is undone."""
        await self._undoing.settled()

    async def close(self) -> None:
        """Take nothing more in; wait a moment for the answers to what was sent, so that its callers get them.

        What is undone for callers that are cancelled meanwhile is waited for, too.
        """
        self.closed = True
        if self.awaited:
            await asyncio.wait(self.awaited, timeout=_ANSWER_SECONDS)
        for _ in range(_TURNS):
            await asyncio.sleep(0)
        if self.owner is not None:
            await self.owner.drained()
        await self.settle()
        self._deadlines.close()


def _cut_off(why: str) -> None:
    _LOG.error("What a cancelled caller asked for was not undone: %s. Its leases run out by themselves.", why)
