"""Asking the other living nodes what they remember of some slots, before one of them is taken or answered for.

1. Everybody is asked at once, and waited for only a moment: a frozen node must not keep the others from its slots. What
   it remembers it says itself when it goes on, with whatever it asks for.
2. A node whose last answer is still awaited is not waited for again.
3. A node that is listed no more is asked as long as it is connected: the list may have gone back with the database.
4. What was told is remembered here, too: it outlives whoever told it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Final

from casty_es.cluster.membership import Membership
from casty_es.errors import CastyError
from casty_es.journal.remembered import Remembered
from casty_es.owner.comparing import Marks
from casty_es.printing import log_of
from casty_es.transport.port import Dialer
from casty_es.transport.wire import NodeEntry, Recall, Recalled

__all__ = ["Peers"]

_LOG: Final = log_of("casty_es.membership")

_PATIENCE_SECONDS: Final = 0.3


class Peers:
    """The other nodes, as those who remember.

    Parameters
    ----------
    membership : Membership
        Knows who is alive.
    remembered : Remembered
        Takes in what the others tell.
    node_id : str
        This node.
    """

    def __init__(self, membership: Membership, dialer: Dialer, remembered: Remembered, *, node_id: str) -> None:
        self._membership = membership
        self._dialer = dialer
        self._remembered = remembered
        self._node_id = node_id
        self._known: dict[str, NodeEntry] = {}
        self._asking: dict[str, asyncio.Task[Marks]] = {}

    async def recall(self, slots: Collection[int]) -> Marks:
        """Return what the others remember of these slots, as far as they answer at once."""
        tasks = []
        for node in self._others():
            if node.address is not None and node.node_id not in self._asking:
                task = asyncio.create_task(self._ask(node, node.address, slots), name="casty-recall")
                self._asking[node.node_id] = task
                tasks.append(task)
        marks: Marks = {}
        if tasks:
            done, _ = await asyncio.wait(tasks, timeout=_PATIENCE_SECONDS)
            for task in done:
                for slot, told in task.result().items():
                    marks.setdefault(slot, set()).update(told)
        return marks

    def _others(self) -> list[NodeEntry]:
        listed = self._membership.topology.nodes
        connected = {
            node_id: node
            for node_id, node in self._known.items()
            if node.address is not None and self._dialer.open_link(node.address, node_id) is not None
        }
        self._known = {**connected, **listed}
        return [node for node in self._known.values() if node.node_id != self._node_id]

    async def _ask(self, node: NodeEntry, address: str, slots: Collection[int]) -> Marks:
        try:
            link = await self._dialer.link(address, node.node_id)
            answer = await link.request(Recall(tuple(slots)))
        except CastyError as error:
            _LOG.info("Node %s cannot be asked what it remembers: %s", node.node_id, error)
            return {}
        finally:
            del self._asking[node.node_id]
        if not isinstance(answer, Recalled):
            return {}
        for slot, told in answer.marks.items():
            for mark in told:
                self._remembered.note(slot, mark)
        return {slot: set(told) for slot, told in answer.marks.items()}

    async def close(self) -> None:
        """Give up what was not answered."""
        tasks = list(self._asking.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
