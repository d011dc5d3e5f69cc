"""What became of a command whose caller never got an answer.

It was executed if it stands in the slot's log: behind the place where it was sent or, if an idempotency key names it,
anywhere. It was not, and never will be, only when a lease record stands behind the highest term that it was sent under
and the command is absent up to it: whatever was on its way under that term can no longer be written. Until then nobody
can say; so whoever is asked sees to it that there is such a record: it takes a slot that nobody holds, and has the
owner of any other one write it.
"""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Callable
from typing import Any, Final, TypeAlias
from uuid import UUID

import msgspec

from casty_es.cluster.membership import Membership
from casty_es.domain.catalog import CATALOG
from casty_es.domain.decider import WAITING, Upkeep, Value
from casty_es.errors import CastyError, InvalidArgumentError, NotOwnerError, Sent
from casty_es.format.codec import upkeep_reply
from casty_es.hashes import KEYED_VERSION
from casty_es.journal.port import EntityName, EventJournal
from casty_es.owner.owner import Owner
from casty_es.owner.slot import split_term, term_of
from casty_es.printing import log_of
from casty_es.replay import read_events
from casty_es.transport.port import Dialer
from casty_es.transport.wire import FindOutcome

_LOG: Final = log_of("casty_es.outcome")

# A slot is taken in milliseconds; what takes longer is a database or a peer that does not answer.
_PATIENCE_SECONDS: Final = 5.0

Permit: TypeAlias = Callable[[EntityName], None]
"""Raises a refusal for an entity of which whoever asks may not learn anything."""


class CommandStatus(enum.StrEnum):
    """What is known of a command."""

    EXECUTED = "executed"
    NOT_EXECUTED = "not executed"
    UNKNOWN = "unknown"


class CommandOutcome(msgspec.Struct, frozen=True):
    """What became of a command.

    Attributes
    ----------
    status : CommandStatus
        Whether it was executed, certainly was not, or that it is still unknown.
    reply : object
        What its caller would have been told, if it was executed: user values as plain JSON, ``None`` for a request that
        stood in a line.
    """

    status: CommandStatus
    reply: Any = None


class Outcomes:
    """Finds out what became of commands, for this node's own callers and for others."""

    def __init__(self, journal: EventJournal, owner: Owner, membership: Membership, dialer: Dialer) -> None:
        self._journal = journal
        self._owner = owner
        self._membership = membership
        self._dialer = dialer

    async def find(
        self, command_id: UUID, sent: Sent, *, ask_others: bool = True, permit: Permit | None = None
    ) -> CommandOutcome:
        """Return what became of a command, making sure that it is known if that can be done.

        Without ``ask_others`` no other node is asked that holds the slot. ``permit`` looks at what the command
        was for before anything of it is told, and refuses by raising.
        """
        outcome = await find_outcome(self._journal, command_id, sent, permit)
        if outcome.status is not CommandStatus.UNKNOWN:
            return outcome
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                await self._settle(command_id, sent, ask_others=ask_others)
        except (CastyError, TimeoutError) as error:
            _LOG.info("Slot %d could not be settled, so what became of %s stays open: %r", sent.slot, command_id, error)
        return await find_outcome(self._journal, command_id, sent, permit)

    async def _settle(self, command_id: UUID, sent: Sent, *, ask_others: bool) -> None:
        """See to it that a lease record stands behind everything that was sent under the command's term."""
        slot = self._owner.slots[sent.slot]
        try:
            await self._owner.locate(slot)
        except NotOwnerError:
            holder = (await self._membership.refresh()).owner(sent.slot)
            if ask_others and holder is not None and holder.address is not None:
                link = await self._dialer.link(holder.address, holder.node_id)
                await link.request(FindOutcome(sent.kind, sent.slot, sent.after, sent.term, command_id.bytes))
        else:
            await self._owner.fence(slot, sent.term)


async def find_outcome(
    journal: EventJournal, command_id: UUID, sent: Sent, permit: Permit | None = None
) -> CommandOutcome:
    """Look a command up in the log of the slot that it was sent to.

    ``permit`` looks at what the command was for before anything of it is told. ``InvalidArgumentError`` if it was
    one of another kind of structure.
    """
    # The head first: what is absent behind it, when it belongs to a later term, stays absent.
    term = await _term(journal, sent.slot)
    same_log = split_term(term)[0] == split_term(sent.term)[0]
    # Under an idempotency key somebody else may have done it, long before this caller sent it.
    after = sent.after if same_log and command_id.version != KEYED_VERSION else 0
    recorded = await journal.find(sent.slot, after, [command_id.bytes])
    if recorded:
        if permit is not None:
            permit((await journal.entity_rows([recorded[0].entity or 0]))[0].entity_name)
        events = read_events(recorded)
        if isinstance(events[0], Upkeep):
            return CommandOutcome(CommandStatus.EXECUTED, _plain(upkeep_reply(events[0])))
        kind = CATALOG[sent.kind]
        if type(events[0]) not in kind.events.values():
            raise InvalidArgumentError(
                f"The command {command_id} was not one of a {sent.kind}. Ask with the error's command_id and sent."
            )
        return CommandOutcome(CommandStatus.EXECUTED, _plain(kind.reply(None, events)))
    if await journal.seals(sent.slot, after=after, limit=1):
        return CommandOutcome(CommandStatus.UNKNOWN)  # retention may have cut it
    return CommandOutcome(CommandStatus.NOT_EXECUTED if term > sent.term else CommandStatus.UNKNOWN)


async def _term(journal: EventJournal, slot: int) -> int:
    """Return the term of a slot's newest lease record."""
    head = (await journal.heads([slot]))[slot]
    if not head.epoch:
        return 0
    lease = (await journal.records(slot, after=head.epoch - 1, limit=1))[0]
    return term_of(msgspec.json.decode(lease.payload).get("incarnation", 1), head.epoch)


def _plain(reply: object) -> object:
    if reply is WAITING:
        return None
    return msgspec.json.decode(reply) if isinstance(reply, Value) else reply
