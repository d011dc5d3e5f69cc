"""The cluster as one process sees it: living nodes, and who is written down as each slot's owner. Hints, not proofs."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from casty_es.cluster.placement import ranking
from casty_es.transport.wire import NodeEntry, SlotEntry


class Topology(msgspec.Struct, frozen=True):
    """Living nodes by name, and owners by slot."""

    incarnation: int = 1  # the journal's incarnation, which prefixes fencing tokens
    nodes: dict[str, NodeEntry] = {}  # every living node
    owners: dict[int, SlotEntry] = {}  # whoever is written down for a slot, living or not

    @staticmethod
    def of(incarnation: int, nodes: Iterable[NodeEntry], owners: Iterable[SlotEntry]) -> Topology:
        """Return the topology of these entries."""
        return Topology(incarnation, {node.node_id: node for node in nodes}, {owner.slot: owner for owner in owners})

    def owner(self, slot: int) -> NodeEntry | None:
        """Return the living node that is written down for a slot."""
        entry = self.owners.get(slot)
        return None if entry is None else self.nodes.get(entry.node_id)

    def best(self, slot: int) -> NodeEntry | None:
        """Return the living node that should own a slot: the first in the slot's ranking that others can dial."""
        ranked = ranking(slot, [node.node_id for node in self.nodes.values() if node.address is not None])
        return self.nodes[ranked[0]] if ranked else None

    def candidates(self, slot: int) -> list[NodeEntry]:
        """Return the nodes to ask about a slot: who is written down for it, then who should own it."""
        found = [node for node in (self.owner(slot), self.best(slot)) if node is not None]
        return found[:1] if len(found) == 2 and found[0] is found[1] else found  # noqa: PLR2004 - the two of them
