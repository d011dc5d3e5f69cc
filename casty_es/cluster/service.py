"""What a node does with what other processes ask of it. Nothing here waits for one request before it takes the next."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Final, TypeAlias, assert_never
from uuid import UUID

from casty_es.actors.owner import Owner
from casty_es.actors.pending import Pending
from casty_es.actors.slot import Slot
from casty_es.background import Errands
from casty_es.cluster.membership import Membership
from casty_es.cluster.outcome import Outcomes
from casty_es.cluster.past import Past
from casty_es.codec import decode_command, encode_error, encode_reply
from casty_es.config import Settings
from casty_es.context import checked
from casty_es.errors import CastyError, InvalidArgumentError, JournalUnavailableError, NotOwnerError, Sent
from casty_es.journal.port import EntityName, EventJournal, Meta
from casty_es.names import check_at_least_one
from casty_es.printing import log_of
from casty_es.processes import process_of
from casty_es.replay import read_positions
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

__all__ = ["NodeService"]

_LOG: Final = log_of("casty_es.service")

# What is answered after something was looked up.
_Later: TypeAlias = Locate | FindShards | GetTopology | FindOutcome | ReadHistory | ReadPast | ReadPositions


class NodeService:
    """The node behind its listener.

    Parameters
    ----------
    owner : Owner
        The node's slots.
    membership : Membership
        The node's view of the cluster.
    outcomes : Outcomes
        Finds out what became of commands.
    past : Past
        What the node reads of the past.
    """

    def __init__(
        self,
        owner: Owner,
        membership: Membership,
        outcomes: Outcomes,
        past: Past,
        journal: EventJournal,
        meta: Meta,
        settings: Settings,
    ) -> None:
        self._owner = owner
        self._membership = membership
        self._outcomes = outcomes
        self._read = past
        self._journal = journal
        self._meta = meta
        self._settings = settings
        self._loop = asyncio.get_running_loop()
        self._errands = Errands()

    def serve(self, request: Request, answer: Callable[[Answer], None], process: str) -> None:
        """Take a request of a process in; ``answer`` is called once, now or later."""
        match request:
            case Ask():
                try:
                    self._ask(request, answer, process)
                except CastyError as error:
                    answer(_failure(error))
            case Recall(slots=slots):
                answer(self._recall(slots))
            case _:
                self._later(self._work(request, process), answer)

    def _work(self, request: _Later, process: str) -> Coroutine[Any, Any, Answer]:
        work: Coroutine[Any, Any, Answer]
        match request:
            case Locate():
                work = self._locate(request)
            case FindShards(kind=kind, name=name):
                work = self._shards(kind, name)
            case GetTopology():
                work = self._topology()
            case FindOutcome():
                work = self._outcome(request, ask_others=process_of(process) is None)
            case ReadHistory():
                work = self._history(request)
            case ReadPast():
                work = self._past(request)
            case ReadPositions():
                work = read_positions(self._journal)
            case _:
                assert_never(request)
        return work

    def _ask(self, ask: Ask, answer: Callable[[Answer], None], process: str) -> None:
        slot = self._owner.slots[self._checked(ask.slot)]
        pending = self._owner.submit(
            EntityName(ask.kind, ask.name, ask.key),
            ask.shards,
            decode_command(ask.kind, ask.command, ask.body),
            ask.command_id,
            slot=slot,
            term=ask.term,
            local=ask.local,
            repeat_after=ask.repeat_after,
            idempotency_key=ask.idempotency_key,
            said=checked(ask.said),
            process=process,
        )
        timer = self._loop.call_later(ask.seconds, pending.time_out)
        pending.future.add_done_callback(partial(_reply, pending, timer, answer))

    def _recall(self, slots: tuple[int, ...]) -> Answer:
        marks = self._owner.comparing.own([slot for slot in slots if 0 <= slot < len(self._owner.slots)])
        return Recalled({slot: tuple(known) for slot, known in marks.items() if known})

    async def _locate(self, locate: Locate) -> Answer:
        number = self._checked(locate.slot)
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

    async def _topology(self) -> Answer:
        topology = await self._membership.refresh()
        return Topology(
            self._meta.slots,
            topology.incarnation,
            self._settings.lease_seconds,
            self._settings.max_value_bytes,
            tuple(topology.nodes.values()),
            tuple(topology.owners.values()),
        )

    async def _outcome(self, request: FindOutcome, *, ask_others: bool) -> Answer:
        sent = Sent(request.kind, self._checked(request.slot), request.after, request.term)
        # A node has found out that this one holds the slot; a client asks any.
        outcome = await self._outcomes.find(UUID(bytes=request.command_id), sent, ask_others=ask_others)
        return Outcome(outcome.status.value, encode_reply(outcome.reply))

    async def _history(self, request: ReadHistory) -> Answer:
        name = EntityName(request.kind, request.name, request.key)
        limit = check_at_least_one(request.limit, "limit")
        page = await self._read.history(name, after=max(0, request.after), after_time=request.after_time, limit=limit)
        return page.sendable()

    async def _past(self, request: ReadPast) -> Answer:
        name = EntityName(request.kind, request.name, request.key)
        query = decode_command(request.kind, request.command, request.body)
        return Answered(encode_reply(await self._read.answer(name, query, request.then)), 0)

    def _checked(self, slot: int) -> int:
        if not 0 <= slot < len(self._owner.slots):
            raise InvalidArgumentError(f"There is no slot {slot}: this journal has {len(self._owner.slots)}.")
        return slot

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
    pending: Pending, timer: asyncio.TimerHandle, answer: Callable[[Answer], None], future: asyncio.Future[Any]
) -> None:
    timer.cancel()
    if future.cancelled():
        answer(_failure(JournalUnavailableError("The command was given up while the node was closing.")))
        return
    error = future.exception()
    if error is None:
        answer(Answered(encode_reply(future.result()), *_committed(pending.slot)))
    else:
        answer(_failure(error))


def _committed(slot: Slot | None) -> tuple[int, bytes]:
    """Give how far a slot is committed, as an answer says it."""
    mark = None if slot is None else slot.mark()
    return (0, b"") if mark is None else (mark.position, mark.hash)


def _failure(error: BaseException) -> Answer:
    if isinstance(error, NotOwnerError):
        return Refused(str(error), error.slot, error.node_id, error.address, error.epoch, error.shards)
    return Failed(*encode_error(error))
