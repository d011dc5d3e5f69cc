"""A counter as an older version of the code wrote it: an increment said ``by`` and ``now``."""

from __future__ import annotations

import json
from typing import Any, Final

import pytest

from casty_es.domain.counter import COUNTER, Incremented
from casty_es.journal.port import EntityName
from casty_es.journal.sql import SqlJournal
from tests.audit.conftest import NOON
from tests.audit.recorder import Recorder
from tests.versions import with_upcasters

__all__ = ["OLD_EVENTS", "lift", "write_both_versions"]

OLD_EVENTS: Final = 5
_NAME: Final = EntityName("counter", "hits", "")


def lift(fields: dict[str, Any]) -> dict[str, Any]:
    """Make the fields of version 2."""
    return {"amount": fields["by"], "value": fields["now"]}


class _OldRecorder(Recorder):
    """Writes increments in version 1."""

    def _row(self, epoch: int, entity: Any, sequence: Any, type_: Any, payload: str, time: int) -> Any:
        if type_[0] == "counter.incremented":
            fields = json.loads(payload)
            type_, payload = (type_[0], 1), json.dumps({"by": fields["amount"], "now": fields["value"]})
        return super()._row(epoch, entity, sequence, type_, payload, time)


async def write_both_versions(url: str, monkeypatch: pytest.MonkeyPatch, *, lifted_by: Any = lift) -> EntityName:
    """Write ``OLD_EVENTS`` increments of version 1, and as many of version 2, which is the code's from now on."""
    with_upcasters(monkeypatch, "counter.incremented", lifted_by)
    journal = SqlJournal(url)
    meta = await journal.open()
    try:
        await journal.record_structures([(*_NAME[:2], 100)])
        old = _OldRecorder(journal, _NAME, meta.slots)
        await old.begin(NOON)
        for number in range(OLD_EVENTS):
            await old.record((Incremented(1, number + 1),), NOON + number)
        new = Recorder(journal, _NAME, meta.slots)
        new.id, new.state, new.sequence, new.head = old.id, old.state, old.sequence, old.head
        for number in range(OLD_EVENTS, 2 * OLD_EVENTS):
            await new.record((Incremented(1, number + 1),), NOON + number)
        await new.snapshot(NOON)
        assert new.kind is COUNTER
    finally:
        await journal.close()
    return _NAME
