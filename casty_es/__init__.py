"""Durable, shared data structures for asyncio programs: every operation is an event in a SQL journal."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

from casty_es.config import Settings
from casty_es.context import audit_context
from casty_es.errors import (
    ArchivedError,
    BatchError,
    BoundsError,
    CastyError,
    ClockAheadError,
    ConfigurationError,
    DestroyedError,
    EntityQuarantinedError,
    IdempotencyConflictError,
    InvalidArgumentError,
    InvalidTypeError,
    InvalidValueError,
    JournalError,
    JournalMovedError,
    JournalRegressedError,
    JournalUnavailableError,
    NodeInUseError,
    NotAllowedError,
    NotDoneError,
    OutcomeUnknownError,
    OverloadedError,
    PeerError,
    ReadOnlyError,
    RedactedError,
    RefusedError,
    SchemaError,
    StoredValueError,
    TimesAheadError,
    UnsafeDurabilityError,
    UsageError,
)

if TYPE_CHECKING:
    from casty_es.client import ClusterClient
    from casty_es.cluster.outcome import CommandOutcome, CommandStatus
    from casty_es.connecting import connect
    from casty_es.gateway import EntityGateway
    from casty_es.handles.barrier import Barrier
    from casty_es.handles.counter import Counter
    from casty_es.handles.distributed import Distributed
    from casty_es.handles.lock import Lock
    from casty_es.handles.map import Dict
    from casty_es.handles.queue import Queue
    from casty_es.handles.semaphore import Semaphore
    from casty_es.handles.set import Set
    from casty_es.handles.structure import Structure
    from casty_es.journal.memory import InMemoryJournal
    from casty_es.journal.port import EventJournal
    from casty_es.journal.sql import SqlJournal
    from casty_es.node import ClusteredActorSystem
    from casty_es.structures import register

__version__ = "0.1.0"

__all__ = [
    "ArchivedError",
    "Barrier",
    "BatchError",
    "BoundsError",
    "CastyError",
    "ClockAheadError",
    "ClusterClient",
    "ClusteredActorSystem",
    "CommandOutcome",
    "CommandStatus",
    "ConfigurationError",
    "Counter",
    "DestroyedError",
    "Dict",
    "Distributed",
    "EntityGateway",
    "EntityQuarantinedError",
    "EventJournal",
    "IdempotencyConflictError",
    "InMemoryJournal",
    "InvalidArgumentError",
    "InvalidTypeError",
    "InvalidValueError",
    "JournalError",
    "JournalMovedError",
    "JournalRegressedError",
    "JournalUnavailableError",
    "Lock",
    "NodeInUseError",
    "NotAllowedError",
    "NotDoneError",
    "OutcomeUnknownError",
    "OverloadedError",
    "PeerError",
    "Queue",
    "ReadOnlyError",
    "RedactedError",
    "RefusedError",
    "SchemaError",
    "Semaphore",
    "Set",
    "Settings",
    "SqlJournal",
    "StoredValueError",
    "Structure",
    "TimesAheadError",
    "UnsafeDurabilityError",
    "UsageError",
    "audit_context",
    "connect",
    "register",
]

_LATER: Final = {
    "ClusterClient": "client",
    "CommandOutcome": "cluster.outcome",
    "CommandStatus": "cluster.outcome",
    "connect": "connecting",
    "EntityGateway": "gateway",
    "Barrier": "handles.barrier",
    "Counter": "handles.counter",
    "Distributed": "handles.distributed",
    "Lock": "handles.lock",
    "Dict": "handles.map",
    "Queue": "handles.queue",
    "Semaphore": "handles.semaphore",
    "Set": "handles.set",
    "Structure": "handles.structure",
    "InMemoryJournal": "journal.memory",
    "EventJournal": "journal.port",
    "SqlJournal": "journal.sql",
    "ClusteredActorSystem": "node",
    "register": "structures",
}
"""What is imported when it is first asked for: all of it takes longer to load than most programs' own code."""

if not TYPE_CHECKING:  # a checker would take it for every name that there is not

    def __getattr__(name: str) -> object:
        if name not in _LATER:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        found = globals()[name] = getattr(import_module(f"{__name__}.{_LATER[name]}"), name)
        return found

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
