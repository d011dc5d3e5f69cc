"""Proofs for replies that appended nothing: that this owner was still the owner after the question arrived.

The proof is the heads of the slots, read from the journal by a query that was sent after the question arrived: if each
is a record that this owner wrote, nobody else has written, so its state was the truth then (read index by the log's
head; compare Ongaro 2014, section 6.4). One query serves everybody who waits when it is sent; who comes later takes the
next.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from casty_es.background import Errands
from casty_es.errors import JournalError, JournalUnavailableError
from casty_es.journal.port import EntityName, EventJournal, Head
from casty_es.owner.pending import Pending
from casty_es.owner.ports import Commands, Node, Tenure
from casty_es.owner.slot import Slot
from casty_es.owner.slot_leases import SlotLeases
from casty_es.printing import log_of

_LOG: Final = log_of("casty_es.proofs")


class _Claim(NamedTuple):
    slot: Slot
    epoch: int
    position: int  # what the reply stands on is committed up to here
    name: EntityName
    pending: Pending
    reply: object


class Prover:
    """Holds replies back until they are proven.

    The leases know whether this process may have stood still for so long that its slots went elsewhere.
    """

    def __init__(
        self, journal: EventJournal, leases: SlotLeases, commands: Commands, tenure: Tenure, node: Node
    ) -> None:
        self._journal = journal
        self._leases = leases
        self._commands = commands
        self._tenure = tenure
        self._claims: list[_Claim] = []
        self._proving = False
        self._errands = Errands(node.ended)

    def prove(self, slot: Slot, epoch: int, name: EntityName, pending: Pending, reply: object) -> None:
        """Send ``reply`` when a proof is there that was asked for after now."""
        # A proof that is on its way was asked for before this question arrived, and says nothing of the time since.
        self._claims.append(_Claim(slot, epoch, slot.head.position, name, pending, reply))
        if not self._proving:
            self._proving = True
            self._errands.begin(self._run(), name="casty-prover")

    async def close(self) -> None:
        """Finish the proofs that are asked for."""
        await self._errands.settled()

    async def _run(self) -> None:
        try:
            while self._claims:
                # Closed at the instant the query is handed over; later claims take the next round.
                claims, self._claims = self._claims, []
                try:
                    heads = await self._journal.heads(list({claim.slot.number for claim in claims}))
                except Exception as error:  # noqa: BLE001 - it is given to every caller it concerns
                    if not isinstance(error, JournalError):
                        error = JournalUnavailableError(f"The journal could not be asked: {error!r}.")
                    for claim in claims:
                        claim.pending.fail(error)
                else:
                    for claim in claims:
                        self._judge_safely(claim, heads[claim.slot.number])
        finally:
            self._proving = False

    def _judge_safely(self, claim: _Claim, head: Head) -> None:
        try:
            self._judge(claim, head)
        except Exception as error:  # noqa: BLE001 - a bug of ours must not leave the other callers waiting
            _LOG.exception("A proof could not be judged")
            claim.pending.fail(JournalUnavailableError(f"The reply could not be proven: {error!r}."))

    def _judge(self, claim: _Claim, head: Head) -> None:
        slot = claim.slot
        if claim.pending.abandoned():
            return
        if slot.epoch != claim.epoch or not slot.epoch:
            self._commands.again(claim.name, claim.pending)
        elif not self._leases.stands():  # in a log that went back, a head of one's own proves nothing
            self._tenure.lose([slot])
            self._commands.again(claim.name, claim.pending)
        elif head.position >= claim.position and (head.position, head.hash) in slot.recent:
            claim.pending.settle(claim.reply)
        elif head.epoch == slot.epoch and head.position >= claim.position:
            # An append of our own that is committed but not yet noted here, or one long past: ask once more.
            self._claims.append(claim)
        else:  # somebody else has written, or the database has lost what the reply stands on
            self._tenure.lose([slot])
            self._commands.again(claim.name, claim.pending)
