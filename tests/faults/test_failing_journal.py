"""Every append of a run fails once, in every way an append can fail; the audit finds nothing wrong afterwards.

A run is short and uses all seven structures with concurrent callers; with few slots and group commit, most appends
carry several commands, entities and slots.

In memory each append fails. In a database every 24th does, from another one on for each way to fail, and ``-m long``
lets each fail there too: what a database adds is how it takes what comes after a failure, not where in a run that is.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from casty_es import ClusteredActorSystem, Distributed
from casty_es.config import Settings
from casty_es.journal.memory import InMemoryJournal
from casty_es.journal.sql import SqlJournal

from .audit import audit, read_memory, read_sql
from .faulty import Fault, FaultyJournal
from .mixed import run_once
from .recording import Operation, Recorder

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from .audit import Log

    Opened = tuple[InMemoryJournal | SqlJournal, Callable[[], Awaitable[Log]]]

# Few events a snapshot, so that snapshots are taken between the failures too; short leases, so that what a failed
# caller left in a line is gone soon.
_SETTINGS = Settings(snapshot_events=10, lease_seconds=2.0)


_EACH, _SOME = 1, 24


@pytest.fixture
def opened(request: pytest.FixtureRequest) -> Opened:
    """Each journal without a record, and how to read all of it."""
    if request.param == "memory":
        journal = InMemoryJournal(slots=4)

        async def read() -> Log:
            return read_memory(journal)

        return journal, read
    url = request.getfixturevalue(f"{request.param}_journal_url")
    return SqlJournal(url), lambda: read_sql(url)


@asynccontextmanager
async def running(journal: Any, operations: list[Operation]) -> AsyncIterator[Distributed]:
    """A system on a journal, whose operations are written down."""
    async with ClusteredActorSystem(journal=journal, settings=_SETTINGS) as system:
        recorder = Recorder(system)
        recorder.operations = operations
        yield Distributed(recorder)


@pytest.mark.parametrize("width", [1, 2], ids=["one append", "two appends"])
@pytest.mark.parametrize("fault", Fault, ids=lambda fault: fault.name.lower())
@pytest.mark.parametrize(
    ("opened", "step"),
    [
        ("memory", _EACH),
        *((database, _SOME) for database in ("sqlite", "postgres")),
        *(pytest.param(database, _EACH, marks=pytest.mark.long) for database in ("sqlite", "postgres")),
    ],
    indirect=["opened"],
)
async def test_no_failing_append_breaks_a_promise(opened: Opened, step: int, fault: Fault, width: int) -> None:
    """Whichever append fails, and the next one with it, callers were told the truth and the system goes on working."""
    journal, read = opened
    operations: list[Operation] = []
    findings: list[str] = []
    number, struck = 1 + list(Fault).index(fault) % step, 1
    while struck:
        # given a journal whose appends from this number on fail
        faulty = FaultyJournal(journal, fault, range(number, number + width))
        async with running(faulty, operations) as d:
            # when everybody uses everything
            await run_once(d, f"{number}-")
            struck, faulty.at = faulty.struck, range(0)
            # then it goes on working, in the same process
            for caller in await run_once(d, f"{number}-after-", callers=2):
                findings += [f"append {number}: afterwards a caller met {error!r}" for error in caller.errors]
        if fault is Fault.WRITTEN_LATER and faulty.late_was_written:
            findings.append(f"append {number}: it was written late, behind the record that settled it")
        number += step
    # and the journal has what callers were told; a finding names the run that it is of by the structure's name
    findings += audit(await read(), operations)
    assert not findings, "\n".join(findings)
    # and the faults met more than a handful of appends
    assert number > 8 + step
