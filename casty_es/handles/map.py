"""The handle of a map, whose keys are entities of their own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime
from inspect import isawaitable
from typing import Any, ClassVar, TypeVar, cast, overload
from uuid import UUID

from msgspec import Raw

from casty_es.domain.decider import Command
from casty_es.domain.map_entry import Contains, Delete, Get, Pop, Put, PutIfAbsent, Replace, digest_of
from casty_es.errors import InvalidTypeError, NotDoneError
from casty_es.gateway import EntityGateway, RegionRef, ShardEnvelope
from casty_es.gateway.time_travel import history_of, past_sequence
from casty_es.handles.handle import Accessor, Opener, codec_for, decode_stored
from casty_es.handles.map_many import ManyKeys
from casty_es.journal.port import EntityName
from casty_es.names import check_flag, check_idempotency_key, encode_key
from casty_es.printing import printed
from casty_es.replay import HistoryEvent

D = TypeVar("D")
K = TypeVar("K")
R = TypeVar("R")
V = TypeVar("V")

_KEY_TYPES = (str, int, UUID)


class Dict(ManyKeys[K, V]):
    """Client for a distributed key-value map. Each key is an entity of its own.

    Parameters
    ----------
    gateway, region_ref, name, timeout
        As for every structure: :class:`~casty_es.Counter`.
    key_type : type
        ``str``, ``int`` or ``UUID``.
    value_type : type
        What the values are; ``Any`` takes every JSON value.

    Examples
    --------
    >>> users = d.map[str, dict]("users")
    >>> await users.put("alice", {"age": 30})
    >>> await users.get("alice")
    {'age': 30}
    """

    def __init__(
        self,
        *,
        gateway: EntityGateway,
        region_ref: RegionRef,
        name: str,
        timeout: float = 5.0,
        key_type: Any = str,
        value_type: Any = Any,
    ) -> None:
        super().__init__(gateway=gateway, region_ref=region_ref, name=name, timeout=timeout)
        if not any(key_type is one for one in _KEY_TYPES):
            raise InvalidTypeError(f"A map's keys are str, int or UUID, not {printed(key_type)}. Nothing was made.")
        self._key_type = key_type
        self._codec = codec_for(value_type, gateway)

    async def put(self, key: K, value: V, *, idempotency_key: str | None = None) -> V | None:
        """Store a value for the key.

        Parameters
        ----------
        idempotency_key : str | None
            Your own name for this operation, as :class:`~casty_es.Distributed` explains.

        Returns
        -------
        V | None
            The previous value, or ``None`` if the key was new.

        Raises
        ------
        InvalidTypeError, InvalidArgumentError
            The key is not of the declared type, empty, or longer than 512 bytes of UTF-8.
        InvalidValueError
            The value cannot be stored, or would not come back equal.
        StoredValueError
            The new value is stored, and the one that it replaced cannot be read under the declared type.

        Examples
        --------
        >>> await d.map[str, dict]("users").put("alice", {"age": 30})
        """
        raw = await self._ask_key(key, Put(self._raw(value)), idempotency_key=idempotency_key)
        return self._decoded(key, raw, "The new value is stored. This is the one that it replaced.")

    async def put_if_absent(self, key: K, value: V, *, idempotency_key: str | None = None) -> bool:
        """Store a value for the key if it has none, in one step. It refuses what :meth:`put` refuses.

        Parameters
        ----------
        idempotency_key : str | None
            Your own name for this operation, as :class:`~casty_es.Distributed` explains.

        Returns
        -------
        bool
            Whether it was stored. A key whose value is ``None`` has one.

        Examples
        --------
        >>> seats = d.map[str, str]("seats")
        >>> await seats.put_if_absent("12A", "ann"), await seats.put_if_absent("12A", "bob")
        (True, False)
        """
        return await self._ask_key(key, PutIfAbsent(self._raw(value)), idempotency_key=idempotency_key)

    async def replace(self, key: K, expected: V, value: V, *, idempotency_key: str | None = None) -> bool:
        """Store a value for the key if it has another one, in one step. It refuses what :meth:`put` refuses.

        Parameters
        ----------
        expected : V
            What the key must have. It is compared as it would be stored now: an ``int`` is no ``float``, and what an
            older program stored without a member that the type has today is another value. :meth:`update` takes both.
        idempotency_key : str | None
            Your own name for this operation, as :class:`~casty_es.Distributed` explains.

        Returns
        -------
        bool
            Whether it was stored.

        Examples
        --------
        >>> orders = d.map[int, str]("orders")
        >>> await orders.put(1, "open")
        >>> await orders.replace(1, "open", "paid"), await orders.replace(1, "open", "cancelled")
        (True, False)
        """
        command = Replace(digest_of(self._raw(expected)), self._raw(value))
        return await self._ask_key(key, command, idempotency_key=idempotency_key)

    @overload
    async def update(self, key: K, function: Callable[[V], V | Awaitable[V]], *, default: V) -> V: ...
    @overload
    async def update(self, key: K, function: Callable[[V | None], V | Awaitable[V]]) -> V: ...
    async def update(self, key: K, function: Callable[[Any], Any], *, default: Any = None) -> V:
        """Store what a function makes of the key's value, whoever else changes it meanwhile.

        It reads, calls, and stores if the value is still what was read; if not, it begins again.

        Parameters
        ----------
        function : Callable
            Gets the value and returns the next one, or an awaitable of it. It may be called several times.
        default : V
            What it gets where the key has no value; ``None`` unless it is given.

        Returns
        -------
        V
            What was stored.

        Raises
        ------
        NotDoneError
            Others changed the key each time, or the function took too long, until the handle's timeout. Nothing was
            stored.
        OutcomeUnknownError
            The answer to the last step is lost: what the function made may have been stored.
        InvalidTypeError, InvalidArgumentError, InvalidValueError, StoredValueError
            As for :meth:`put` and :meth:`get`. What the function raises is raised, too. Nothing was stored.

        Examples
        --------
        >>> await d.map[str, int]("wins").update("ann", lambda wins: wins + 1, default=0)
        1
        """
        if not callable(function):
            raise InvalidTypeError(f"update needs a function, not a {type(function).__name__}. Nothing was stored.")
        loop = asyncio.get_running_loop()
        until = loop.time() + self._timeout
        beginning = None if default is None else self._raw(default)
        while (left := until - loop.time()) > 0:
            raw = await self._ask_key(key, Get(), timeout=left)
            value = function(self._decoded(key, beginning if raw is None else raw, "It stays as it is."))
            if isawaitable(value):
                value = await value
            stored = self._raw(value)
            command = PutIfAbsent(stored) if raw is None else Replace(digest_of(raw), stored)
            if loop.time() < until and await self._ask_key(key, command):
                return cast("V", value)
        raise NotDoneError(
            f"The key {key!r} of the map {self._name!r} could not be updated within {self._timeout:g} s: others "
            "changed it, or the function took too long. Nothing was stored. Try again, or give the map more time."
        )

    @overload
    async def get(self, key: K, *, local: bool = False) -> V | None: ...
    @overload
    async def get(self, key: K, *, default: D, local: bool = False) -> V | D: ...
    async def get(self, key: K, *, default: Any = None, local: bool = False) -> Any:
        """Get the value for the key, or ``None`` if not set.

        Parameters
        ----------
        key : K
            The key to look up.
        default : D
            What is returned for a key that has no value, in place of ``None``, which may be a value.
        local : bool
            Answer from the owner's memory, without proof that it is still the owner: quicker, and possibly stale
            while an owner is being replaced.

        Returns
        -------
        V | None
            The value, or the default.

        Raises
        ------
        StoredValueError
            The stored value cannot be read under the declared type.

        Examples
        --------
        >>> await d.map[str, dict]("users").get("nobody") is None
        True
        >>> await d.map[str, dict]("users").get("nobody", default={})
        {}
        """
        raw = await self._ask_key(key, Get(), local=check_flag(local, "local"))
        return default if raw is None else self._decoded(key, raw, "It stays as it is.")

    async def delete(self, key: K, *, idempotency_key: str | None = None) -> bool:
        """Delete the key.

        Parameters
        ----------
        idempotency_key : str | None
            Your own name for this operation, as :class:`~casty_es.Distributed` explains.

        Returns
        -------
        bool
            ``True`` if the key existed, ``False`` otherwise.

        Examples
        --------
        >>> await d.map[str, dict]("users").delete("nobody")
        False
        """
        return await self._ask_key(key, Delete(), idempotency_key=idempotency_key)

    @overload
    async def pop(self, key: K, *, idempotency_key: str | None = None) -> V | None: ...
    @overload
    async def pop(self, key: K, *, default: D, idempotency_key: str | None = None) -> V | D: ...
    async def pop(self, key: K, *, default: Any = None, idempotency_key: str | None = None) -> Any:
        """Delete the key and return the value that it had, in one step.

        Parameters
        ----------
        default : D
            What is returned for a key that has no value, in place of ``None``, which may be a value.
        idempotency_key : str | None
            Your own name for this operation, as :class:`~casty_es.Distributed` explains.

        Returns
        -------
        V | D
            The value, or the default.

        Raises
        ------
        StoredValueError
            The key is deleted, and the value that it had cannot be read under the declared type.

        Examples
        --------
        >>> carts = d.map[str, list]("carts")
        >>> await carts.put("ann", ["tea"])
        >>> await carts.pop("ann"), await carts.pop("ann", default=[])
        (['tea'], [])
        """
        raw = await self._ask_key(key, Pop(), idempotency_key=idempotency_key)
        return default if raw is None else self._decoded(key, raw, "The key is deleted. This is the value that it had.")

    async def contains(self, key: K) -> bool:
        """Check whether the key exists.

        Returns
        -------
        bool
            ``True`` also for a key whose value is ``None``.

        Examples
        --------
        >>> await d.map[str, dict]("users").contains("nobody")
        False
        """
        return await self._ask_key(key, Contains())

    def at(self, key: K, *, sequence: int) -> Dict[K, V]:
        """Return the map as it was for one key after one of the key's events, to be read and not to be changed.

        Parameters
        ----------
        key : K
            The key; no other can be read then, because each counts its own events.
        sequence : int
            The event's sequence, as ``history(key)`` gives it; 0 for before the first.

        Raises
        ------
        InvalidTypeError, InvalidArgumentError
            It is not a number of an event. That there is none of it yet is told when something is read.

        Examples
        --------
        >>> rates = d.map[str, int]("rates")
        >>> await rates.put("eur", 1), await rates.put("eur", 2)
        (None, 1)
        >>> await rates.at("eur", sequence=1).get("eur")
        1
        """
        name = EntityName("map", self._name, self._encoded(key))
        return self._over(past_sequence(self._gateway, name, sequence))

    def history(
        self, key: K, *, after: int | datetime = 0, until: int | datetime | None = None, limit: int | None = None
    ) -> AsyncIterator[HistoryEvent]:
        """Stream what happened to one key, event by event, as the journal has it.

        Parameters
        ----------
        key : K
            The key. Each has a history of its own.
        after, until, limit
            What of it, as for every other structure: :meth:`casty_es.Counter.history`, which says what is raised too.

        Examples
        --------
        >>> prices = d.map[str, int]("prices")
        >>> await prices.put("tea", 3)
        >>> [(event.key, event.type) async for event in prices.history("tea")]
        [('tea', 'map.put')]
        """
        name = EntityName("map", self._name, self._encoded(key))
        return history_of(self._gateway, name, after=after, until=until, limit=limit)

    def _encoded(self, key: K) -> str:
        if type(key) is bool or not isinstance(key, self._key_type):
            raise InvalidTypeError(
                f"A key of the map {self._name!r} is a {self._key_type.__name__}, not {type(key).__name__}. "
                f"Nothing was sent."
            )
        return encode_key(key)

    async def _ask_key(
        self,
        key: K,
        command: Command[R],
        *,
        local: bool = False,
        idempotency_key: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - the gateway holds to it
    ) -> R:
        envelope = ShardEnvelope(self._encoded(key), command, local, check_idempotency_key(idempotency_key))
        return await self._gateway.entity_ask(self._region_ref, lambda _: envelope, timeout=timeout or self._timeout)

    def _raw(self, value: object) -> Raw:
        return Raw(self._codec.encode(value))

    def _decoded(self, key: K, raw: Raw | None, happened: str) -> V | None:
        if raw is None:
            return None
        value: V = decode_stored(self._codec, raw, f"The key {key!r} of the map {self._name!r}", happened)
        return value


class MapAccessor(Accessor):
    """Makes maps: ``d.map[K, V]("name")``."""

    _example: ClassVar[str] = 'd.map[str, dict]("users")'

    @overload
    def __getitem__(self, params: tuple[type[K], type[V]]) -> Opener[Dict[K, V]]: ...
    @overload
    def __getitem__(self, params: tuple[type[K], object]) -> Opener[Dict[K, Any]]: ...
    def __getitem__(self, params: Any) -> Opener[Dict[Any, Any]]:
        """Return what opens maps with these types of keys and values."""
        try:
            key_type, value_type = params
        except (TypeError, ValueError):
            raise self._refusal() from None
        return Opener(Dict, self._gateway, "map", key_type=key_type, value_type=value_type)
