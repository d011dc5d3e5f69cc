"""Moving slots to where they belong: a few at a time, drained, released, and taken by their new owner at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from casty_es.cluster.topology import Topology
from casty_es.errors import CastyError
from casty_es.owner.owner import Owner
from casty_es.owner.slot import Slot
from casty_es.printing import log_of
from casty_es.transport.port import Dialer
from casty_es.transport.wire import Locate, NodeEntry

_LOG: Final = log_of("casty_es.leases")

# So many slots stand still together, for as long as an append and a release take.
_SLOTS_AT_ONCE: Final = 32


class Rebalancer:
    """Hands slots over to nodes that are better placed, once those have been seen twice and reached."""

    def __init__(self, owner: Owner, dialer: Dialer, reaches: Callable[[NodeEntry], bool], *, node_id: str) -> None:
        self._owner = owner
        self._dialer = dialer
        self._reaches = reaches
        self._node_id = node_id
        self._known: set[str] = set()

    async def consider(self, topology: Topology) -> None:
        """Hand over what belongs elsewhere, if whoever should have it was alive at the last look, too."""
        settled, self._known = self._known & set(topology.nodes), set(topology.nodes)
        moves: dict[str, list[Slot]] = {}
        for slot in self._owner.slots:
            best = topology.best(slot.number) if slot.epoch else None
            if best is not None and best.node_id != self._node_id and best.node_id in settled and self._reaches(best):
                moves.setdefault(best.node_id, []).append(slot)
        for node_id, slots in moves.items():
            for start in range(0, len(slots), _SLOTS_AT_ONCE):
                await self._move(slots[start : start + _SLOTS_AT_ONCE], topology.nodes[node_id])

    async def _move(self, slots: list[Slot], to: NodeEntry) -> None:
        assert to.address is not None  # noqa: S101 - only nodes with an address are placed
        try:
            link = await self._dialer.link(to.address, to.node_id)  # one that cannot be dialled gets nothing
            await self._owner.hand_over(slots, to.node_id, to.address)
            await asyncio.gather(*(link.request(Locate(slot.number, slot.mark())) for slot in slots))
        except CastyError as error:
            _LOG.warning("Handing %d slots to node %s failed: %s", len(slots), to.node_id, error)
        else:
            _LOG.info("Handed slots %s over to node %s, which is placed better", [s.number for s in slots], to.node_id)
