"""One attempt at a command: given to this process's own slots or sent to another node, until something comes back."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from casty_es.domain.decider import Query
from casty_es.errors import CastyError, InvalidValueError, NotOwnerError, PeerError, PeerLostError, UsageError
from casty_es.format.codec import decode_error, decode_reply, encode_command
from casty_es.gateway.journey import Journey
from casty_es.gateway.routing import Route, Routes
from casty_es.gateway.steps import Ended, Event, Expired, Replied, Send, Unreadable
from casty_es.journal.remembered import Mark
from casty_es.owner.owner import Owner
from casty_es.transport.wire import Answer, Answered, Ask, Failed, Refused

# A node that is well answers what was sent within some milliseconds; one that is not must not hold up a shutdown.
_ANSWER_SECONDS: Final = 2.0


class Attempts:
    """The attempts of one gateway; its routes are told what other nodes say of their slots."""

    def __init__(self, routes: Routes, owner: Owner | None) -> None:
        self._routes = routes
        self._owner = owner
        self._loop = asyncio.get_running_loop()
        self._awaited: set[asyncio.Future[Any]] = set()  # answers of other nodes to what was sent

    async def make(self, journey: Journey, send: Send) -> Event:
        """Send a command to its owner, and wait for the answer to this attempt."""
        route, attempt, _ = send
        try:
            if route is not None and route.here is None:
                return await self._asked(journey, route, send)
            return Replied(attempt, await self._decided(journey, route, send))
        except CastyError as error:
            return Ended(attempt, error, self._loop.time())

    async def _decided(self, journey: Journey, route: Route | None, send: Send) -> Any:
        """Give a command to this process's own slots."""
        owner, envelope = self._owner, journey.envelope
        assert owner is not None  # noqa: S101 - only a node has slots and a journal
        pending = owner.submit(
            journey.name,
            journey.shards,
            envelope.command,
            journey.command_id,
            slot=None if route is None else route.here,
            term=0 if route is None else route.term,
            local=envelope.local,
            repeat_after=send.after,
            idempotency_key=envelope.idempotency_key,
            metadata=journey.metadata,
        )
        timer = self._loop.call_at(journey.deadline, pending.time_out)
        try:
            return await pending.future
        finally:
            timer.cancel()

    async def _asked(self, journey: Journey, route: Route, send: Send) -> Event:
        """Send a command to another node."""
        assert route.link is not None  # noqa: S101 - a route is here or has a link
        envelope = journey.envelope
        command, body = encode_command(envelope.command)
        ask = Ask(
            route.slot,
            route.term,
            *journey.name,
            journey.shards,
            command,
            body,
            journey.command_id,
            journey.deadline - self._loop.time(),
            envelope.local,
            send.after,
            envelope.idempotency_key,
            journey.metadata,
        )
        remembered = self._routes.remembered.of(route.slot)
        answer = route.link.request(ask, credit=not hasattr(envelope.command, "request"))
        timer = self._loop.call_at(journey.deadline, _expire, answer)
        try:
            self._awaited.add(answer)
            return self._read(journey, route, send.attempt, await answer, remembered)
        except _ExpiredError:
            return Expired()
        finally:
            self._awaited.discard(answer)
            timer.cancel()

    def _read(self, journey: Journey, route: Route, attempt: int, answer: Answer, remembered: Mark | None) -> Event:
        match answer:
            case Answered(body=body, position=position, hash=hash_):
                self._routes.told(route, position, hash_)
                if not journey.envelope.local and isinstance(journey.command, Query):
                    _reach(route, position, remembered)
                try:
                    return Replied(attempt, decode_reply(body))
                except InvalidValueError as error:
                    return Unreadable(attempt, error, self._loop.time())
            case Refused():
                raise NotOwnerError(
                    answer.message,
                    slot=answer.slot,
                    node_id=answer.node_id,
                    address=answer.address,
                    epoch=answer.epoch,
                    shards=answer.shards,
                )
            case Failed():
                said = decode_error(answer.error, answer.message, answer.detail)
                if isinstance(said, UsageError):  # it is closing; that is no concern of this process
                    raise PeerLostError(f"The owner is closing: {said}", sent=True)
                # An answer that was too long for its way, or an error of a newer version, says nothing of the command.
                unclear = isinstance(said, PeerError) or type(said) is CastyError
                return Ended(attempt, said, self._loop.time(), unclear)
            case _:
                raise PeerLostError(f"A node answered a command with {type(answer).__name__}.", sent=True)

    async def settle(self) -> None:
        """Wait a moment for the answers to what was sent."""
        if self._awaited:
            await asyncio.wait(self._awaited, timeout=_ANSWER_SECONDS)


def _reach(route: Route, position: int, remembered: Mark | None) -> None:
    """Refuse an answer to a query that stands on less than what this process remembered when it asked.

    Either the owner does not know of a loss of records, or it has not noted yet what it has committed: locating it
    again, with what is remembered, tells.
    """
    if remembered is not None and remembered.place > (route.incarnation, position):
        raise NotOwnerError("The answer stood on less of the slot's log than is known here.", slot=route.slot)


class _ExpiredError(Exception):
    """The caller's time is up."""


def _expire(answer: asyncio.Future[Answer]) -> None:
    if not answer.done():
        answer.set_exception(_ExpiredError())
