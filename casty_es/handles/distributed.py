"""The facade: every structure by its name."""

from __future__ import annotations

from datetime import datetime
from typing import Any, TypeVar

from casty_es.domain.decider import Kind
from casty_es.errors import ConfigurationError
from casty_es.gateway import EntityGateway, StructureFactory
from casty_es.gateway.time_travel import past_of, take_cursor
from casty_es.handles.barrier import Barrier
from casty_es.handles.counter import Counter
from casty_es.handles.handle import check_gateway, open_handle
from casty_es.handles.lock import Lock
from casty_es.handles.map import MapAccessor
from casty_es.handles.queue import QueueAccessor
from casty_es.handles.semaphore import Semaphore
from casty_es.handles.set import SetAccessor
from casty_es.handles.structure import Structure, check_registered
from casty_es.journal.port import EventJournal
from casty_es.names import check_at_least_one

S = TypeVar("S")


class Distributed:
    """Facade for creating distributed data structures.

    Making a handle costs nothing and writes nothing; a structure comes into being with its first change.

    Every change, but for ``put_many``, ``delete_many`` and ``update`` of a map, takes an ``idempotency_key``: your own
    name for the operation, 1 to 255 bytes. However often it is asked for under this name, by whomever and across
    restarts, it happens once, and every call gets the first result.
    A key that was used on the same structure (on a map: the same key of it) before, for another operation, is refused
    with an ``IdempotencyConflictError``: nothing is done.

    Parameters
    ----------
    gateway : EntityGateway
        Backend that provides access to sharded entities. Both ``ClusteredActorSystem`` and ``ClusterClient`` satisfy
        this.
    journal : EventJournal | None
        The journal that the gateway writes. ``None`` means that one; another one cannot be used.

    Raises
    ------
    ConfigurationError
        ``journal`` is not the gateway's.

    Examples
    --------
    >>> d = Distributed(system)
    >>> counter = d.counter("hits", shards=50)
    >>> users = d.map[str, User]("users", shards=10)
    >>> tags = d.set[str]("tags")
    >>> jobs = d.queue[Task]("jobs")
    """

    def __init__(self, gateway: EntityGateway, *, journal: EventJournal | None = None) -> None:
        own = getattr(check_gateway(gateway), "journal", None)
        if journal is not None and own is not None and journal is not own:
            raise ConfigurationError(
                "Distributed was given another journal than its system has. Nothing was made. Give the journal to the "
                "system: ClusteredActorSystem(journal=journal), and leave it out here."
            )
        self._gateway = gateway

    @property
    def gateway(self) -> EntityGateway:
        """What the structures are reached through."""
        return self._gateway

    def at(self, moment: datetime | str) -> Distributed:
        """Return all structures as they were at a moment, to be read and not to be changed.

        Every read answers from the nearest snapshot before the moment and the events from there. A structure that did
        not exist then answers as one that nobody has changed. Histories end with the moment.

        Parameters
        ----------
        moment : datetime | str
            A datetime with a time zone, or a cursor that :meth:`cursor` gave. Times are those of the owners' clocks:
            all operations recorded at or before it are in it. A cursor is exact over all structures.

        Returns
        -------
        Distributed
            Whatever would change something raises a ``ReadOnlyError``.

        Raises
        ------
        InvalidTypeError, InvalidArgumentError
            The moment has no time zone or has not come yet, or the text is not a cursor.
        UsageError
            The gateway cannot read the past, or is the past.

        Examples
        --------
        >>> from datetime import UTC, datetime
        >>> await d.counter("seats").increment(3)
        3
        >>> then = await d.cursor()
        >>> await d.counter("seats").increment(3)
        6
        >>> await d.at(then).counter("seats").get()
        3
        >>> await d.at(datetime(2020, 1, 1, tzinfo=UTC)).counter("seats").get()
        0
        """
        return Distributed(past_of(self._gateway, moment))

    async def cursor(self) -> str:
        """Return the point that all structures have reached, as a text for :meth:`at`.

        Every operation that was acknowledged before is in it, and none that is asked for after.

        Returns
        -------
        str
            An opaque text; it grows with the number of slots, to a few kilobytes.

        Raises
        ------
        JournalUnavailableError, PeerError
            The journal, or a node that reads it, cannot be reached.

        Examples
        --------
        >>> isinstance(await d.cursor(), str)
        True
        """
        return await take_cursor(self._gateway)

    def counter(self, name: str, *, shards: int = 100, timeout: float = 5.0) -> Counter:
        """Create a distributed counter.

        Parameters
        ----------
        name : str
            Logical counter name (used as entity ID), 1 to 512 bytes of UTF-8.
        shards : int
            Number of shards for the backing region.
        timeout : float
            Default timeout for counter operations, in seconds.

        Returns
        -------
        Counter

        Raises
        ------
        InvalidArgumentError
            The name, ``shards`` or ``timeout`` cannot be used.

        Examples
        --------
        >>> counter = d.counter("visits")
        >>> await counter.increment()
        1
        """
        return open_handle(Counter, self._gateway, StructureFactory("counter"), name, shards=shards, timeout=timeout)

    @property
    def map(self) -> MapAccessor:
        """Create a distributed map via ``d.map[K, V]("name", shards=10)``.

        Returns
        -------
        MapAccessor
            A subscriptable accessor parameterized by key and value types.

        Examples
        --------
        >>> users = d.map[str, dict]("members")
        >>> await users.put("alice", {"age": 30})
        """
        return MapAccessor(self._gateway)

    @property
    def set(self) -> SetAccessor:
        """Create a distributed set via ``d.set[V]("name", shards=10)``.

        Returns
        -------
        SetAccessor
            A subscriptable accessor parameterized by the element type.

        Examples
        --------
        >>> tags = d.set[str]("labels")
        >>> await tags.add("python")
        True
        """
        return SetAccessor(self._gateway)

    @property
    def queue(self) -> QueueAccessor:
        """Create a distributed queue via ``d.queue[V]("name", shards=10)``.

        Returns
        -------
        QueueAccessor
            A subscriptable accessor parameterized by the element type.

        Examples
        --------
        >>> jobs = d.queue[str]("tasks")
        >>> await jobs.enqueue("task-1")
        """
        return QueueAccessor(self._gateway)

    def structure(self, kind: Kind[Any, Any, S], name: str, *, shards: int = 100, timeout: float = 5.0) -> Structure[S]:
        """Open a structure of one's own.

        Parameters
        ----------
        kind : Kind
            What ``casty_es.structures.kind`` made, registered by ``casty_es.register`` here and on every node.
        name : str
            Logical name (used as entity ID), 1 to 512 bytes of UTF-8.
        shards : int
            Number of shards for the backing region.
        timeout : float
            Default timeout for its operations, in seconds.

        Returns
        -------
        Structure

        Raises
        ------
        ConfigurationError
            The kind is not registered.

        Examples
        --------
        >>> from bank_account import ACCOUNT, Deposit
        >>> await d.structure(ACCOUNT, "alice").ask(Deposit(100))
        100
        """
        check_registered(kind)
        factory = StructureFactory(kind.name)
        return open_handle(Structure, self._gateway, factory, name, shards=shards, timeout=timeout, kind=kind)

    def lock(self, name: str, *, shards: int = 100, timeout: float = 5.0) -> Lock:
        """Create a distributed lock.

        Parameters
        ----------
        name : str
            Logical lock name (used as entity ID), 1 to 512 bytes of UTF-8.
        shards : int
            Number of shards for the backing region.
        timeout : float
            Default timeout for lock operations, in seconds; the longest that ``acquire`` waits.

        Returns
        -------
        Lock

        Examples
        --------
        >>> lock = d.lock("exclusive")
        >>> await lock.acquire()
        """
        return open_handle(Lock, self._gateway, StructureFactory("lock"), name, shards=shards, timeout=timeout)

    def semaphore(self, name: str, permits: int, *, shards: int = 100, timeout: float = 5.0) -> Semaphore:
        """Create a distributed semaphore with ``permits`` concurrent holders.

        Parameters
        ----------
        name : str
            Logical semaphore name (used as entity ID), 1 to 512 bytes of UTF-8.
        permits : int
            Maximum number of concurrent holders, at least 1.
        shards : int
            Number of shards for the backing region.
        timeout : float
            Default timeout for semaphore operations, in seconds; the longest that ``acquire`` waits.

        Returns
        -------
        Semaphore

        Examples
        --------
        >>> sem = d.semaphore("workers", permits=5)
        >>> await sem.acquire()
        """
        factory = StructureFactory("semaphore", (("permits", check_at_least_one(permits, "permits")),))
        return open_handle(Semaphore, self._gateway, factory, name, shards=shards, timeout=timeout)

    def barrier(self, name: str, *, node_id: str | None = None, shards: int = 10, timeout: float = 60.0) -> Barrier:
        """Create a distributed barrier.

        Parameters
        ----------
        name : str
            Logical barrier name (used as entity ID), 1 to 512 bytes of UTF-8.
        node_id : str | None
            Identifier for this node (defaults to ``host:port``). One that is given counts once in a round; without one
            every call counts. Required when using ``ClusterClient`` as the gateway.
        shards : int
            Number of shards for the backing region.
        timeout : float
            Default timeout for the barrier wait, in seconds.

        Returns
        -------
        Barrier

        Raises
        ------
        ConfigurationError
            No ``node_id`` is given and the gateway has no address of its own.

        Examples
        --------
        >>> barrier = d.barrier("start")
        >>> await barrier.arrive(expected=1)
        """
        shown = node_id
        if shown is None:
            address = getattr(self._gateway, "self_node", None)
            if address is None:
                raise ConfigurationError(
                    "A barrier needs a node_id here, because this gateway has no address of its own. Nothing was made."
                )
            shown = f"{address.host}:{address.port}"
        return open_handle(
            Barrier,
            self._gateway,
            StructureFactory("barrier"),
            name,
            shards=shards,
            timeout=timeout,
            node_id=shown,
            counts_once=node_id is not None,
        )
