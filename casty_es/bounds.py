"""What comes from other processes, as types with bounds: msgspec holds whatever it decodes to them, at next to no cost.

A text with a ``max_length`` is held to as many *bytes* besides, and to what the database can store, by the function
that the handles use (``names.check_text``; ``commands.checks_of`` finds those fields).
"""

from __future__ import annotations

import sys
from typing import Annotated, Final, TypeAlias

from msgspec import Meta

from casty_es.config import LARGEST_SETTING, MAX_SLOTS
from casty_es.names import MAX_COUNT, MAX_IDEMPOTENCY_KEY_BYTES, MAX_NAME_BYTES, MAX_SEQUENCE

# A slot of 2**44 records is centuries old at full speed; a term is the journal's incarnation in front of such a number.
POSITION_BITS: Final = 44
MAX_REASON_BYTES: Final = 1_000
_UUID: Final = r"\A[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\Z"
_LONGEST_ADDRESS: Final = 300  # a name in the DNS and a port, with room for brackets

Name: TypeAlias = Annotated[str, Meta(min_length=1, max_length=MAX_NAME_BYTES)]
"""What something is called."""
Kind: TypeAlias = Annotated[str, Meta(min_length=1, max_length=80)]
"""The name of a structure's kind, of a command or of an error: it is looked up, and what is not there is refused."""
IdempotencyKey: TypeAlias = Annotated[str, Meta(min_length=1, max_length=MAX_IDEMPOTENCY_KEY_BYTES)]
Participant: TypeAlias = Annotated[str, Meta(min_length=1, max_length=MAX_NAME_BYTES + 37)]
"""Who arrives at a barrier: a name, or a name, a slash and the request of an arrival that has none of its own."""
Reason: TypeAlias = Annotated[str, Meta(min_length=1, max_length=MAX_REASON_BYTES)]
FileName: TypeAlias = Annotated[str, Meta(min_length=1, max_length=255)]
Address: TypeAlias = Annotated[str, Meta(min_length=1, max_length=_LONGEST_ADDRESS)]
RequestId: TypeAlias = Annotated[str, Meta(pattern=_UUID)]
"""A command id as text, by which a request is called."""
Digest: TypeAlias = Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")]
"""SHA-256, hexadecimal."""
Unsaid: TypeAlias = Annotated[str, Meta(max_length=0)]
"""What nobody can say of himself; whoever takes it in writes it."""

CommandId: TypeAlias = Annotated[bytes, Meta(min_length=16, max_length=16)]
Hash: TypeAlias = Annotated[bytes, Meta(max_length=8)]
"""The beginning of a record's hash, as marks have it; empty when it is not known."""

Amount: TypeAlias = Annotated[int, Meta(description="what a counter counts by")]
"""What a counter counts by; it may be longer than msgspec's bounds, so a function looks at it."""
Count: TypeAlias = Annotated[int, Meta(ge=1, le=MAX_COUNT)]
Shards: TypeAlias = Count
ShardsOrNone: TypeAlias = Annotated[int, Meta(ge=0, le=MAX_COUNT)]
"""A number of shards; 0 when none is recorded."""
Number: TypeAlias = Annotated[int, Meta(ge=0, le=MAX_SEQUENCE)]
"""A position, a sequence, a term or a time that has to be there; 0 stands before the first."""
Position: TypeAlias = Annotated[int, Meta(ge=1, lt=2**POSITION_BITS)]
"""Where a record stands that somebody was told of."""
Incarnation: TypeAlias = Annotated[int, Meta(ge=1, lt=2 ** (63 - POSITION_BITS))]
SettingBytes: TypeAlias = Annotated[int, Meta(ge=1, le=LARGEST_SETTING)]
SettingSeconds: TypeAlias = Annotated[float, Meta(gt=0, le=LARGEST_SETTING)]
Slots: TypeAlias = Annotated[int, Meta(ge=1, le=MAX_SLOTS)]
SlotNumber: TypeAlias = Annotated[int, Meta(ge=0, lt=MAX_SLOTS)]
SlotNumbers: TypeAlias = Annotated[tuple[SlotNumber, ...], Meta(max_length=MAX_SLOTS)]
Seconds: TypeAlias = Annotated[float, Meta(ge=-sys.float_info.max, le=sys.float_info.max)]
"""What is left of somebody's time; finite, and below zero when it is over."""

TAGS: Final = {
    "Ask": 1,
    "Locate": 2,
    "FindShards": 3,
    "GetTopology": 4,
    "FindOutcome": 5,
    "ReadHistory": 6,
    "ReadPast": 7,
    "ReadPositions": 8,
    "Recall": 9,
    "Answered": 16,
    "Failed": 17,
    "Refused": 18,
    "Located": 19,
    "ShardsFound": 20,
    "Topology": 21,
    "Outcome": 22,
    "HistoryPage": 23,
    "Positions": 24,
    "Recalled": 25,
    "Part": 32,
}
"""What a message begins with, by its class. A number is never given twice, also when its message is gone."""
