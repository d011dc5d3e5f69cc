"""What a command is told that came to the wrong node, or stayed while its slot went elsewhere."""

from __future__ import annotations

from casty_es.errors import LeaseLostError, NotOwnerError
from casty_es.owner.slot import Slot

__all__ = ["Refusals"]


class Refusals:
    """The typed refusals of one node, which know where each slot was handed over to.

    Parameters
    ----------
    node_id : str
        The node that refuses.
    """

    def __init__(self, node_id: str) -> None:
        self._node_id = node_id
        self._successors: dict[Slot, tuple[str, str | None]] = {}

    def point(self, slot: Slot, node_id: str | None, address: str | None) -> None:
        """Send those who come for a slot to another node from now on."""
        if node_id is None:
            self._successors.pop(slot, None)
        else:
            self._successors[slot] = (node_id, address)

    def of(self, slot: Slot, *, shards: int = 0) -> NotOwnerError:
        """Return the refusal of a command that certainly did not happen here."""
        node_id, address = self._successors.get(slot, (None, None))
        where = "it is not known who holds it" if node_id is None else f"try node {node_id} at {address}"
        held = f"holds it under epoch {slot.epoch}" if slot.epoch else "does not hold it"
        return NotOwnerError(
            f"The command was addressed to slot {slot.number} under a term that is over: node {self._node_id} "
            f"{held}, {where}. Nothing was written here.",
            slot=slot.number,
            node_id=node_id,
            address=address,
            shards=shards,
        )

    def untaken(self, slot: Slot, stranger: str | None) -> NotOwnerError:
        """Return the refusal of whoever asks for a slot that could not be taken: ``stranger`` holds it, no node."""
        node_id, address = self._successors.get(slot, (None, None))
        text = f"Slot {slot.number} could not be taken by node {self._node_id}, because its lock is held by "
        if stranger is None:
            text += "another session. Nothing was written."
        else:
            text += (
                f"{stranger}. Nothing was written. End that session with pg_terminate_backend, and let only roles of "
                f"your own connect to the database."
            )
        return NotOwnerError(text, slot=slot.number, node_id=node_id, address=address)

    def unowned(self, slot: Slot) -> NotOwnerError:
        """Return the refusal of a question that only the slot's owner can answer, where nobody was asked to be it."""
        return NotOwnerError(
            f"Somebody holds something or waits in slot {slot.number}, and node {self._node_id} cannot tell from the "
            f"journal whether they still live. Nothing was written. The slot's owner finds out.",
            slot=slot.number,
        )

    @staticmethod
    def gone(slot: Slot) -> LeaseLostError:
        """Return the error of a request that stands in a line whose slot this node holds no longer."""
        return LeaseLostError(
            f"Slot {slot.number} went to another node while the request stood in line there. The request still stands "
            f"in it; asked for again, it is found."
        )
