"""Every error of the library, as one tree.

::

    CastyError
    ├── ConfigurationError            settings that contradict each other or the journal
    │   └── UnsafeDurabilityError     the database would acknowledge writes it can lose
    ├── InvalidArgumentError          (ValueError) a name, key, number or timeout that cannot be used
    │   ├── InvalidValueError         a value that cannot be stored, or would not come back equal
    │   └── BoundsError               a counter would leave ±10**4000
    ├── InvalidTypeError              (TypeError) an argument of the wrong type
    ├── UsageError                    (RuntimeError) called before start, after close, from another loop, after a fork
    ├── OverloadedError               too many commands are waiting; nothing was done
    ├── NotDoneError                  (TimeoutError) the time was up and the operation certainly did not happen
    │   └── StillInLineError          the time was up and the request stands in its line until it is withdrawn
    ├── OutcomeUnknownError           (TimeoutError) the time was up and the operation may have happened
    ├── DestroyedError                the structure was destroyed while the caller waited
    ├── EntityQuarantinedError        the log of an entity cannot be read by this code
    └── JournalError                  everything that the journal says
        ├── JournalUnavailableError   the database cannot be reached or written
        ├── JournalInUseError         another process holds the right to write
        ├── SchemaError               the tables are missing, too old or too new
        ├── AppendRejectedError       the database refused the append; nothing was written
        │   └── ConflictError         the slot's head is not the one the append named
        ├── AppendUnknownError        an append was sent and its answer never came
        ├── LeaseLostError            another owner took the slot; nothing was written
        └── JournalCorruptError       positions, sequences or hashes do not fit together
"""

from __future__ import annotations

from uuid import UUID

__all__ = [
    "AppendRejectedError",
    "AppendUnknownError",
    "BoundsError",
    "CastyError",
    "ConfigurationError",
    "ConflictError",
    "DestroyedError",
    "EntityQuarantinedError",
    "InvalidArgumentError",
    "InvalidTypeError",
    "InvalidValueError",
    "JournalCorruptError",
    "JournalError",
    "JournalInUseError",
    "JournalUnavailableError",
    "LeaseLostError",
    "NotDoneError",
    "OutcomeUnknownError",
    "OverloadedError",
    "SchemaError",
    "StillInLineError",
    "UnsafeDurabilityError",
    "UsageError",
]


class CastyError(Exception):
    """The root of the tree: ``except CastyError`` catches every error of the library."""


class ConfigurationError(CastyError):
    """Two settings contradict each other, or contradict what the journal recorded. Nothing was done."""


class UnsafeDurabilityError(ConfigurationError):
    """The database is set up to acknowledge commits that a crash can take back. Nothing was opened."""


class InvalidArgumentError(CastyError, ValueError):
    """A name, key, number or timeout cannot be used. Nothing was sent."""


class InvalidValueError(InvalidArgumentError):
    """A value cannot be stored, or would not come back equal under its declared type. Nothing was sent."""


class BoundsError(InvalidArgumentError):
    """The counter would leave ±10**4000. Nothing was appended; the counter keeps its value."""


class InvalidTypeError(CastyError, TypeError):
    """An argument has the wrong type. Nothing was sent."""


class UsageError(CastyError, RuntimeError):
    """The system was used before its start, after its close, from another event loop or after a fork."""


class OverloadedError(CastyError):
    """More commands are waiting than the configured bound. This one was not accepted; try again later."""


class NotDoneError(CastyError, TimeoutError):
    """The time was up. The operation certainly did not happen, and will not."""


class StillInLineError(NotDoneError):
    """The time was up while a request stood in line. Handles withdraw it before they tell their caller."""


class OutcomeUnknownError(CastyError, TimeoutError):
    """The time was up, or the database went away, after the operation was sent to it. It may have happened.

    Parameters
    ----------
    message : str
        What happened.
    command_id : UUID | None
        The id under which the operation stands in the journal, if it happened.
    """

    def __init__(self, message: str, *, command_id: UUID | None = None) -> None:
        super().__init__(message)
        self.command_id = command_id


class DestroyedError(CastyError):
    """The structure was destroyed while the caller waited in its line. Nothing was granted."""


class EntityQuarantinedError(CastyError):
    """An event or snapshot of this entity cannot be read by the installed code. Nothing was changed.

    Only this entity is closed; everything else goes on. Install the version of the code that wrote the
    record, or one that has an upcaster for it.
    """


class JournalError(CastyError):
    """The journal could not do what was asked."""


class JournalUnavailableError(JournalError):
    """The database cannot be reached, opened or written. Nothing was written."""


class JournalInUseError(JournalError):
    """Another process holds the right to write this journal. Nothing was written; reads go on working."""


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


class JournalCorruptError(JournalError):
    """Positions, sequences or hashes of the journal do not fit together. Nothing was changed."""
