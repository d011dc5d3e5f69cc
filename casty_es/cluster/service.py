"""What a node does with what other processes ask of it. Nothing here waits for one request before it takes the next."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Final, TypeAlias, assert_never
from uuid import UUID

from casty_es.access import Grant
from casty_es.background import Errands
from casty_es.cluster.incoming import Incoming, entity_name
from casty_es.cluster.membership import Membership
from casty_es.cluster.outcome import Outcomes
from casty_es.cluster.past import Past
from casty_es.cluster.peers import Peers
from casty_es.cluster.permitting import check_outcome, refusal, without_details
from casty_es.cluster.reach import Reach
from casty_es.config import Settings
from casty_es.context import checked, stamped
from casty_es.domain.catalog import AnyKind, each_kind
from casty_es.domain.decider import Warranted
from casty_es.errors import CastyError, JournalUnavailableError, NotOwnerError, PeerLostError, Sent
from casty_es.format.codec import encode_error, encode_reply
from casty_es.journal.port import EventJournal, Meta
from casty_es.owner.owner import Owner
from casty_es.owner.pending import Pending
from casty_es.owner.slot import Slot
from casty_es.printing import log_of
from casty_es.processes import process_of
from casty_es.replay import PAGE_BYTES, read_positions
from casty_es.transport.port import Caller, Reply
from casty_es.transport.wire import (
    Answer,
    Answered,
    Ask,
    Failed,
    FindOutcome,
    FindShards,
    GetTopology,
    Locate,
    Located,
    Outcome,
    ReadHistory,
    ReadPast,
    ReadPositions,
    Recall,
    Recalled,
    Refused,
    Request,
    ShardsFound,
    Topology,
)

_LOG: Final = log_of("casty_es.service")

# What a gateway may have open without credit (``journey.py``): it may stand in line, or takes somebody out of one.
_WITHOUT_CREDIT: Final[set[tuple[str, str]]] = set()


@each_kind
def _take(kind: AnyKind) -> None:
    if kind.claims is not None:
        _WITHOUT_CREDIT.update(
            (kind.name, command.__name__) for command in kind.commands if "request" in command.__struct_fields__
        )


# A slot or a node in an answer, with its names; a Python object is longer than what it becomes.
_ENTRY_BYTES: Final = 256

# What is answered after something was looked up.
_Later: TypeAlias = Locate | FindShards | GetTopology | FindOutcome | ReadHistory | ReadPast | ReadPositions


class NodeService:
    """The node behind its listener."""

    def __init__(
        self,
        owner: Owner,
        membership: Membership,
        outcomes: Outcomes,
        past: Past,
        reach: Reach,
        peers: Peers,
        journal: EventJournal,
        meta: Meta,
        settings: Settings,
    ) -> None:
        self._owner = owner
        self._membership = membership
        self._outcomes = outcomes
        self._read = past
        self._reach = reach
        self._peers = peers
        self._journal = journal
        self._meta = meta
        self._settings = settings
        self._incoming = Incoming(meta.slots, settings.max_value_bytes)
        self._loop = asyncio.get_running_loop()
        self._errands = Errands()

    def needs_credit(self, request: Request) -> bool:
        """Return whether a request counts against what its connection may have open: all but what may stand in line."""
        return not isinstance(request, Ask) or (request.kind, request.command) not in _WITHOUT_CREDIT

    def weight(self, request: Request) -> int:
        """Return how many bytes the answer to a request may have about, or what it takes to make it."""
        match request:
            case ReadHistory() | ReadPast():  # a page that is read, and the answer that is made of it
                return 2 * (PAGE_BYTES + self._settings.max_value_bytes)
            case FindOutcome():
                return self._settings.max_value_bytes
            case Recall(slots=slots):
                return _ENTRY_BYTES * len(slots)
            case _:  # of what has a length, something for every slot
                return _ENTRY_BYTES * self._meta.slots

    def serve(self, request: Request, answer: Callable[[Reply], None], caller: Caller) -> None:
        """Take a request in; ``answer`` is called once, now or later."""
        if caller.grant is not None and (refused := refusal(caller.grant, request)) is not None:
            answer(_failure(refused))
            return
        try:
            self._incoming.check(request)
            match request:
                case Ask():
                    self._ask(request, answer, caller)
                case Recall(slots=slots):
                    answer(self._recall(slots, caller))
                case _:
                    self._later(self._work(request, caller), answer)
        except CastyError as error:
            answer(_failure(error))

    def met(self, node_id: str) -> None:
        """Look who is listed, if it is a node that was not."""
        self._membership.met(node_id)

    def _work(self, request: _Later, caller: Caller) -> Coroutine[Any, Any, Answer]:
        work: Coroutine[Any, Any, Answer]
        match request:
            case Locate():
                work = self._locate(request)
            case FindShards(kind=kind, name=name):
                work = self._shards(kind, name)
            case GetTopology():
                work = self._topology(caller.grant)
            case FindOutcome():
                work = self._outcome(request, caller)
            case ReadHistory():
                work = self._history(request)
            case ReadPast():
                work = self._past(request)
            case ReadPositions():
                work = read_positions(self._journal)
            case _:
                assert_never(request)
        return work

    def _ask(self, ask: Ask, answer: Callable[[Reply], None], caller: Caller) -> None:
        command = self._incoming.command(ask)
        pending = self._owner.submit(
            entity_name(ask.kind, ask.name, ask.key),
            # What maintenance works on is recorded; a warrant that is worth nothing must not record a structure.
            0 if isinstance(command, Warranted) else ask.shards,
            command,
            ask.command_id,
            slot=self._owner.slots[ask.slot],
            term=ask.term,
            local=ask.local,
            repeat_after=ask.repeat_after,
            idempotency_key=ask.idempotency_key,
            metadata=stamped(checked(ask.metadata), caller.principal),
            process=caller.process,
        )
        timer = self._loop.call_later(ask.seconds, pending.time_out)
        pending.future.add_done_callback(partial(_reply, pending, timer, answer))

    def _recall(self, slots: tuple[int, ...], caller: Caller) -> Answer:
        marks = self._owner.comparing.own(slots)
        unlisted = self._peers.unlisted() if caller.grant is None else ()
        return Recalled({slot: tuple(known) for slot, known in marks.items() if known}, unlisted)

    async def _locate(self, locate: Locate) -> Answer:
        number = locate.slot
        slot = self._owner.slots[number]
        try:
            await self._owner.locate(slot, locate.mark)
        except NotOwnerError as refusal:
            holder = (await self._membership.refresh()).owner(number)
            if holder is None:
                return _failure(refusal)
            return Refused(str(refusal), number, holder.node_id, holder.address)
        return Located(slot.term, *_committed(slot))

    async def _shards(self, kind: str, name: str) -> Answer:
        recorded = (await self._journal.structures([(kind, name)]))[0]
        return ShardsFound(recorded or 0)

    async def _topology(self, grant: Grant | None) -> Answer:
        topology = await self._membership.refresh()
        known = Topology(
            self._meta.slots,
            topology.incarnation,
            self._settings.lease_seconds,
            self._settings.max_value_bytes,
            tuple(topology.nodes.values()),
            tuple(topology.owners.values()),
            tuple(self._reach.unreached),
        )
        return known if grant is None or grant.scopes.operate else without_details(known)

    async def _outcome(self, request: FindOutcome, caller: Caller) -> Answer:
        sent = Sent(request.kind, request.slot, request.after, request.term)
        outcome = await self._outcomes.find(
            UUID(bytes=request.command_id),
            sent,
            ask_others=process_of(caller.process) is None,  # a node knows that this one has the slot; a client asks any
            permit=None if caller.grant is None else partial(check_outcome, caller.grant),
        )
        return Outcome(outcome.status.value, encode_reply(outcome.reply))

    async def _history(self, request: ReadHistory) -> Answer:
        name = entity_name(request.kind, request.name, request.key)
        after, limit = request.after, request.limit
        page = await self._read.history(name, after=after, after_time=request.after_time, limit=limit)
        return page.sendable()

    async def _past(self, request: ReadPast) -> Answer:
        name = entity_name(request.kind, request.name, request.key)
        query = self._incoming.command(request)
        return Answered(encode_reply(await self._read.answer(name, query, request.then)), 0)

    def _later(self, work: Coroutine[Any, Any, Answer], answer: Callable[[Answer], None]) -> None:
        task = self._errands.begin(_finish(work, answer), name="casty-service")
        task.add_done_callback(lambda _: work.close())  # one that was cancelled before it began has not awaited it

    async def close(self) -> None:
        """Give up what is not answered yet."""
        await self._errands.cancel()


async def _finish(work: Coroutine[Any, Any, Answer], answer: Callable[[Answer], None]) -> None:
    try:
        answer(await work)
    except CastyError as error:
        answer(_failure(error))
    except Exception as error:  # noqa: BLE001 - a bug of ours must not leave the other process waiting
        _LOG.exception("A request could not be answered")
        answer(_failure(JournalUnavailableError(f"The node failed over the request: {error!r}.")))


def _reply(
    pending: Pending, timer: asyncio.TimerHandle, answer: Callable[[Reply], None], future: asyncio.Future[Any]
) -> None:
    timer.cancel()
    if future.cancelled():
        answer(_failure(PeerLostError("The command was given up, maybe after it was begun.", sent=True)))
        return
    error = future.exception()
    if error is None:
        # How far the log is committed is noted now: an answer that leaves late stands on no more than that.
        answer(partial(_answered, future.result(), *_committed(pending.slot)))
    else:
        answer(_failure(error))


def _answered(reply: object, position: int, hash_: bytes) -> Answered:
    return Answered(encode_reply(reply), position, hash_)


def _committed(slot: Slot | None) -> tuple[int, bytes]:
    """Return how far a slot is committed, as an answer says it."""
    mark = None if slot is None else slot.mark()
    return (0, b"") if mark is None else (mark.position, mark.hash)


def _failure(error: BaseException) -> Answer:
    if isinstance(error, NotOwnerError):
        return Refused(str(error), error.slot, error.node_id, error.address, error.epoch, error.shards)
    return Failed(*encode_error(error))
