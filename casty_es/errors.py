"""Every error of the library, as one tree.

::

    CastyError
    ├── ConfigurationError            settings that contradict each other or the journal
    │   ├── NodeInUseError            a living process has the same node_id
    │   └── UnsafeDurabilityError     the database would acknowledge writes it can lose
    ├── InvalidArgumentError          (ValueError) a name, key, number or timeout that cannot be used
    │   ├── InvalidValueError         a value that cannot be stored, or would not come back equal
    │   └── BoundsError               a counter would leave ±10**4000
    ├── InvalidTypeError              (TypeError) an argument of the wrong type
    ├── UsageError                    (RuntimeError) called before start, after close, from another loop, after a fork
    │   └── ReadOnlyError             it would have changed the past
    ├── NotAllowedError               the caller's token does not allow it; nothing was done
    ├── OverloadedError               too many commands are waiting; nothing was done
    ├── NotDoneError                  (TimeoutError) the time was up and the operation certainly did not happen
    │   └── StillInLineError          the time was up and the request stands in its line until it is withdrawn
    ├── OutcomeUnknownError           (TimeoutError) the time was up and the operation may have happened
    ├── BatchError                    some of many keys failed; it says which, and why each
    ├── StoredValueError              (ValueError) a stored value does not fit the declared type; its raw JSON is there
    ├── RefusedError                  a structure of one's own refused a command; nothing was done
    ├── DestroyedError                the structure was destroyed while the caller waited
    ├── ArchivedError                 it lies before a cut: retention moved it to an archive
    ├── EntityQuarantinedError        the log of an entity cannot be read by this code
    │   └── RedactedError             it was redacted: its digest is kept, and nothing brings the value back
    ├── IdempotencyConflictError      an idempotency key was used before, for another operation
    ├── PeerError                     another node cannot be talked to
    │   ├── PeerLostError             the connection to it was lost, or cannot be made
    │   └── PeerRefusedError          one of the two refused the other: secret, system, version, or what was sent
    └── JournalError                  everything that the journal says
        ├── JournalUnavailableError   the database cannot be reached or written
        │   └── JournalMovedError     the SQLite file at the path is not the one that is open
        ├── SchemaError               the tables are missing, too old or too new
        ├── AppendRejectedError       the database refused the append; nothing was written
        │   └── ConflictError         the slot's head is not the one the append named
        ├── AppendUnknownError        an append was sent and its answer never came
        ├── LeaseLostError            another owner took the slot; nothing was written
        │   └── NotOwnerError         the command reached a node that does not hold the slot's lease
        ├── ClockAheadError           the clock of the host is far ahead of the database's
        ├── TimesAheadError           times of a slot have not come yet, so no moment tells its past
        ├── JournalRegressedError     the database lost records that it had acknowledged
        └── JournalCorruptError       positions, sequences or hashes do not fit together
"""

from __future__ import annotations

from typing import Any, NamedTuple
from uuid import UUID

__all__ = [
    "AppendRejectedError",
    "AppendUnknownError",
    "ArchivedError",
    "BatchError",
    "BoundsError",
    "CastyError",
    "ClockAheadError",
    "ConfigurationError",
    "ConflictError",
    "DestroyedError",
    "EntityQuarantinedError",
    "IdempotencyConflictError",
    "InvalidArgumentError",
    "InvalidTypeError",
    "InvalidValueError",
    "JournalCorruptError",
    "JournalError",
    "JournalMovedError",
    "JournalRegressedError",
    "JournalUnavailableError",
    "LeaseLostError",
    "NodeInUseError",
    "NotAllowedError",
    "NotDoneError",
    "NotOwnerError",
    "OutcomeUnknownError",
    "OverloadedError",
    "PeerError",
    "PeerLostError",
    "PeerRefusedError",
    "ReadOnlyError",
    "RedactedError",
    "RefusedError",
    "SchemaError",
    "Sent",
    "StillInLineError",
    "StoredValueError",
    "TimesAheadError",
    "UnsafeDurabilityError",
    "UsageError",
]


class CastyError(Exception):
    """The root of the tree: ``except CastyError`` catches every error of the library."""


class ConfigurationError(CastyError):
    """Two settings contradict each other, or contradict what the journal recorded. Nothing was done."""


class NodeInUseError(ConfigurationError):
    """A living process has the same ``node_id``. Nothing was started."""


class UnsafeDurabilityError(ConfigurationError):
    """The database is set up to acknowledge commits that a crash can take back. Nothing was opened."""


class InvalidArgumentError(CastyError, ValueError):
    """A name, key, number or timeout cannot be used. Nothing was sent."""


class InvalidValueError(InvalidArgumentError):
    """A value cannot be stored, or would not come back equal under its declared type. Nothing was sent."""


class BoundsError(InvalidArgumentError):
    """The counter would leave ±10**4000, or the bounds of a call. Nothing was appended; the counter keeps its value."""


class InvalidTypeError(CastyError, TypeError):
    """An argument has the wrong type. Nothing was sent."""


class UsageError(CastyError, RuntimeError):
    """The system was used before its start, after its close, from another event loop or after a fork."""


class ReadOnlyError(UsageError):
    """Something would have changed the past. Nothing was done."""


class NotAllowedError(CastyError):
    """The caller's token does not allow it. It did not happen."""


class OverloadedError(CastyError):
    """More commands are waiting than the configured bound. This one was not accepted; try again later."""


class NotDoneError(CastyError, TimeoutError):
    """The time was up. The operation certainly did not happen, and will not."""


class StillInLineError(NotDoneError):
    """The time was up while a request stood in line. Handles withdraw it before they tell their caller."""


class OutcomeUnknownError(CastyError, TimeoutError):
    """The time was up, or the database went away, after the operation was sent. It may have happened.

    Parameters
    ----------
    message : str
        What happened.
    command_id : UUID | None
        The id under which the operation stands in the journal, if it happened.
    sent : Sent | None
        Where it was sent, for asking later: ``await system.outcome(error.command_id, sent=error.sent)``.
    """

    def __init__(self, message: str, *, command_id: UUID | None = None, sent: Sent | None = None) -> None:
        super().__init__(message)
        self.command_id = command_id
        self.sent = sent


class Sent(NamedTuple):
    """Where a command went: what it takes to find out later what became of it.

    Attributes
    ----------
    kind : str
        The structure's kind.
    slot : int
        The slot it was sent to.
    after : int
        The slot's position that was known when it was first sent.
    term : int
        The highest term that it was sent under: an epoch, behind the journal's incarnation.
    """

    kind: str
    slot: int
    after: int
    term: int


class BatchError(CastyError):
    """A call that had many keys failed for some of them. What was asked of the others is done.

    Parameters
    ----------
    message : str
        What happened.
    failed : dict[Any, CastyError]
        For each key that failed the error that the call for it alone would have raised, or ``NotDoneError`` for one
        that was not sent, because so many before it had failed.
    done : dict[Any, Any]
        What was told of each of the others.
    """

    def __init__(
        self, message: str, *, failed: dict[Any, CastyError] | None = None, done: dict[Any, Any] | None = None
    ) -> None:
        super().__init__(message)
        self.failed = failed or {}
        self.done = done or {}


class StoredValueError(CastyError, ValueError):
    """A stored value cannot be read under the declared type. The value is safe: the message says where it is.

    Parameters
    ----------
    message : str
        What happened to the value and to the operation.
    raw : str
        The value's JSON, as it is stored.
    command_id : UUID | None
        The operation that gave the value out, if it is recorded under an id.
    """

    def __init__(self, message: str, *, raw: str = "", command_id: UUID | None = None) -> None:
        super().__init__(message)
        self.raw = raw
        self.command_id = command_id


class RefusedError(CastyError):
    """A structure of one's own refused a command: nothing was appended and nothing changed.

    ``decide`` raises it, or a class derived from it. Whoever asks from another process gets this class, with the text.
    """


class DestroyedError(CastyError):
    """The structure was destroyed while the caller waited in its line. Nothing was granted."""


class EntityQuarantinedError(CastyError):
    """An event or snapshot of this entity cannot be read by the installed code. Nothing was changed.

    Only this entity is closed; everything else goes on. Install the version of the code that wrote the
    record, or one that has an upcaster for it.
    """


class ArchivedError(CastyError):
    """What was asked for lies before a cut: retention moved it to an archive, which the entity's log names."""


class RedactedError(EntityQuarantinedError):
    """What was asked for was redacted: its digest is kept, and nothing can bring the value back."""


class IdempotencyConflictError(CastyError):
    """The idempotency key was used on this entity before, for another operation. Nothing was done."""


class PeerError(CastyError):
    """Another node cannot be talked to."""


class PeerLostError(PeerError):
    """The connection to another node was lost, or cannot be made.

    Parameters
    ----------
    message : str
        What happened.
    sent : bool
        Whether what was asked may have reached the node.
    """

    def __init__(self, message: str, *, sent: bool) -> None:
        super().__init__(message)
        self.sent = sent


class PeerRefusedError(PeerError):
    """Two nodes could not agree to talk: the secret, the system's name or the protocol version differ."""


class JournalError(CastyError):
    """The journal could not do what was asked."""


class JournalUnavailableError(JournalError):
    """The database cannot be reached, opened or written. Nothing was written."""


class JournalMovedError(JournalUnavailableError):
    """The SQLite file at the path, its log or its index is not the one that a process has open. All work is refused."""


class SchemaError(JournalError):
    """The journal's tables are missing, or of another version than this code. Nothing was opened."""


class AppendRejectedError(JournalError):
    """The database refused the append. Nothing of it was written."""


class ConflictError(AppendRejectedError):
    """A slot's head is not the one the append named: somebody else wrote. Nothing of the append was written.

    Parameters
    ----------
    message : str
        What happened.
    constraint : str
        The constraint that refused: ``predecessor``, or the database's constraint by name.
    """

    def __init__(self, message: str, *, constraint: str) -> None:
        super().__init__(message)
        self.constraint = constraint


class AppendUnknownError(JournalError):
    """An append was sent and no trustworthy answer came back: it may have been committed, now or later."""


class LeaseLostError(JournalError):
    """Another owner took over the slot before this command was written. Nothing was written; try again."""


class NotOwnerError(LeaseLostError):
    """The node does not hold the slot under the term that the command was addressed to. Nothing was written here.

    Parameters
    ----------
    message : str
        What happened.
    slot : int
        The slot that the command belongs to.
    node_id, address : str | None
        The node to try next and where it listens, if known.
    epoch : int
        The epoch under which it holds the slot, or 0 when that is not known.
    shards : int
        The structure's recorded number of shards, when the sender computed with another one; else 0.
    """

    def __init__(
        self,
        message: str,
        *,
        slot: int,
        node_id: str | None = None,
        address: str | None = None,
        epoch: int = 0,
        shards: int = 0,
    ) -> None:
        super().__init__(message)
        self.slot = slot
        self.node_id = node_id
        self.address = address
        self.epoch = epoch
        self.shards = shards


class JournalRegressedError(JournalError):
    """The database has lost records that it had acknowledged. The slot is closed until an operator accepts the loss."""


class ClockAheadError(JournalError):
    """The clock of the host is far ahead of the database's. Nothing was written."""


class TimesAheadError(JournalError):
    """Times of a slot have not come yet, so its past cannot be told by a moment."""


class JournalCorruptError(JournalError):
    """Positions, sequences or hashes of the journal do not fit together. Nothing was changed."""
