"""What a caller is told of a command that brought no reply: the one place that denies.

1. "It did not happen" is a statement of fact. It is made here and nowhere else, from evidence: what was sent of the
   command, and what came back of it.
2. A command is in doubt from the moment that a sending of it left whose fate nobody has told since. Then only
   ``OutcomeUnknownError`` is true, with the id under which the command would stand in the journal.
3. A query changes nothing, so whatever became of it, it did not happen.
4. No text says more than the evidence does.
"""

from __future__ import annotations

from typing import Final, NamedTuple
from uuid import UUID

from casty_es.errors import (
    BoundsError,
    CastyError,
    ConfigurationError,
    DestroyedError,
    IdempotencyConflictError,
    JournalUnavailableError,
    LeaseLostError,
    NotAllowedError,
    NotDoneError,
    NotOwnerError,
    OutcomeUnknownError,
    OverloadedError,
    PeerLostError,
    Sent,
    StillInLineError,
    UsageError,
)

DECIDED: Final = (
    NotDoneError,
    BoundsError,
    ConfigurationError,
    DestroyedError,
    IdempotencyConflictError,
    NotAllowedError,
)
"""What an owner refuses a command with once it has looked for earlier attempts at it, or refuses every attempt with
alike. Whatever else comes back leaves a command in doubt that was so before."""


class Evidence(NamedTuple):
    """What is known of a command that has no reply."""

    what: str  # the command's name
    command_id: bytes  # the id under which its events are recorded, 16 bytes
    in_doubt: bool  # whether a sending of it left whose fate nobody has told: it may have happened, or may still happen
    changes: bool = True  # whether it can change anything; a query cannot
    sent: Sent | None = None  # where it was sent, for asking later
    came_back: str = ""  # what the last attempt ended with, if that is worth telling

    @property
    def denies(self) -> bool:
        """Whether it is known that the command did not happen, and will not."""
        return not (self.in_doubt and self.changes)

    def unknown(self, before: str) -> OutcomeUnknownError:
        """Return the error of a command in doubt; ``before`` says what happened."""
        command_id = UUID(bytes=self.command_id)
        text = f"{before} It may have happened or may still happen; if it did, it is recorded under the command id "
        return OutcomeUnknownError(f"{text}{command_id}.{self._obstacle()}", command_id=command_id, sent=self.sent)

    def _obstacle(self) -> str:
        return f" The last obstacle: {self.came_back}" if self.came_back else ""

    def not_done(self) -> NotDoneError:
        """Return the error of a command that certainly did not happen in its time."""
        return NotDoneError(f"{self.what} was not done in time. It did not happen, and will not.{self._obstacle()}")


def leaves_doubt(error: CastyError) -> bool:
    """Return whether an attempt that ended so may have reached its owner, and be done now or later."""
    match error:
        case NotOwnerError():
            return False
        case PeerLostError():
            return error.sent
        case _:
            return isinstance(error, LeaseLostError | OutcomeUnknownError)


def out_of_time(evidence: Evidence) -> NotDoneError | OutcomeUnknownError:
    """Return what a caller is told whose time is up."""
    if evidence.denies:
        return evidence.not_done()
    return evidence.unknown(f"{evidence.what} was sent and not confirmed in time.")


def closed(evidence: Evidence) -> UsageError | OutcomeUnknownError:
    """Return what a caller is told whose system or client was closed."""
    if evidence.denies:
        return UsageError(f"The system was closed before {evidence.what} was done. It did not happen.")
    return evidence.unknown(f"The system was closed before {evidence.what} was confirmed.")


def unsettled(evidence: Evidence) -> OutcomeUnknownError:
    """Return what a caller is told whose command was sent, and of which nobody could find out what became."""
    return evidence.unknown(f"{evidence.what} was sent, and what became of it could not be found out.")


def not_written(what: str, cause: object) -> JournalUnavailableError:
    """Return what a caller is told whose append was refused, once the journal was seen not to have it."""
    return JournalUnavailableError(
        f"{what} did not happen: the journal failed while it was written, and does not have it. The cause: {cause}"
    )


def not_taken_in(bound: int) -> OverloadedError:
    """Return what a caller is told whose command was refused at the door of its owner."""
    return OverloadedError(
        f"{bound} commands are waiting already. This one was not accepted; it did not happen. Try again later, with "
        f"fewer at once, or raise the setting max_pending."
    )


def behind_another(key: str) -> OverloadedError:
    """Return what a repeat is told while another operation under its key is open: it has to come again and look."""
    return OverloadedError(
        f"Another operation is being done under the idempotency key {key!r}. This attempt was not accepted; it did not "
        f"happen. Try again when that one is done."
    )


def not_allowed(token: str, what: str, allows: str) -> NotAllowedError:
    """Return what a caller is told whose token was looked at before anything was done, at every attempt alike."""
    return NotAllowedError(
        f"The token {token!r} does not allow {what}: it allows {allows}. It did not happen. Use a token "
        f"that allows it; `casty-es token create` makes one."
    )


def still_in_line(what: str) -> StillInLineError:
    """Return what is told of a request that stands in its line: it has to be withdrawn before more can be said."""
    return StillInLineError(f"{what} still stood in line when its time was up.")


def left_the_line() -> NotDoneError:
    """Return what is told of a request that the log shows to have left its line without a grant."""
    return NotDoneError("The request was made, and has left the line since. Nothing is held by it.")


def not_granted(kind: str, name: str, why: str) -> NotDoneError:
    """Return what a caller is told whose withdrawal was confirmed."""
    return NotDoneError(f"The {kind} {name!r} was not granted: {why}")


def closed_in_line(kind: str, name: str) -> UsageError:
    """Return what a caller is told who stood in line when the system was closed, once the withdrawal is confirmed."""
    return UsageError(
        f"The system was closed while the request for the {kind} {name!r} stood in line. It was withdrawn, and is not "
        f"granted later."
    )


def withdrawal_lost(kind: str, name: str, request: str, why: object) -> OutcomeUnknownError:
    """Return what a caller is told whose withdrawal was not confirmed."""
    return OutcomeUnknownError(
        f"Whether the {kind} {name!r} was granted is not known: the request {request} could not be withdrawn ({why}). "
        f"If it was, or is yet, the grant expires with its lease, because nobody renews it.",
        command_id=UUID(request),
    )
