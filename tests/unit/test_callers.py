"""Who caused an event, as ``casty-es who`` and ``timeline`` tell it: what was said, and what was proven."""

from __future__ import annotations

import msgspec
import pytest

from casty_es.audit.forensics import Caller
from casty_es.audit.forensics.tracker import caller_of
from casty_es.cli.spans import caller_text
from casty_es.journal.port import RecordedEvent


@pytest.mark.parametrize(
    ("metadata", "caller", "text"),
    [
        (None, Caller(), ""),
        ('{"actor":"alice","reason":"r"}', Caller("alice", "r"), "alice: r"),
        ('{"principal":"token:t"}', Caller(principal="token:t"), "[token:t]"),
        (
            '{"actor":"root","principal":"token:t"}',
            Caller("root", principal="token:t"),
            "root [token:t]",
        ),
    ],
)
def test_what_was_said_and_what_was_proven(metadata: str | None, caller: Caller, text: str) -> None:
    """Given an event's metadata, then the two are told apart."""
    given = {field.name: None for field in msgspec.structs.fields(RecordedEvent)} | {"metadata": metadata}
    told = caller_of(RecordedEvent(**given))  # type: ignore[arg-type]

    assert told == caller
    assert caller_text(told) == text
