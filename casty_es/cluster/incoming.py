"""What a node makes of every request of another process before it does anything with it.

1. Its shape and the bounds of its fields were held to while it was decoded (``transport/wire.py``).
2. What bounds cannot say is looked at here, by the functions that the handles use: names and keys, the number of a
   slot, the id of a command that its caller named, whose time is over. A command's own fields: ``commands.py``.
3. What does not pass is a refusal for its sender, and changes nothing.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from casty_es.commands import decode_command
from casty_es.domain.catalog import CATALOG, KEYED
from casty_es.domain.decider import Command
from casty_es.errors import InvalidArgumentError
from casty_es.hashes import keyed_command_id
from casty_es.journal.port import EntityName
from casty_es.names import check_idempotency_key, check_name, decode_key
from casty_es.printing import printed
from casty_es.transport.wire import Ask, FindOutcome, FindShards, Locate, ReadHistory, ReadPast, Recall, Request
from casty_es.verdicts import Evidence, out_of_time

# A name and a key have at most some hundred bytes, so what is remembered has at most some megabytes.
_REMEMBERED: Final = 4_096


class Incoming:
    """The door."""

    def __init__(self, slots: int, max_value_bytes: int) -> None:
        self._slots = slots
        self._max_value_bytes = max_value_bytes

    def check(self, request: Request) -> None:
        """Refuse a request that no handle, gateway or node of this version would have made."""
        match request:
            case Ask():
                self._check_slot(request.slot)
                name = entity_name(request.kind, request.name, request.key)
                key = check_idempotency_key(request.idempotency_key)
                if key is not None and request.command_id != keyed_command_id(*name, key):
                    raise InvalidArgumentError(
                        "A command under an idempotency key has the id that the key gives it. Nothing was done."
                    )
                if request.seconds <= 0:
                    raise out_of_time(Evidence(request.command, request.command_id, in_doubt=False))
            case Locate(slot=slot):
                self._check_slot(slot)
            case Recall(slots=slots):
                for slot in slots:
                    self._check_slot(slot)
            case FindOutcome():
                _check_kind(request.kind)
                self._check_slot(request.slot)
            case FindShards():
                entity_name(request.kind, request.name, None)
            case ReadHistory() | ReadPast():
                entity_name(request.kind, request.name, request.key)
            case _:
                pass  # nothing is in it

    def command(self, request: Ask | ReadPast) -> Command:
        """Return the command of a request that was checked; refuse one that may not come from elsewhere."""
        command_id = request.command_id if isinstance(request, Ask) else None
        return decode_command(
            request.kind, request.command, request.body, command_id, max_value_bytes=self._max_value_bytes
        )

    def _check_slot(self, slot: int) -> None:
        if slot >= self._slots:
            raise InvalidArgumentError(f"There is no slot {slot}: this journal has {self._slots}. Nothing was done.")


@lru_cache(maxsize=_REMEMBERED)  # most of what is asked for was asked for before
def entity_name(kind: str, name: str, key: str | None) -> EntityName:
    """Return what an entity is called, or its structure without a key; refuse what none can be called."""
    _check_kind(kind)
    check_name(name)
    if key is not None:
        if kind in KEYED:
            decode_key(key)
        elif key:
            raise InvalidArgumentError(f"A {kind} has no keys, and {printed(key)} is one. Nothing was done.")
    return EntityName(kind, name, key or "")


def _check_kind(kind: str) -> None:
    if kind not in CATALOG:
        raise InvalidArgumentError(f"There is no structure of kind {printed(kind)}. Nothing was done.")
