"""Tests of the tests: with a safeguard taken away the audit turns red. Without these, green means nothing."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from casty_es import ClusteredActorSystem, Distributed, node
from casty_es.config import Settings
from casty_es.domain.decider import WAITING
from casty_es.journal.memory import InMemoryJournal
from casty_es.journal.port import Append, StoredSnapshot
from casty_es.leases.memory import ProcessLeaseManager
from casty_es.owner import writer

from .audit import Log, audit, read_memory
from .faulty import Fault, FaultyJournal
from .mixed import run_once
from .recording import Operation, Recorder

_SETTINGS = Settings(snapshot_events=10, lease_seconds=2.0)


async def findings_of(journal: Any, inner: InMemoryJournal, *, prefix: str = "") -> list[str]:
    """Let everybody use everything on a journal; return what the audit says."""
    operations: list[Operation] = []
    async with ClusteredActorSystem(journal=journal, settings=_SETTINGS) as system:
        recorder = Recorder(system)
        recorder.operations = operations
        await run_once(Distributed(recorder), prefix, seconds=2.0)
    return audit(read_memory(inner), operations)


async def whole_log() -> tuple[Log, list[Operation]]:
    """A log in which nothing is wrong, and its callers."""
    journal = InMemoryJournal(slots=2)
    async with ClusteredActorSystem(journal=journal, settings=_SETTINGS) as system:
        recorder = Recorder(system)
        await run_once(Distributed(recorder), "")
    log = read_memory(journal)
    assert audit(log, recorder.operations) == []
    return log, recorder.operations


def says(findings: list[str], words: str) -> bool:
    """Return whether some finding has these words."""
    return any(words in finding for finding in findings)


async def test_replies_before_the_commit_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer that answers before it writes, and whose write then fails, has acknowledged what is not there."""
    write = writer.Writer._write

    async def answer_first(self: writer.Writer, entries: list[Any]) -> None:
        for entry in entries:
            if entry.events and not entry.pending.future.done() and entry.reply is not WAITING:
                entry.pending.future.set_result(entry.reply)
        await write(self, entries)

    monkeypatch.setattr(writer.Writer, "_write", answer_first)
    # given that writer and a journal that refuses some appends
    inner = InMemoryJournal(slots=4)
    faulty = FaultyJournal(inner, Fault.REJECTED, range(5, 30))
    # when everybody uses everything, then the audit misses what was acknowledged
    findings = await findings_of(faulty, inner)
    assert says(findings, "no state between sequences")


@pytest.fixture
def everybody_leads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every system gets every slot, as one that does not know yet that it lost them."""
    monkeypatch.setattr(node, "lease_manager", lambda *_, **__: ProcessLeaseManager(InMemoryJournal()))


class NoPredecessors(InMemoryJournal):
    """A journal that takes an append whatever it follows."""

    def _check(self, append: Append) -> None:
        pass


@pytest.mark.usefixtures("everybody_leads")
async def test_a_journal_without_the_predecessor_check_is_caught() -> None:
    """Two owners that both write to a slot break its positions, hashes and epochs."""
    # given a journal that does not look at what an append follows
    journal = NoPredecessors(slots=1)
    operations: list[Operation] = []
    async with (
        ClusteredActorSystem(journal=journal) as stale,
        ClusteredActorSystem(journal=journal) as fresh,
    ):
        old, new = Recorder(stale), Recorder(fresh)
        old.operations = new.operations = operations
        # when a stale owner writes behind the back of the fresh one
        await Distributed(old).counter("hits").increment()
        await Distributed(new).counter("hits").increment()
        await Distributed(old).counter("hits").increment()
    # then nothing fits any more
    findings = audit(read_memory(journal), operations)
    for words in ("the record before it is at", "its hash is not", "under epoch", "the event before it has"):
        assert says(findings, words), words


@pytest.mark.usefixtures("everybody_leads")
async def test_the_same_two_owners_are_harmless_with_the_check() -> None:
    """The control of the control above: the real journal refuses the stale owner, and its retry is done once."""
    journal = InMemoryJournal(slots=1)
    async with (
        ClusteredActorSystem(journal=journal) as stale,
        ClusteredActorSystem(journal=journal) as fresh,
    ):
        old, new = Recorder(stale), Recorder(fresh)
        old.operations = new.operations = operations = []
        assert await Distributed(old).counter("hits").increment() == 1
        assert await Distributed(new).counter("hits").increment() == 2
        # a stale read is not given either
        assert await Distributed(old).counter("hits").get() == 2
    assert audit(read_memory(journal), operations) == []


async def test_retrying_under_a_fresh_id_is_caught() -> None:
    """A lost command that is sent again as another one counts twice; the audit names what nobody asked for."""
    log, operations = await whole_log()
    # given a log in which one command stands that no caller knows of
    mine = [operation for operation in operations if operation.name.name != "shared"]
    # when it is audited, then it is named
    assert says(audit(log, mine), "nobody asked for it")


@pytest.mark.usefixtures("everybody_leads")
async def test_answers_from_old_state_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """An owner that does not prove its reads gives stale ones once somebody else has written."""
    from casty_es.owner import proofs

    def unproven(_self: proofs.Prover, _slot: Any, _epoch: int, _name: Any, pending: Any, reply: object) -> None:
        pending.settle(reply)

    monkeypatch.setattr(proofs.Prover, "prove", unproven)
    # given an owner that lost its slot without knowing
    journal = InMemoryJournal(slots=1)
    async with (
        ClusteredActorSystem(journal=journal) as stale,
        ClusteredActorSystem(journal=journal) as fresh,
    ):
        old, new = Recorder(stale), Recorder(fresh)
        old.operations = new.operations = operations = []
        await Distributed(old).counter("hits").increment()
        await Distributed(new).counter("hits").increment()
        # when it is asked
        await Distributed(old).counter("hits").get()
    # then the audit sees that it looked back
    assert says(audit(read_memory(journal), operations), "no state between sequences 2 and 2 gives that reply")


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("payload", '{"amount":1,"value":77}', "its hash is not"),
        ("command_id", bytes(16), "its hash is not"),
        ("epoch", 99, "under epoch 99"),
        ("recorded_at", 0, "its time is before"),
        ("sequence", 9, "the event before it has"),
    ],
)
async def test_a_changed_record_is_caught(field: str, value: Any, words: str) -> None:
    """Whatever is changed in a record that is written, the audit says so."""
    log, operations = await whole_log()
    index = next(i for i, one in enumerate(log.records) if one.type == "counter.incremented" and one.sequence == 2)
    changed = msgspec.structs.replace(log.records[index], **{field: value})
    log.records[index] = changed
    assert says(audit(log, operations), words)


async def test_a_lost_record_is_caught() -> None:
    """A record that is gone leaves a gap, and an acknowledgement without ground."""
    log, operations = await whole_log()
    index = next(i for i, one in enumerate(log.records) if one.type == "counter.incremented")
    del log.records[index]
    findings = audit(log, operations)
    assert says(findings, "the record before it is at")


async def test_a_lost_last_record_is_caught() -> None:
    """A log that lost its end has no gap; what callers were told gives it away."""
    log, operations = await whole_log()
    last = max(i for i, one in enumerate(log.records) if one.slot == log.records[0].slot)
    del log.records[last]
    assert audit(log) == [] or says(audit(log), "the directory says")
    assert says(audit(log, operations), "told")


async def test_a_snapshot_of_uncommitted_state_is_caught() -> None:
    """A snapshot that is ahead of its sequence is not what replay gives."""
    journal = InMemoryJournal(slots=1)
    async with ClusteredActorSystem(journal=journal) as system:
        hits = system.distributed().counter("hits")
        await hits.increment()
        await hits.increment()
    # given a snapshot at 1 that holds the state at 2
    record = next(one for one in journal._records[0] if one.sequence == 1)
    snapshot = StoredSnapshot(1, '{"value":2,"exists":true}', 1)
    assert await journal.save_snapshot(record.entity or 0, snapshot, record.hash, record.recorded_at)
    # when it is audited, then it is named
    assert says(audit(read_memory(journal)), "its snapshot at 1 is not what replay gives")
