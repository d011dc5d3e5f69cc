"""Switches that break one rule each, reached by nobody but these tests: the simulator has to find every one of them.

A switch names what is taken out by its dotted name, and what stands in its place. One whose name is not there any more
fails, so that it is not forgotten when the code moves on.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from unittest import mock

from casty_es import runtime
from casty_es.cluster.outcome import CommandOutcome, CommandStatus, find_outcome
from casty_es.domain.decider import WAITING
from casty_es.errors import NotDoneError
from casty_es.gateway.journey import Journey
from casty_es.handles.renewals import Renewals
from casty_es.journal.memory import InMemoryJournal
from casty_es.owner.owner import Owner
from casty_es.owner.pending import Pending
from casty_es.owner.proofs import Prover
from casty_es.owner.snapshotting import Snapshotter
from casty_es.owner.writer import Writer
from casty_es.verdicts import Evidence, leaves_doubt

from .run import Outcome, simulate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from casty_es.errors import CastyError
    from casty_es.journal.port import Append
    from casty_es.owner.entity import Entity, Entry

__all__ = ["MOST_SEEDS", "SWITCHES", "Switch", "found_by", "taken_out"]

MOST_SEEDS: Final = 2_000
"""By so many seeds each switch has to be found."""


class Switch(NamedTuple):
    """A rule that is broken.

    Attributes
    ----------
    title : str
        What is broken.
    take_out : tuple[tuple[str, Any], ...]
        The dotted names, and what stands in their places.
    store : type[InMemoryJournal]
        What keeps the records.
    """

    title: str
    take_out: tuple[tuple[str, Any], ...] = ()
    store: type[InMemoryJournal] = InMemoryJournal


@contextlib.contextmanager
def taken_out(switch: Switch) -> Iterator[None]:
    """Break the rule within a block."""
    with contextlib.ExitStack() as stack:
        for name, instead in switch.take_out:
            stack.enter_context(mock.patch(name, instead))
        yield


def found_by(switch: Switch, first: int = 0, most: int = MOST_SEEDS) -> Outcome | None:
    """Return the first run that finds a switch and nothing without it, or ``None``."""
    for seed in range(first, first + most):
        with taken_out(switch):
            outcome = simulate(seed, store=switch.store)
        if outcome.findings and not simulate(seed).findings:
            return outcome
    return None


class _NoPredecessors(InMemoryJournal):
    def _check(self, append: Append) -> None:
        pass


_write = Writer._write


async def _answer_first(writer: Writer, entries: list[Entry]) -> None:
    for entry in entries:
        if entry.events and entry.reply is not WAITING and not entry.pending.future.done():
            entry.pending.future.set_result(entry.reply)
    await _write(writer, entries)


_submit = Owner.submit


def _join_nothing(owner: Owner, name: Any, shards: int, command: Any, command_id: bytes, **said: Any) -> Pending:
    owner._table.pop(command_id, None)
    return _submit(owner, name, shards, command, command_id, **said)


def _under_any_term(owner: Owner, name: Any, shards: int, command: Any, command_id: bytes, **said: Any) -> Pending:
    slot = said["slot"]
    if slot is not None and slot.term:
        said["term"] = slot.term
    return _submit(owner, name, shards, command, command_id, **said)


async def _look_away(_journal: object, _entity: object, pending: Pending) -> bool:
    pending.repeat_after = None
    return False


def _unproven(_prover: Prover, _slot: object, _epoch: int, _name: object, pending: Pending, reply: object) -> None:
    pending.settle(reply)


def _no_doubt(error: CastyError) -> bool:
    leaves_doubt(error)
    return False


async def _nothing_was_written(writer: Writer, batch: Any, error: Exception) -> None:
    writer._tenure.lose(set(batch.heads))
    writer._fail(batch.entries, NotDoneError(f"Nothing was written: {error}."))


async def _read_only(*_: object) -> None:
    """Settle nothing by a lease record: what was in the air may still be written."""


async def _undo_nothing(*_: object) -> None:
    """Leave what a cancelled caller asked for as it is."""


async def _give_nothing_back(renewals: Renewals) -> None:
    await renewals.stop()


def _nobodys_business(*_: object) -> bool:
    return False


_consider = Snapshotter.consider


def _uncommitted(snapshotter: Snapshotter, entity: Entity) -> None:
    committed, entity.committed = entity.committed, entity.state
    try:
        _consider(snapshotter, entity)
    finally:
        entity.committed = committed


_note = Journey.note


def _repeat_from_here(journey: Journey, slot: int, term: int, position: int) -> int | None:
    after = _note(journey, slot, term, position)
    if after is not None:
        journey.after = after = position
    return after


def _fresh_id(journey: Journey, slot: int, term: int, position: int) -> int | None:
    if journey.after is not None:
        journey.command_id, journey.after = runtime.fresh_uuid().bytes, None
    return _note(journey, slot, term, position)


async def _nothing_is_missing(*_: object) -> bool:
    return False


async def _absent_is_not_executed(*question: Any) -> CommandOutcome:
    outcome = await find_outcome(*question)
    if outcome.status is CommandStatus.UNKNOWN:
        return CommandOutcome(CommandStatus.NOT_EXECUTED)
    return outcome


def _never_expires(*_: object, **__: object) -> None:
    """Let no lease of a caller run out."""


def _deny(evidence: Evidence) -> NotDoneError:
    return NotDoneError(f"{evidence.what} did not happen.")


SWITCHES: Final = (
    Switch("an append is taken whatever it follows", store=_NoPredecessors),
    Switch("replies leave before the commit", (("casty_es.owner.writer.Writer._write", _answer_first),)),
    Switch("a repeat does not join the attempt that is open", (("casty_es.owner.owner.Owner.submit", _join_nothing),)),
    Switch("a repeat does not look into the journal", (("casty_es.owner.looking.look_before_acting", _look_away),)),
    Switch(
        "a repeat looks from where the slot is now", (("casty_es.gateway.journey.Journey.note", _repeat_from_here),)
    ),
    Switch("a repeat has an id of its own", (("casty_es.gateway.journey.Journey.note", _fresh_id),)),
    Switch(
        "commands are served under another term",
        (
            ("casty_es.owner.owner.Owner.submit", _under_any_term),
            ("casty_es.owner.pending.Pending.misses", _nobodys_business),
        ),
    ),
    Switch("reads are not proven", (("casty_es.owner.proofs.Prover.prove", _unproven),)),
    Switch("a lost link leaves no doubt", (("casty_es.verdicts.leaves_doubt", _no_doubt),)),
    Switch(
        "an append in doubt counts as not written", (("casty_es.owner.writer.Writer._unknown", _nothing_was_written),)
    ),
    Switch("an append in doubt is settled by reading", (("casty_es.owner.writer.Writer._settled", _read_only),)),
    Switch(
        "whoever has no answer is told that it did not happen",
        (("casty_es.verdicts.Evidence.denies", property(lambda _: True)),),
    ),
    Switch("what is absent was not executed", (("casty_es.cluster.outcome.find_outcome", _absent_is_not_executed),)),
    Switch("what a cancelled caller asked for stays", (("casty_es.gateway.asking.Gateway._undone", _undo_nothing),)),
    Switch(
        "handles give nothing back when they are closed",
        (("casty_es.handles.renewals.Renewals.close", _give_nothing_back),),
    ),
    Switch("requests of the dead stay", (("casty_es.owner.deaths.Deaths.concern", _nobodys_business),)),
    Switch("leases of callers do not run out", (("casty_es.owner.waiters.Waiters._expire", _never_expires),)),
    Switch(
        "a log that lost records is served", (("casty_es.owner.comparing.Comparing._missing", _nothing_is_missing),)
    ),
    Switch(
        "a snapshot holds what is not committed", (("casty_es.owner.snapshotting.Snapshotter.consider", _uncommitted),)
    ),
)
