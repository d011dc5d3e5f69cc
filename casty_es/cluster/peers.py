"""Asking the other living nodes what they remember of some slots, before one of them is taken or answered for.

1. Everybody is asked at once, and waited for only a moment: a frozen node must not keep the others from its slots. What
   it remembers it says itself when it goes on, with whatever it asks for.
2. A node whose last answer is still awaited is not waited for again.
3. A node that is listed no more is asked for some time, and as long as it is connected: when the database fails over,
   the list goes with the sessions that say who lives, and whoever comes back first finds himself alone there.
4. What was told is remembered here, too: it outlives whoever told it.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Collection
from typing import Final

from casty_es.cluster.topology import Topology
from casty_es.errors import CastyError
from casty_es.journal.remembered import Remembered
from casty_es.owner.comparing import Marks
from casty_es.printing import log_of
from casty_es.transport.port import Dialer
from casty_es.transport.wire import NodeEntry, Recall, Recalled

_LOG: Final = log_of("casty_es.membership")

_PATIENCE_SECONDS: Final = 0.3
_UNLISTED_SECONDS: Final = 60.0


class Peers:
    """The other nodes, as those who remember."""

    def __init__(self, dialer: Dialer, remembered: Remembered, *, node_id: str) -> None:
        self._dialer = dialer
        self._remembered = remembered
        self._node_id = node_id
        self._loop = asyncio.get_running_loop()
        self._known: dict[str, tuple[NodeEntry, float]] = {}  # until when they are asked although they are not listed
        self._asking: dict[str, asyncio.Task[Marks]] = {}

    def listed(self, topology: Topology) -> None:
        """Note who is listed now."""
        until = self._loop.time() + _UNLISTED_SECONDS
        self._known = {
            **{
                name: (node, min(before, until))
                for name, (node, before) in self._known.items()
                if self._asked(node, before)
            },
            **{name: (node, math.inf) for name, node in topology.nodes.items() if name != self._node_id},
        }

    async def recall(self, slots: Collection[int]) -> Marks:
        """Return what the others remember of these slots, as far as they answer at once."""
        tasks = []
        for node, until in self._known.values():
            if node.node_id not in self._asking and self._asked(node, until):
                task = asyncio.create_task(self._ask(node, slots), name="casty-recall")
                self._asking[node.node_id] = task
                tasks.append(task)
        marks: Marks = {}
        if tasks:
            done, _ = await asyncio.wait(tasks, timeout=_PATIENCE_SECONDS)
            for task in done:
                for slot, told in task.result().items():
                    marks.setdefault(slot, set()).update(told)
        return marks

    def _asked(self, node: NodeEntry, until: float) -> bool:
        if node.address is None:
            return False
        return until > self._loop.time() or self._dialer.open_link(node.address, node.node_id) is not None

    async def _ask(self, node: NodeEntry, slots: Collection[int]) -> Marks:
        assert node.address is not None  # noqa: S101 - see `_asked`
        try:
            link = await self._dialer.link(node.address, node.node_id)
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
