"""Carrying a command to the owner of its slot and the reply back, under one id and until the caller's deadline.

1. A command is addressed to the term of a route. One for an entity in memory here goes straight to the owner.
2. Every sending after the first is a repeat, and carries the slot's position that was known when the command was first
   sent: the owner looks behind it before it acts. Only the newest attempt's answer counts.
3. A refusal says that its attempt came to nothing. A lost link, or an owner that lost its lease in between, says
   nothing: from then on the command is in doubt, and only an answer settles it.
4. When the deadline ends first, or the system is closed, a command in doubt has an ``OutcomeUnknownError``; every other
   certainly did not happen (``verdicts.py``). After it nothing is sent any more.
5. A command in doubt is denied only by an owner that looked into the journal before it refused it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from casty_es import runtime, verdicts
from casty_es.domain.decider import Command, Query
from casty_es.errors import (
    CastyError,
    ConfigurationError,
    InvalidValueError,
    JournalError,
    JournalMovedError,
    JournalRegressedError,
    JournalUnavailableError,
    LeaseLostError,
    NotDoneError,
    NotOwnerError,
    OutcomeUnknownError,
    OverloadedError,
    PeerError,
    PeerLostError,
    Sent,
    StillInLineError,
    UsageError,
)
from casty_es.format.codec import decode_error, decode_reply, encode_command
from casty_es.gateway.port import ShardEnvelope
from casty_es.gateway.routing import Route
from casty_es.hashes import shard_of, slot_of
from casty_es.journal.port import EntityName
from casty_es.journal.remembered import Mark
from casty_es.owner.owner import Owner
from casty_es.owner.pending import Pending
from casty_es.owner.slot import split_term
from casty_es.transport.wire import Answer, Answered, Ask, Failed, Refused
from casty_es.verdicts import Evidence

if TYPE_CHECKING:
    from casty_es.gateway.asking import Gateway

__all__ = ["Journey"]

_FIRST_PAUSE_SECONDS: Final = 0.01
_LONGEST_PAUSE_SECONDS: Final = 0.25

# Two nodes may each point to the other one for a moment.
_HINTS_IN_A_ROW: Final = 3

# The owner's timer, which drops a command in time, may ring a little before this one's.
_ROUNDING_SECONDS: Final = 0.05

# A slot that nobody holds is read from the journal; one that is read this often is worth holding.
_READS_WITHOUT_OWNER: Final = 16


class Journey:
    """One command on its way."""

    __slots__ = (
        "after",
        "command",
        "command_id",
        "deadline",
        "doubt",
        "gateway",
        "key",
        "local",
        "metadata",
        "name",
        "needs_owner",
        "persists",
        "route",
        "sent_under",
        "shards",
        "slot",
        "undoes",
        "why",
    )

    def __init__(
        self,
        gateway: Gateway,
        name: EntityName,
        shards: int,
        envelope: ShardEnvelope,
        command_id: bytes,
        deadline: float,
        metadata: str | None = None,
    ) -> None:
        self.gateway = gateway
        self.name = name
        self.shards = shards
        self.command: Command = envelope.command
        self.local = envelope.local
        self.key = envelope.idempotency_key
        self.command_id = command_id
        self.deadline = deadline
        self.metadata = metadata
        self.after: int | None = None  # where the slot was when the command was first sent
        self.slot = -1
        self.sent_under = 0  # the highest term
        self.doubt = False
        self.persists = envelope.undo is not None and envelope.undo.persists
        self.undoes = False  # for a caller that is gone, also while the gateway is being closed
        self.needs_owner = False  # the journal does not tell whether those live who hold something
        self.route: Route | None = None
        self.why: CastyError | None = None

    async def run(self) -> Any:
        """Go on until there is an answer or the time is up."""
        pause = _FIRST_PAUSE_SECONDS
        hints = _HINTS_IN_A_ROW
        while True:
            try:
                route = self._known() or await self._found_in_time()
                if self._shut():  # nothing leaves any more, also where an owner was just found
                    raise verdicts.closed(self._evidence()) from self.why
                if route is not None or self._reads_unowned():
                    return await self._attempt(route)
            except UsageError:
                raise verdicts.closed(self._evidence()) from self.why
            except CastyError as error:
                if self._shut() and isinstance(error, JournalError | PeerError):
                    self.doubt = self.doubt or verdicts.leaves_doubt(error)
                    raise verdicts.closed(self._evidence()) from error
                self.judge(error)
                if isinstance(error, NotOwnerError) and error.node_id is not None and hints:
                    hints -= 1
                    continue  # it said where to go
            hints = _HINTS_IN_A_ROW
            await self._pause(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    async def again(self, deadline: float) -> Any:
        """Go on with a command whose caller has gone, to learn what became of it."""
        self.deadline, self.doubt, self.undoes = deadline, True, True
        return await self.run()

    async def undo(self) -> Any:
        """Take back what a caller asked for that has gone, whatever stands in the way for a while."""
        self.persists = self.undoes = True
        return await self.run()

    def _shut(self) -> bool:
        return self.gateway.closed and not self.undoes

    async def _pause(self, seconds: float) -> None:
        """Let others finish what stands in the way."""
        left = self.deadline - self.gateway.loop.time()
        if left <= seconds:
            await asyncio.sleep(max(0.0, left))
            raise verdicts.out_of_time(self._evidence()) from self.why
        await asyncio.sleep(seconds * runtime.spread(0.5, 1.0))  # spreads those who wait alike

    async def _found_in_time(self) -> Route | None:
        try:
            async with asyncio.timeout_at(self.deadline):
                return await self._find()
        except (PeerLostError, LeaseLostError) as error:  # of a question, or of a slot that was to be taken
            raise PeerLostError(str(error), sent=False) from error
        except ConfigurationError as error:  # it is the search that is refused, not what was sent before
            if self.doubt and not isinstance(self.command, Query):
                raise verdicts.unsettled(self._evidence(error)) from error
            raise
        except TimeoutError:
            raise verdicts.out_of_time(self._evidence()) from self.why

    def _known(self) -> Route | None:
        """Return the route to the command's slot, if nothing has to be asked for it."""
        shards = self.gateway.shards.get(self.name[:2])
        return None if shards is None else self.gateway.routes.known(self._slot_of(shards))

    async def _find(self) -> Route | None:
        """Return the route to the command's slot; ``None`` to read without one, or when nobody holds the slot yet."""
        slot = await self._slot()
        routes = self.gateway.routes
        route = routes.known(slot)
        if route is not None:
            return route
        if self._reads_unowned() and not await routes.held(slot):
            reads = self.gateway.reads[slot] = self.gateway.reads.get(slot, 0) + 1
            if reads <= _READS_WITHOUT_OWNER:
                return None
        try:
            route = await routes.find(slot)
            if route is None:
                self.why = routes.untaken.get(slot, self.why)
            return route  # noqa: TRY300 - of the search alone
        except PeerError:
            if self._reads_unowned():
                return None  # the owner cannot be asked; what it has committed can be read
            raise

    def _reads_unowned(self) -> bool:
        """Return whether the journal itself can answer."""
        return self.gateway.owner is not None and isinstance(self.command, Query) and not self.needs_owner

    def _slot_of(self, shards: int) -> int:
        kind, name, key = self.name
        return slot_of(kind, name, shard_of(kind, name, key, shards), self.gateway.directory.slots)

    async def _slot(self) -> int:
        kind, name, _ = self.name
        gateway = self.gateway
        shards = gateway.shards.get((kind, name))
        if shards is None:
            shards = await gateway.directory.shards(kind, name)
            if shards is None:
                shards = self.shards  # nobody has written it yet: whoever is first decides
            else:
                gateway.shards[kind, name] = shards
        return self._slot_of(shards)

    async def _attempt(self, route: Route | None) -> Any:
        owner = self.gateway.owner
        if route is None or route.here is not None:
            assert owner is not None  # noqa: S101 - only a node has slots and a journal
            pending = self.submit(owner, route)
            timer = self.gateway.loop.call_at(self.deadline, pending.time_out)
            try:
                return await pending.future
            except NotOwnerError:
                self.needs_owner = self.needs_owner or route is None
                raise
            finally:
                timer.cancel()
        return await self._send(route)

    def submit(self, owner: Owner, route: Route | None) -> Pending:
        """Return the command to this process's own slots."""
        after = self._note(route)
        return owner.submit(
            self.name,
            self.shards,
            self.command,
            self.command_id,
            slot=None if route is None else route.here,
            term=0 if route is None else route.term,
            local=self.local,
            repeat_after=after,
            idempotency_key=self.key,
            metadata=self.metadata,
        )

    async def _send(self, route: Route) -> Any:
        """Send the command to another node, and wait for the answer to this attempt."""
        assert route.link is not None  # noqa: S101 - a route is here or has a link
        command, body = encode_command(self.command)
        after = self._note(route)
        loop = self.gateway.loop
        ask = Ask(
            route.slot,
            route.term,
            *self.name,
            self.shards,
            command,
            body,
            self.command_id,
            self.deadline - loop.time(),
            self.local,
            after,
            self.key,
            self.metadata,
        )
        remembered = self.gateway.routes.remembered.of(route.slot)
        answer = route.link.request(ask, credit=not hasattr(self.command, "request"))
        timer = loop.call_at(self.deadline, _expire, answer)
        try:
            self.gateway.awaited.add(answer)
            return self._read(route, await answer, remembered)
        except _ExpiredError:
            self.doubt = True
            raise verdicts.out_of_time(self._evidence()) from None
        finally:
            self.gateway.awaited.discard(answer)
            timer.cancel()

    def _note(self, route: Route | None) -> int | None:
        """Note that the command is being sent; return the position that a repeat carries, ``None`` the first time."""
        if route is None:
            return None
        self.route = route
        if self.slot != route.slot:  # refused by another slot, where it certainly did not happen
            self.slot, self.after, self.sent_under = route.slot, None, 0
        after = self.after
        if after is None:
            self.after = route.position
        elif split_term(self.sent_under)[0] != split_term(route.term)[0]:
            after = self.after = 0  # the log is not the one that it was sent to
        # Not the last one: an owner that was frozen may still have answered with its old term.
        self.sent_under = max(self.sent_under, route.term)
        return after

    def _reach(self, route: Route, position: int, remembered: Mark | None) -> None:
        """Refuse an answer that stands on less than what this process remembered when it asked.

        Either the owner does not know of a loss of records, or it has not noted yet what it has committed: locating it
        again, with what is remembered, tells.
        """
        if (
            remembered is not None
            and remembered.place > (route.incarnation, position)
            and isinstance(self.command, Query)
            and not self.local
        ):
            raise NotOwnerError("The answer stood on less of the slot's log than is known here.", slot=route.slot)

    def _read(self, route: Route, answer: Answer, remembered: Mark | None) -> Any:
        match answer:
            case Answered(body=body, position=position, hash=hash_):
                self.gateway.routes.told(route, position, hash_)
                self._reach(route, position, remembered)
                try:
                    return decode_reply(body)
                except InvalidValueError as error:
                    self.doubt = True  # it was answered, and nobody here can read how
                    raise verdicts.unsettled(self._evidence(error)) from error
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
                self.doubt = self.doubt or isinstance(said, PeerError) or type(said) is CastyError
                raise said
            case _:
                raise PeerLostError(f"A node answered a command with {type(answer).__name__}.", sent=True)

    def judged(self, failed: CastyError | asyncio.CancelledError) -> None:
        """Go on from how an earlier attempt failed, or from its caller's being cancelled."""
        if isinstance(failed, asyncio.CancelledError):
            raise failed
        self.judge(failed)

    def judge(self, error: CastyError) -> None:
        """Decide whether an error is the last word on the command; if it is, raise it.

        Raises
        ------
        CastyError
            It is.
        """
        self.why = error
        route, self.route = self.route, None
        self.doubt = self.doubt or verdicts.leaves_doubt(error)
        match error:
            case NotOwnerError():
                if error.shards:
                    self.gateway.shards[self.name[:2]] = error.shards
                if route is not None:
                    self.gateway.routes.refused(route, error)
                return
            case LeaseLostError() | PeerLostError():
                pass
            case _:
                self._last_word(error)
        if route is not None:
            self.gateway.routes.refused(route)

    def _last_word(self, error: CastyError) -> None:
        """Raise what an owner said of the command, unless it only says that it could not find out."""
        late = self.gateway.loop.time() >= self.deadline - _ROUNDING_SECONDS
        match error:
            case OutcomeUnknownError():
                if isinstance(self.command, Query):
                    raise verdicts.out_of_time(self._evidence(error)) from error
                error.sent = error.sent or self._sent()
                raise error
            case OverloadedError() | JournalUnavailableError() if self.persists and not _stays(error):
                return
            case _ if not self.doubt or isinstance(self.command, Query):
                raise error
            case NotDoneError() if late and not isinstance(error, StillInLineError):
                # This attempt was dropped in time; an earlier one may not have been.
                raise verdicts.out_of_time(self._evidence(error)) from error
            case JournalError() | OverloadedError() if not _stays(error):
                return
            case _ if isinstance(error, verdicts.DECIDED):
                raise error
            case _:
                raise verdicts.unsettled(self._evidence(error)) from error

    def _evidence(self, came_back: object = None) -> Evidence:
        """Return what is known of the command by now."""
        last = self.why if came_back is None else came_back
        what, changes = type(self.command).__name__, not isinstance(self.command, Query)
        return Evidence(what, self.command_id, self.doubt, changes, self._sent(), "" if last is None else str(last))

    def _sent(self) -> Sent | None:
        return None if self.after is None else Sent(self.name.kind, self.slot, self.after, self.sent_under)


def _stays(error: CastyError) -> bool:
    """Return whether what stands in the way stays there for as long as the process lives."""
    return isinstance(error, JournalMovedError | JournalRegressedError)


class _ExpiredError(Exception):
    """The caller's time is up."""


def _expire(answer: asyncio.Future[Answer]) -> None:
    if not answer.done():
        answer.set_exception(_ExpiredError())
