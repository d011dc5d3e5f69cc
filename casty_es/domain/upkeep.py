"""What retention and redaction do to any entity, as commands and events of its own log.

1. ``Seal`` says that the events up to a sequence are in an archive and are about to be cut. It changes nothing: the
   event says what was cut, so that the chain can still be verified across the cut.
2. ``Redact`` forgets every value that the entity ever held. It exists no more afterwards, like a destroyed one; its old
   salt is set aside in the same append, and is destroyed once the payloads are gone.
"""

from __future__ import annotations

from typing import ClassVar, Final

from casty_es.bounds import Digest, FileName, Position, Reason
from casty_es.domain.decider import Concluded, Event, Lift, Upkeep, Warranted

SEALED: Final = "entity.sealed"
REDACTED: Final = "entity.redacted"

UPCASTERS: Final[dict[str, tuple[Lift, ...]]] = {}
"""The upcasters of the events that every kind has, by event name."""


class Sealed(Upkeep, frozen=True, gc=False):
    """The events up to ``through`` were archived, and may be cut."""

    stored_as: ClassVar[str] = SEALED

    through: int  # the last sequence that is cut. A snapshot stands at it.
    events: int  # how many events are cut by this seal
    rows: str  # SHA-256 over the rows of ``casty_seals`` that say where they stood, hexadecimal
    state: str  # the digest of the snapshot at ``through`` under the entity's salt, hexadecimal
    archive: str  # the name of the archive file, without its folder
    archive_sha256: str  # SHA-256 of the archive file, hexadecimal


OF_EVERY_KIND: Final[tuple[type[Upkeep], ...]] = (Concluded, Sealed)
"""The events that every kind has, and lists nowhere."""


class Seal(Warranted, frozen=True, gc=False):
    """Record a seal; its fields are those of the event."""

    through: Position
    events: Position
    rows: Digest
    state: Digest
    archive: FileName
    archive_sha256: Digest

    def sealed(self) -> Sealed:
        """Return the event."""
        return Sealed(self.through, self.events, self.rows, self.state, self.archive, self.archive_sha256)


class Redacted(Event, frozen=True, gc=False):
    """Every value before this event was forgotten, for this reason."""

    stored_as: ClassVar[str] = REDACTED
    alive: ClassVar[bool] = False

    reason: str


class Redact(Warranted, frozen=True, gc=False):
    """Forget every value that the entity ever held."""

    reason: Reason
