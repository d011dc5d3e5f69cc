"""What speaks for a snapshot, and what only looks as if it did."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from casty_es.domain.counter import COUNTER, State
from casty_es.domain.upkeep import REDACTED, SEALED, Sealed
from casty_es.format.chain import digest
from casty_es.format.codec import encode_event, encode_state
from casty_es.journal.port import Binding, StoredSnapshot
from casty_es.replay import binding_said, speaks_for, with_binding

SALT = bytes(16)
HASH = bytes(range(32))
SNAPSHOT = StoredSnapshot(20, encode_state(COUNTER, State(20, exists=True)), 1)
SAID = with_binding(None, binding_said(SNAPSHOT, HASH, SALT))
EMPTY = StoredSnapshot(20, encode_state(COUNTER, COUNTER.initial), 1)


def event(metadata: str | None) -> Binding:
    """Return what an increment says."""
    return Binding("counter.incremented", "{}", metadata)


def seal(**changed: Any) -> Binding:
    """Return what a seal of the snapshot says."""
    sealed = Sealed(20, 20, "0" * 64, digest(SALT, SNAPSHOT.state).hex(), "a.jsonl.gz", "0" * 64)
    return Binding(SEALED, encode_event(msgspec.structs.replace(sealed, **changed))[2], None)


@pytest.mark.parametrize(
    ("binding", "snapshot"),
    [
        (event(SAID), SNAPSHOT),
        (event(with_binding('{"actor":"alice"}', binding_said(SNAPSHOT, HASH, SALT))), SNAPSHOT),
        (seal(), SNAPSHOT),
        (seal(through=5)._replace(metadata=SAID), SNAPSHOT),
        (Binding(REDACTED, '{"reason":"asked"}', None), EMPTY),
    ],
)
def test_what_speaks_for_a_snapshot(binding: Binding, snapshot: StoredSnapshot) -> None:
    """Given what the owner, a seal or a redaction says, then it speaks for that snapshot."""
    assert speaks_for(binding, COUNTER, snapshot, SALT, None if binding.type != "counter.incremented" else HASH)


@pytest.mark.parametrize(
    ("binding", "snapshot"),
    [
        (None, SNAPSHOT),
        (event(None), SNAPSHOT),
        (event("not JSON"), SNAPSHOT),
        (event('{"snapshot":[]}'), SNAPSHOT),
        (event(SAID), msgspec.structs.replace(SNAPSHOT, sequence=21)),
        (event(SAID), msgspec.structs.replace(SNAPSHOT, version=2)),
        (event(SAID), msgspec.structs.replace(SNAPSHOT, state=SNAPSHOT.state.replace("20", "21"))),
        (event(SAID), msgspec.structs.replace(SNAPSHOT, state="\udcff")),
        (event(with_binding(None, binding_said(SNAPSHOT, HASH, b"another salt"))), SNAPSHOT),
        (event(with_binding(None, binding_said(SNAPSHOT, bytes(32), SALT))), SNAPSHOT),
        (seal(through=21), SNAPSHOT),
        (seal(state="0" * 64), SNAPSHOT),
        (Binding(SEALED, "{}", None), SNAPSHOT),
        (Binding(REDACTED, '{"reason":"asked"}', None), SNAPSHOT),
    ],
)
def test_what_does_not(binding: Binding | None, snapshot: StoredSnapshot) -> None:
    """Given anything else, then it speaks for none."""
    assert not speaks_for(binding, COUNTER, snapshot, SALT, HASH)
