"""Whether the nodes that live reach each other, which each finds out by trying as soon as it sees another one.

Nothing rests on it: who cannot be reached is tried again, and named where somebody looks, in the log and by the doctor.

1. A node dials every other one when it first sees it, and goes on trying those that it has not reached.
2. So every other node has dialled this one a moment after it came. From whom it has heard nothing by then, that one
   cannot reach it, and this node's log says so, too: whoever set it up looks there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from casty_es.addresses import REMEDY
from casty_es.background import Errands
from casty_es.cluster.topology import Topology
from casty_es.errors import CastyError, PeerLostError, PeerRefusedError
from casty_es.printing import log_of
from casty_es.transport.port import Dialer
from casty_es.transport.wire import NodeEntry

_LOG: Final = log_of("casty_es.membership")

# Longer than one silent attempt; with the second until a node is seen, less than the five within which it is said.
_TRY_SECONDS: Final = 2.5
_PAUSE_SECONDS: Final = 0.25
_COME_SECONDS: Final = 3.5


class Reach:
    """Which nodes this one reaches, and which reach it.

    ``heard_from`` tells whether a node has a connection to this one.
    """

    def __init__(self, dialer: Dialer, heard_from: Callable[[str], bool], *, node_id: str, poll_seconds: float) -> None:
        self._dialer = dialer
        self._heard_from = heard_from
        self._node_id = node_id
        self._come_seconds = max(_COME_SECONDS, poll_seconds + _TRY_SECONDS)
        self.address: str | None = None  # where others reach this node, as it says
        self.unreached: dict[str, str] = {}  # the living nodes that this one could not reach, and why
        self._since: dict[NodeEntry, float] = {}  # the others that live, and since when they are seen
        self._reached: set[NodeEntry] = set()
        self._come: set[NodeEntry] = set()  # from whom was heard, or of whom it was told that nothing was
        self._trying: set[NodeEntry] = set()
        self._errands = Errands()

    def look(self, topology: Topology) -> None:
        """Take in who lives; try whom this node has not reached."""
        now = asyncio.get_running_loop().time()
        others = [
            node for node in topology.nodes.values() if node.address is not None and node.node_id != self._node_id
        ]
        self._since = {node: self._since.get(node, now) for node in others}
        self._reached &= self._since.keys()
        self._come &= self._since.keys()
        for node_id in self.unreached.keys() - {node.node_id for node in others}:
            del self.unreached[node_id]
        for node in others:
            if node not in self._reached and node not in self._trying:
                self._trying.add(node)
                self._errands.begin(self._try(node, node.address or ""), name="casty-reach")
        if self.address is not None:
            self._listen(now)

    def reaches(self, node: NodeEntry) -> bool:
        """Return whether this node has reached another one since that has been there."""
        return node in self._reached

    async def _try(self, node: NodeEntry, address: str) -> None:
        why: CastyError | None = None
        try:
            async with asyncio.timeout(_TRY_SECONDS):
                while node in self._since:
                    try:
                        await self._dialer.link(address, node.node_id)
                    except CastyError as error:
                        why = why or error  # later ones only say when it is tried again
                    else:
                        self._found(node)
                        return
                    await asyncio.sleep(_PAUSE_SECONDS)
        except TimeoutError:
            _LOG.debug("%s was tried from node %s in vain", _told(node), self._node_id)
        finally:
            self._trying.discard(node)
        why = why or PeerLostError(f"{address} does not answer.", sent=False)
        if node in self._since and node.node_id not in self.unreached:
            self.unreached[node.node_id] = str(why)
            if isinstance(why, PeerRefusedError):  # it says itself what is to be done
                _LOG.warning("%s does not talk to node %s: %s", _told(node), self._node_id, why)
            else:
                _LOG.warning("%s cannot be reached from node %s: %s %s", _told(node), self._node_id, why, REMEDY)

    def _found(self, node: NodeEntry) -> None:
        self._reached.add(node)
        if self.unreached.pop(node.node_id, None) is not None:
            _LOG.info("%s can be reached from node %s now", _told(node), self._node_id)

    def _listen(self, now: float) -> None:
        """See who has come to this node by now."""
        for node, since in self._since.items():
            if node in self._come:
                continue
            if self._heard_from(node.node_id):
                self._come.add(node)
            elif now - since >= self._come_seconds:
                self._come.add(node)
                _LOG.warning(
                    "%s has not reached node %s at %s in %.0f s. If it is well, it cannot: give this node an address "
                    "that others reach, with advertise= or CASTY_ES_ADVERTISE, or open the way to its port.",
                    _told(node),
                    self._node_id,
                    self.address,
                    now - since,
                )

    async def close(self) -> None:
        """Try no more."""
        self._since = {}
        await self._errands.cancel()


def _told(node: NodeEntry) -> str:
    return f"Node {node.node_id} at {node.address} (process {node.pid} on host {node.host})"
