"""Durable, shared data structures for asyncio programs: every operation is an event in a SQL journal."""

from casty_es.config import Settings
from casty_es.errors import (
    BoundsError,
    CastyError,
    ConfigurationError,
    DestroyedError,
    EntityQuarantinedError,
    InvalidArgumentError,
    InvalidTypeError,
    InvalidValueError,
    JournalError,
    JournalInUseError,
    JournalUnavailableError,
    NotDoneError,
    OutcomeUnknownError,
    OverloadedError,
    SchemaError,
    UnsafeDurabilityError,
    UsageError,
)
from casty_es.gateway import EntityGateway
from casty_es.handles.barrier import Barrier
from casty_es.handles.counter import Counter
from casty_es.handles.distributed import Distributed
from casty_es.handles.lock import Lock
from casty_es.handles.map import Dict
from casty_es.handles.queue import Queue
from casty_es.handles.semaphore import Semaphore
from casty_es.handles.set import Set
from casty_es.journal.memory import InMemoryJournal
from casty_es.journal.port import EventJournal
from casty_es.journal.sql import SqlJournal
from casty_es.node import ClusteredActorSystem, connect

__version__ = "0.1.0"

__all__ = [
    "Barrier",
    "BoundsError",
    "CastyError",
    "ClusteredActorSystem",
    "ConfigurationError",
    "Counter",
    "DestroyedError",
    "Dict",
    "Distributed",
    "EntityGateway",
    "EntityQuarantinedError",
    "EventJournal",
    "InMemoryJournal",
    "InvalidArgumentError",
    "InvalidTypeError",
    "InvalidValueError",
    "JournalError",
    "JournalInUseError",
    "JournalUnavailableError",
    "Lock",
    "NotDoneError",
    "OutcomeUnknownError",
    "OverloadedError",
    "Queue",
    "SchemaError",
    "Semaphore",
    "Set",
    "Settings",
    "SqlJournal",
    "UnsafeDurabilityError",
    "UsageError",
    "connect",
]
