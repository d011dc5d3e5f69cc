"""Asking the other living nodes what they remember of some slots, before one of them is taken or answered for.

1. Everybody is asked at once, and waited for only a moment: a frozen node must not keep the others from its slots. What
   it remembers it says itself when it goes on, with whatever it asks for.
2. A node that did not answer in time is not waited for again until it has answered.
3. A node that is listed no more is asked for some time, and as long as it is connected: when the database fails over,
   the list goes with the sessions that say who lives, and whoever comes back first finds himself alone there.
4. Who was asked names the nodes of that kind that he knows, and they are asked as well: a node that came shortly before
   the failover may never have seen them listed. What was heard so is not handed on, or a name would outlive its node.
5. What was told is remembered here, too: it outlives whoever told it.
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
        self._heard: dict[str, tuple[NodeEntry, float]] = {}  # the same, of nodes that others named
        self._asking: set[asyncio.Task[Recalled | None]] = set()
        self._silent: set[str] = set()  # the nodes that did not answer in time

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

    def unlisted(self) -> tuple[NodeEntry, ...]:
        """Return the nodes that were listed here, are no more, and are asked all the same."""
        return tuple(node for node, until in self._known.values() if until < math.inf and self._asked(node, until))

    async def recall(self, slots: Collection[int]) -> Marks:
        """Return what the others remember of these slots, as far as they answer at once."""
        marks: Marks = {}
        asked = {self._node_id: 0.0}  # until when each is waited for
        asking = self._begin(slots, asked)
        while asking:
            left = max(asked[name] for name in asking.values()) - self._loop.time()
            done, _ = await asyncio.wait(asking, timeout=max(left, 0), return_when=asyncio.FIRST_COMPLETED)
            for answer in [task.result() for task in done]:
                if answer is not None:
                    for slot, told in answer.marks.items():
                        marks.setdefault(slot, set()).update(told)
                    self._hear(answer.unlisted)
            for task in done:
                del asking[task]
            if not done:
                self._silent.update(asking.values())
                break
            asking.update(self._begin(slots, asked))
        return marks

    def _begin(self, slots: Collection[int], asked: dict[str, float]) -> dict[asyncio.Task[Recalled | None], str]:
        """Ask all who were not asked; note until when they are waited for."""
        asking = {}
        for node in self._others(asked):
            asked[node.node_id] = self._loop.time() + _PATIENCE_SECONDS
            task = asyncio.create_task(self._ask(node, slots), name="casty-recall")
            task.add_done_callback(self._asking.discard)
            asking[task] = node.node_id
        self._asking.update(asking)
        return asking

    def _others(self, asked: Collection[str]) -> list[NodeEntry]:
        known = {**self._heard, **self._known}
        return [
            node
            for name, (node, until) in known.items()
            if name not in asked and name not in self._silent and self._asked(node, until)
        ]

    def _hear(self, nodes: Collection[NodeEntry]) -> None:
        now = self._loop.time()
        self._heard = {name: (node, until) for name, (node, until) in self._heard.items() if until > now}
        for node in nodes:
            self._heard.setdefault(node.node_id, (node, now + _UNLISTED_SECONDS))

    def _asked(self, node: NodeEntry, until: float) -> bool:
        if node.address is None:
            return False
        return until > self._loop.time() or self._dialer.open_link(node.address, node.node_id) is not None

    async def _ask(self, node: NodeEntry, slots: Collection[int]) -> Recalled | None:
        assert node.address is not None  # noqa: S101 - see `_asked`
        try:
            link = await self._dialer.link(node.address, node.node_id)
            answer = await link.request(Recall(tuple(slots)))
        except CastyError as error:
            _LOG.info("Node %s cannot be asked what it remembers: %s", node.node_id, error)
            return None
        finally:
            self._silent.discard(node.node_id)
        if not isinstance(answer, Recalled):
            return None
        for slot, told in answer.marks.items():
            for mark in told:
                self._remembered.put_by(slot, mark)
        return answer

    async def close(self) -> None:
        """Give up what was not answered."""
        tasks = list(self._asking)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
