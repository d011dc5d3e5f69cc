"""The gateway of one process: the short way to an entity in memory here, and the loop around every longer journey.

What is done next is decided in ``journey.py``; here it is done: looking for the owner, sending, sleeping, waiting.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final
from uuid import UUID

from casty_es import runtime
from casty_es.background import Errands, finished
from casty_es.context import current_metadata
from casty_es.domain.catalog import KEYED
from casty_es.errors import CastyError, OutcomeUnknownError
from casty_es.gateway.attempts import Attempts
from casty_es.gateway.journey import Journey
from casty_es.gateway.port import CommandContext, RegionRef, ShardEnvelope, Undo
from casty_es.gateway.routing import Route, Routes
from casty_es.gateway.steps import (
    AT_ONCE,
    Cancelled,
    Closed,
    Done,
    Ended,
    Event,
    Expired,
    Extended,
    Found,
    Late,
    Send,
    Step,
    Wait,
)
from casty_es.hashes import keyed_command_id
from casty_es.journal.port import EntityName
from casty_es.owner.owner import Owner
from casty_es.owner.pending import Deadlines, Pending
from casty_es.owner.slot import split_term
from casty_es.printing import log_of
from casty_es.runtime import Runtime

_LOG: Final = log_of("casty_es.gateway")

UNDO_SECONDS: Final = 5.0
"""How long it is tried to undo what a caller asked for that is gone, or to learn what became of it; in seconds."""

# A call that was cancelled just before learns of it so many turns of the event loop later, through the tasks around it.
_TURNS: Final = 10


class Gateway:
    """The way of one process, which has slots of its own unless it is a client, to every structure."""

    def __init__(self, routes: Routes, owner: Owner | None, runtime: Runtime) -> None:
        self.routes = routes
        self.owner = owner
        self.runtime = runtime
        self.loop = asyncio.get_running_loop()
        self.closed = False
        self._attempts = Attempts(routes, owner)
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

        When the time is up there is ``NotDoneError`` if it certainly did not happen, ``OutcomeUnknownError`` if it may
        have. What the envelope says is to be undone for a caller that is cancelled is undone before he hears of it.
        """
        command_id = self.runtime.new_id()
        deadline = self.loop.time() + timeout
        context = CommandContext(command_id, deadline)
        envelope = msg_factory(context)
        # A map's entities are its keys; every other structure is one entity.
        name = EntityName(ref.kind, ref.name, envelope.entity_id if ref.kind in KEYED else "")
        key, metadata = envelope.idempotency_key, current_metadata()
        if key is not None:
            command_id = keyed_command_id(*name, key)
            context = CommandContext(command_id, deadline)
            envelope = msg_factory(context)
        owner = self.owner
        here = None if owner is None else owner.in_memory(name)
        if owner is None or here is None or envelope.behind is not None:
            journey = self._journey(name, ref.shards, envelope, command_id, deadline, metadata)
            return await self._told(context, journey, AT_ONCE)
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
            reply = await pending.future
        except CastyError as error:
            failed = error
        except asyncio.CancelledError as error:
            if envelope.undo is None:
                raise
            failed = error
        else:
            if envelope.undo is not None:
                context.incarnation = split_term(term)[0]
            return reply
        finally:
            if pending is not None:
                line.leave(pending)
        journey = self._journey(name, ref.shards, envelope, command_id, deadline, metadata)
        journey.note(here.number, term, after)
        if isinstance(failed, asyncio.CancelledError):
            await self._given_up(journey, pending)
            raise failed
        step = self._after(journey, None, Ended(journey.attempt, failed, self.loop.time()))
        # What was looked for nowhere yet is looked for at once.
        return await self._told(context, journey, AT_ONCE if isinstance(step, Wait) else step, pending)

    async def _told(self, context: CommandContext, journey: Journey, step: Step, pending: Pending | None = None) -> Any:
        """Carry a command to its reply, and note for its caller what that stands on."""
        try:
            reply = await self._go_on(journey, step, pending)
        except CastyError:
            context.sent = journey.sent
            raise
        context.incarnation = journey.incarnation
        return reply

    def _journey(
        self,
        name: EntityName,
        shards: int,
        envelope: ShardEnvelope,
        command_id: bytes,
        deadline: float,
        metadata: str | None,
        *,
        undoes: bool = False,
    ) -> Journey:
        reads = self.owner is not None
        return Journey(name, shards, envelope, command_id, deadline, metadata, reads=reads, undoes=undoes)

    async def _go_on(self, journey: Journey, step: Step, pending: Pending | None = None) -> Any:
        """Carry a command to its reply; for a caller that is gone, undo it."""
        undo = journey.envelope.undo
        try:
            try:
                return await self._carry(journey, step)
            except OutcomeUnknownError:
                if undo is None or not undo.late or self.closed:
                    raise
                return await self._carry(journey, journey.next(Extended(self.loop.time() + UNDO_SECONDS)))
        except asyncio.CancelledError:
            await self._given_up(journey, pending)
            raise

    async def _carry(self, journey: Journey, step: Step) -> Any:
        """Do what a journey says until there is an answer or the time is up."""
        while True:
            match step:
                case Wait():
                    event = await self._look(journey, step)
                    if self.closed:
                        journey.next(Closed())
                    step = journey.next(event)
                case Send(route=route):
                    event = await self._attempts.make(journey, step)
                    if self.closed:
                        journey.next(Closed())
                    step = self._after(journey, route, event)
                case Done(reply=reply, error=error):
                    if error is None:
                        return reply
                    raise error
                case Late(error=error):
                    raise error

    def _after(self, journey: Journey, route: Route | None, event: Event) -> Step:
        """Tell a journey how its attempt ended; when it goes on, the route was not the right one."""
        step = journey.next(event)
        if isinstance(step, Wait) and isinstance(event, Ended):
            self.routes.correct(journey.name, route, event.error)
        return step

    async def _look(self, journey: Journey, wait: Wait) -> Event:
        """Let others finish what stands in the way, then look for the owner of the slot."""
        if wait.last:
            await asyncio.sleep(wait.seconds)
            return Expired()
        if wait.seconds:
            spread = runtime.spread(0.5, 1.0)  # between those who wait alike
            await asyncio.sleep(wait.seconds * spread)
        name, shards = journey.name, journey.shards
        try:
            route = self.routes.known(name)
            if route is None:
                async with asyncio.timeout_at(journey.deadline):
                    route = await self.routes.route_to(name, shards, reads=journey.reads)
        except CastyError as error:
            return Ended(0, error, self.loop.time())
        except TimeoutError:
            return Expired()
        return Found(route, self.loop.time(), None if route is not None else self.routes.untaken(name, shards))

    async def _given_up(self, journey: Journey, pending: Pending | None) -> None:
        """Undo what a caller asked for that is gone, as far as that was agreed on."""
        undo = journey.envelope.undo
        if undo is not None and (undo.even_unsent or pending is None or not pending.dropped()):
            await finished(self._undo(journey, undo))

    def _undo(self, journey: Journey, undo: Undo) -> asyncio.Task[None]:
        """Begin to undo what was asked for; whoever closes this gateway waits for it."""
        return self._undoing.begin(self._undone(journey, undo), name="casty-undo")

    async def _undone(self, journey: Journey, undo: Undo) -> None:
        if journey.after is None and not undo.even_unsent:
            return
        try:
            reply = None
            if undo.needs_reply:
                reply = await self._carry(journey, journey.next(Cancelled(self.loop.time() + UNDO_SECONDS)))
            command = undo.command(reply)
            if command is not None:
                until, command_id = self.loop.time() + UNDO_SECONDS, self.runtime.new_id()
                back = ShardEnvelope("", command)
                undoing = self._journey(
                    journey.name, journey.shards, back, command_id, until, journey.metadata, undoes=True
                )
                await self._carry(undoing, AT_ONCE)
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
        await self._attempts.settle()
        for _ in range(_TURNS):
            await asyncio.sleep(0)
        if self.owner is not None:
            await self.owner.drained()
        await self.settle()
        self._deadlines.close()


def _cut_off(why: str) -> None:
    _LOG.error("What a cancelled caller asked for was not undone: %s. Its leases run out by themselves.", why)
