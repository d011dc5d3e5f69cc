"""What nodes and clients say to each other: messages as msgpack arrays, many to a frame.

Messages are data. A structure, a command or an error travels by a name that the receiver looks up in its own tables;
values, and numbers that msgpack cannot hold, travel inside JSON bytes (``codec.py``). Each field has its bounds here, a
command's where it is defined; what bounds cannot say is checked in ``cluster/incoming.py``.
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

import msgspec

from casty_es.bounds import (
    TAGS,
    Address,
    CommandId,
    Count,
    Hash,
    IdempotencyKey,
    Incarnation,
    Kind,
    Name,
    Number,
    Seconds,
    SettingBytes,
    SettingSeconds,
    Shards,
    ShardsOrNone,
    SlotNumber,
    SlotNumbers,
    Slots,
)
from casty_es.journal.port import Stored
from casty_es.journal.remembered import Mark
from casty_es.replay import HistoryPage, Positions, Then

PROTOCOL_VERSION: Final = 3
"""3 since whoever dials proves first; 2 since nodes ask each other what they remember."""

OLDEST_VERSION: Final = 3
"""What is spoken at least: an older listener gives its name, and something to try secrets on, to whoever asks."""


class Ask(msgspec.Struct, frozen=True, array_like=True, tag=TAGS.__getitem__, gc=False):
    """A command for an entity, addressed to the term under which its sender believes the slot to be held.

    ``seconds`` is what is left until the caller's deadline. ``repeat_after`` is there from the second sending on: the
    slot's position that was known when the command was first sent.
    """

    slot: SlotNumber
    term: Number
    kind: Kind
    name: Name
    key: str
    shards: Shards
    command: Kind
    body: bytes
    command_id: CommandId
    seconds: Seconds
    local: bool = False
    repeat_after: Number | None = None
    idempotency_key: IdempotencyKey | None = None
    metadata: str | None = None


class Locate(msgspec.Struct, frozen=True, array_like=True, tag=TAGS.__getitem__, gc=False):
    """Ask who holds a slot, and say what is remembered of it. The node that is asked takes it if nobody does."""

    slot: SlotNumber
    mark: Mark | None = None


class FindShards(msgspec.Struct, frozen=True, array_like=True, tag=TAGS.__getitem__, gc=False):
    """Ask how many shards were recorded for a structure."""

    kind: Kind
    name: Name


class GetTopology(msgspec.Struct, frozen=True, array_like=True, tag=TAGS.__getitem__, gc=False):
    """Ask who is alive, and who holds what."""


class FindOutcome(msgspec.Struct, frozen=True, array_like=True, tag=TAGS.__getitem__, gc=False):
    """Ask what became of a command that was sent under ``term`` at most, and first when the slot was at ``after``."""

    kind: Kind
    slot: SlotNumber
    after: Number
    term: Number
    command_id: CommandId


class ReadHistory(msgspec.Struct, frozen=True, array_like=True, tag=TAGS.__getitem__, gc=False):
    """Ask for an entity's next events behind a sequence, or behind the last one of a time."""

    kind: Kind
    name: Name
    key: str
    after: Number
    after_time: Stored | None
    limit: Count


class ReadPast(msgspec.Struct, frozen=True, array_like=True, tag=TAGS.__getitem__, gc=False):
    """Ask a query of an entity's state as of then."""

    kind: Kind
    name: Name
    key: str
    command: Kind
    body: bytes
    then: Then


class ReadPositions(msgspec.Struct, frozen=True, array_like=True, tag=TAGS.__getitem__, gc=False):
    """Ask how far every slot is committed."""


class Recall(msgspec.Struct, frozen=True, array_like=True, tag=TAGS.__getitem__, gc=False):
    """Ask a node what it remembers of these slots."""

    slots: SlotNumbers


Request: TypeAlias = (
    Ask | Locate | FindShards | GetTopology | FindOutcome | ReadHistory | ReadPast | ReadPositions | Recall
)


class Answered(msgspec.Struct, frozen=True, array_like=True, tag=TAGS.__getitem__, gc=False):
    """The reply to a command, how far the slot's log is committed, and the hash of the record there as in a mark."""

    body: bytes
    position: Number
    hash: Hash = b""


class Failed(msgspec.Struct, frozen=True, array_like=True, tag=TAGS.__getitem__, gc=False):
    """The error that a command ended with, by its name in ``errors.py``."""

    error: Kind
    message: str
    detail: str = ""


class Refused(msgspec.Struct, frozen=True, array_like=True, tag=TAGS.__getitem__, gc=False):
    """Not the owner: see ``NotOwnerError``."""

    message: str
    slot: SlotNumber
    node_id: Name | None = None
    address: Address | None = None
    epoch: Number = 0
    shards: ShardsOrNone = 0


class Located(msgspec.Struct, frozen=True, array_like=True, tag=TAGS.__getitem__, gc=False):
    """The node that was asked holds the slot under this term, and its log is committed up to this position."""

    term: Number
    position: Number
    hash: Hash = b""


class ShardsFound(msgspec.Struct, frozen=True, array_like=True, tag=TAGS.__getitem__, gc=False):
    """The recorded number of shards, 0 for none."""

    shards: ShardsOrNone


class NodeEntry(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A living node. Without an address, nobody can dial it."""

    node_id: Name
    address: Address | None
    host: str
    pid: Number
    started_at: Stored


class SlotEntry(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Who holds a slot, as far as is known."""

    slot: SlotNumber
    node_id: Name
    address: Address | None
    epoch: Number
    since: Stored


class Topology(msgspec.Struct, frozen=True, array_like=True, tag=TAGS.__getitem__, gc=False):
    """The cluster as a node sees it. ``unreached`` are the living nodes that it could not dial."""

    slots: Slots
    incarnation: Incarnation
    lease_seconds: SettingSeconds
    max_value_bytes: SettingBytes
    nodes: tuple[NodeEntry, ...]
    owners: tuple[SlotEntry, ...]
    unreached: tuple[Name, ...] = ()


class Outcome(msgspec.Struct, frozen=True, array_like=True, tag=TAGS.__getitem__, gc=False):
    """What became of a command: ``executed`` with its reply, ``not executed``, or still ``unknown``."""

    status: Literal["executed", "not executed", "unknown"]
    body: bytes = b""


class Recalled(msgspec.Struct, frozen=True, array_like=True, tag=TAGS.__getitem__, gc=False):
    """What a node remembers, by slot; of a slot that is absent it remembers nothing.

    ``unlisted`` are the nodes that it asks besides those that are listed; who comes with a token is told of none.
    """

    marks: dict[SlotNumber, tuple[Mark, ...]]
    unlisted: tuple[NodeEntry, ...] = ()


Answer: TypeAlias = (
    Answered | Failed | Refused | Located | ShardsFound | Topology | Outcome | HistoryPage | Positions | Recalled
)
