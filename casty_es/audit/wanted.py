"""What of a journal is looked for."""

from __future__ import annotations

import msgspec


class Wanted(msgspec.Struct, frozen=True):
    """Which events are looked for; what is ``None`` or empty does not matter.

    Attributes
    ----------
    kind, name, key : str | None
        The structure, and a map's key as the journal has it (``names.encode_key``).
    types : frozenset[str]
        Types of events, such as ``counter.incremented``.
    actor : str | None
        Who was named with ``audit_context``.
    principal : str | None
        Who was proven to have sent the command: ``token:NAME``, ``node:NAME`` or ``secret``.
    slot : int | None
        Where in the journal.
    after_sequence, until_sequence : int, int | None
        Of the entity; only where kind, name and key are given.
    after, until : int | None
        Later than this time and not later than that one, in microseconds since 1970.
    """

    kind: str | None = None
    name: str | None = None
    key: str | None = None
    types: frozenset[str] = frozenset()
    actor: str | None = None
    principal: str | None = None
    slot: int | None = None
    after_sequence: int = 0
    until_sequence: int | None = None
    after: int | None = None
    until: int | None = None

    def has_sequence(self, sequence: int) -> bool:
        """Return whether events of this sequence are wanted."""
        return self.after_sequence < sequence <= (sequence if self.until_sequence is None else self.until_sequence)
