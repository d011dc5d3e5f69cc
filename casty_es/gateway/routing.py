"""Finding the owner of a slot: whoever says that it holds it, and under which term.

1. A route is what a node answered to ``Locate``. It is used until a command comes back refused or its link is lost.
2. To ask are, in this order: the node that the last refusal named, the living node that is written down for the slot,
   the node that should own it. A node that cannot be dialled may be dead: then this node tries the slot's lock itself.
3. ``Locate`` carries what this process remembers of the slot, so that nobody takes it, or goes on with it, over a log
   that has lost some of that.
4. Callers that look for the same slot at once share one search.
5. What a query asks of a slot that nobody holds is read from the journal, without an owner.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Final, TypeVar

from casty_es.addresses import REMEDY
from casty_es.background import looked_at
from casty_es.errors import CastyError, NotOwnerError, PeerError, PeerLostError, UsageError
from casty_es.format.codec import decode_error
from casty_es.gateway.directory import Directory
from casty_es.hashes import shard_of, slot_of
from casty_es.journal.port import EntityName
from casty_es.journal.remembered import Mark, Remembered
from casty_es.owner.owner import Owner
from casty_es.owner.slot import Slot, split_term
from casty_es.transport.port import Dialer, Link
from casty_es.transport.wire import Failed, Locate, Located, NodeEntry, Refused

T = TypeVar("T")

_PATIENCE_SECONDS: Final = 0.3

# A slot that nobody holds is read from the journal; one that is read this often is worth holding.
_READS_WITHOUT_OWNER: Final = 16


class Route:
    """The way to a slot's owner, here or behind a link, its term, and how far the slot is known to be committed."""

    __slots__ = ("_position", "here", "incarnation", "link", "slot", "term")

    def __init__(
        self, slot: int, term: int, position: int, *, here: Slot | None = None, link: Link | None = None
    ) -> None:
        self.incarnation = split_term(term)[0]
        self.slot = slot
        self.term = term
        self._position = position
        self.here = here
        self.link = link

    @property
    def position(self) -> int:
        """A position of the slot that is committed by now."""
        return self._position if self.here is None else self.here.head.position

    def advance(self, position: int) -> None:
        """Note how far the slot is committed."""
        self._position = max(self._position, position)

    def stands(self) -> bool:
        """Return whether nothing is known against it."""
        if self.here is not None:
            return self.here.term == self.term
        return self.link is not None and not self.link.closed


async def _soon(answer: Awaitable[T], node: NodeEntry) -> T:
    """Wait a moment for a node; it may be frozen, and then its slots become free while it is waited for.

    What was begun goes on: the next search finds a link that was still being made.
    """
    task = asyncio.ensure_future(answer)
    task.add_done_callback(looked_at)  # whoever waits may be cancelled
    done, _ = await asyncio.wait({task}, timeout=_PATIENCE_SECONDS)
    if done:
        return task.result()
    raise PeerLostError(f"Node {node.node_id} at {node.address} does not answer.", sent=False)


class Routes:
    """The routes that are known to one gateway, of a process that has slots of its own unless it is a client."""

    def __init__(
        self, directory: Directory, dialer: Dialer, owner: Owner | None, remembered: Remembered, *, node_id: str
    ) -> None:
        self._directory = directory
        self._dialer = dialer
        self._owner = owner
        self.remembered = remembered
        self._node_id = node_id
        self._routes: dict[int, Route] = {}
        self._hints: dict[int, tuple[str, str | None]] = {}
        self._searches: dict[int, asyncio.Task[Route | None]] = {}
        self._shards: dict[tuple[str, str], int] = {}
        self._reads: dict[int, int] = {}
        self._untaken: dict[int, NotOwnerError] = {}  # why the last search for a slot found nobody
        self._closed = False

    def known(self, name: EntityName) -> Route | None:
        """Return the route to an entity's slot, if nothing has to be asked for it."""
        shards = self._shards.get(name[:2])
        return None if shards is None else self._standing(self._slot_of(name, shards))

    async def route_to(self, name: EntityName, shards: int, *, reads: bool) -> Route | None:
        """Return the route to an entity's slot; ``None`` when nobody holds the slot yet.

        Of the number of shards, which is the one that the caller's handle has, what is recorded wins. ``reads`` says
        that ``None`` may also be returned to have the journal itself read. Raises ``UsageError`` if the system was
        closed meanwhile, another ``CastyError`` if nobody can be asked or the slot is closed.
        """
        if name[:2] not in self._shards:
            recorded = await self._directory.shards(*name[:2])
            if recorded is not None:  # while nobody has written it, whoever is first decides
                self._shards[name[:2]] = recorded
        slot = self._slot_of(name, self._shards.get(name[:2], shards))
        route = self._standing(slot)
        if route is not None:
            return route
        if reads and (await self._directory.topology()).owner(slot) is None:
            self._reads[slot] = self._reads.get(slot, 0) + 1
            if self._reads[slot] <= _READS_WITHOUT_OWNER:
                return None
        try:
            return await self._find(slot)
        except PeerError:
            if reads:
                return None  # the owner cannot be asked; what it has committed can be read
            raise

    def untaken(self, name: EntityName, shards: int) -> NotOwnerError | None:
        """Return why the last search for an entity's slot found nobody, if somebody said."""
        return self._untaken.get(self._slot_of(name, self._shards.get(name[:2], shards)))

    async def vouched(self, slot: int) -> bool:
        """Return whether the owner of a slot has all that this process remembers of it.

        Raises ``JournalRegressedError`` if the slot has lost some of it, another ``CastyError`` if nobody can be asked.
        """
        mark = self.remembered.of(slot)
        if mark is None:
            return True
        route = await self._find(slot)
        return route is not None and mark.place <= (route.incarnation, route.position)

    def correct(self, name: EntityName, route: Route | None, error: CastyError) -> None:
        """Forget a route that led nowhere; a refusal may say where to go instead, and how many shards there are."""
        if isinstance(error, NotOwnerError) and error.shards:
            self._shards[name[:2]] = error.shards
        if route is None:
            return
        if self._routes.get(route.slot) is route:
            del self._routes[route.slot]
        if isinstance(error, NotOwnerError) and error.node_id is not None:
            self._hints[error.slot] = (error.node_id, error.address)

    def told(self, route: Route, position: int, hash_: bytes) -> None:
        """Note how far an owner said that its slot is committed."""
        route.advance(position)
        if position:
            self.remembered.note(route.slot, Mark(route.incarnation, position, hash_))

    def _standing(self, slot: int) -> Route | None:
        route = self._routes.get(slot)
        return route if route is not None and route.stands() else None

    def _slot_of(self, name: EntityName, shards: int) -> int:
        kind, called, key = name
        return slot_of(kind, called, shard_of(kind, called, key, shards), self._directory.slots)

    async def _find(self, slot: int) -> Route | None:
        """Look for the owner of a slot, making a node its owner if there is none; ``None`` when nobody holds it yet."""
        while not self._closed:
            search = self._searches.get(slot)
            if search is None:
                search = asyncio.create_task(self._search(slot), name="casty-locate")
                self._searches[slot] = search
                search.add_done_callback(lambda done: self._done(slot, done))
            await asyncio.wait({search})
            if not search.cancelled():  # by others than those who close this, it is done again
                return search.result()
        raise UsageError("The system was closed while an owner was looked for. Nothing was sent there.")

    def _done(self, slot: int, search: asyncio.Task[Route | None]) -> None:
        if self._searches.get(slot) is search:
            del self._searches[slot]
        looked_at(search)  # whoever still waits is told; when everybody has gone, nobody has to be

    async def _search(self, slot: int) -> Route | None:
        topology = await self._directory.topology()
        candidates = topology.candidates(slot)
        hint = self._hints.pop(slot, None)
        if hint is not None and hint[0] in topology.nodes:
            candidates.insert(0, topology.nodes[hint[0]])
        self._untaken.pop(slot, None)
        asked: set[str] = set()
        failed: PeerError | None = None
        for node in candidates:
            if node.node_id in asked:
                continue
            asked.add(node.node_id)
            try:
                route = await self._ask(slot, node)
            except PeerError as error:
                failed = error
            else:
                if route is not None:
                    self._routes[slot] = route
                    return route
        if self._owner is not None and self._node_id not in asked and (failed is not None or not candidates):
            route = await self._ask_here(slot, self._owner)
            if route is not None:
                self._routes[slot] = route
                return route
        if failed is not None:
            raise failed
        return None

    async def _ask(self, slot: int, node: NodeEntry) -> Route | None:
        if self._owner is not None and node.node_id == self._node_id:
            return await self._ask_here(slot, self._owner)
        if node.address is None:
            return None
        link = self._dialer.open_link(node.address, node.node_id)
        if link is None:
            link = await self._link(node, node.address)
        answer = await _soon(link.request(Locate(slot, self.remembered.of(slot))), node)
        match answer:
            case Located(term=term, position=position, hash=hash_):
                route = Route(slot, term, position, link=link)
                self.told(route, position, hash_)
                return route
            case Failed():
                error = decode_error(answer.error, answer.message, answer.detail)
                if isinstance(error, UsageError):
                    raise PeerLostError(f"Node {node.node_id} at {node.address} is closing.", sent=False)
                raise error
            case Refused(message=message, node_id=node_id):
                if node_id is None:
                    self._untaken[slot] = NotOwnerError(message, slot=slot)
                return None
            case _:
                return None

    async def _link(self, node: NodeEntry, address: str) -> Link:
        try:
            return await _soon(self._dialer.link(address, node.node_id), node)
        except PeerLostError as error:
            if self._dialer.met(node.node_id):
                raise
            raise PeerLostError(
                f"Node {node.node_id} was never reached from here. {error} {REMEDY}", sent=False
            ) from error

    async def _ask_here(self, slot: int, owner: Owner) -> Route | None:
        here = owner.slots[slot]
        try:
            await owner.locate(here, self.remembered.of(slot))
        except NotOwnerError as error:
            self._untaken[slot] = error
            return None
        return Route(slot, here.term, here.head.position, here=here)

    async def close(self) -> None:
        """Give up every search."""
        self._closed = True
        searches = list(self._searches.values())
        for search in searches:
            search.cancel()
        await asyncio.gather(*searches, return_exceptions=True)
