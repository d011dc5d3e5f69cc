"""The handle of a set."""

from __future__ import annotations

import builtins
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from msgspec import Raw

from casty_es.domain.set import Add, Contains, Destroy, Remove, Size
from casty_es.gateway import EntityGateway, RegionRef, StructureFactory
from casty_es.handles.handle import EntityHandle, codec_for, open_handle, refuse_call

__all__ = ["Set", "SetAccessor"]

V = TypeVar("V")


class Set(EntityHandle, Generic[V]):
    """Client for a distributed set.

    Parameters
    ----------
    gateway : EntityGateway
        What carries commands to the set's owner.
    region_ref : RegionRef
        Where the set is.
    name : str
        Set name (used as entity ID).
    timeout : float
        Default timeout for each operation, in seconds.
    value_type : type
        What the members are; ``Any`` takes every JSON value.

    Examples
    --------
    >>> tags = d.set[str]("tags")
    >>> await tags.add("python")
    True
    >>> await tags.contains("python")
    True
    """

    def __init__(
        self,
        *,
        gateway: EntityGateway,
        region_ref: RegionRef,
        name: str,
        timeout: float = 5.0,
        value_type: Any = Any,
    ) -> None:
        super().__init__(gateway=gateway, region_ref=region_ref, name=name, timeout=timeout)
        self._codec = codec_for(value_type, gateway)

    async def destroy(self, *, idempotency_key: str | None = None) -> bool:
        """Destroy this set. Its events stay in the journal; the next member begins a new, empty one.

        Parameters
        ----------
        idempotency_key : str | None
            Your own name for this operation, as :class:`~casty_es.Distributed` explains.

        Returns
        -------
        bool
            ``True`` if destroyed, ``False`` if there was nothing to destroy.

        Raises
        ------
        IdempotencyConflictError
            The key was used on this set before, for another operation. Nothing was done.

        Examples
        --------
        >>> await d.set[str]("never-used").destroy()
        False
        """
        destroyed: bool = await self._ask(Destroy(), idempotency_key)
        return destroyed

    async def add(self, value: V, *, idempotency_key: str | None = None) -> bool:
        """Add a value to the set.

        Parameters
        ----------
        idempotency_key : str | None
            Your own name for this operation, as :class:`~casty_es.Distributed` explains.

        Returns
        -------
        bool
            ``True`` if added, ``False`` if already present.

        Raises
        ------
        InvalidValueError
            The value cannot be stored, or would not come back equal.
        IdempotencyConflictError
            The key was used on this set before, for another operation. Nothing was done.

        Examples
        --------
        >>> await d.set[str]("languages").add("python")
        True
        """
        added: bool = await self._ask(Add(self._encoded(value)), idempotency_key)
        return added

    async def remove(self, value: V, *, idempotency_key: str | None = None) -> bool:
        """Remove a value from the set.

        Parameters
        ----------
        idempotency_key : str | None
            Your own name for this operation, as :class:`~casty_es.Distributed` explains.

        Returns
        -------
        bool
            ``True`` if removed, ``False`` if not present.

        Raises
        ------
        IdempotencyConflictError
            The key was used on this set before, for another operation. Nothing was done.

        Examples
        --------
        >>> await d.set[str]("languages").remove("cobol")
        False
        """
        removed: bool = await self._ask(Remove(self._encoded(value)), idempotency_key)
        return removed

    async def contains(self, value: V) -> bool:
        """Check if a value is in the set.

        Returns
        -------
        bool
            Whether a member has the same canonical JSON.

        Examples
        --------
        >>> await d.set[str]("languages").contains("cobol")
        False
        """
        there: bool = await self._ask(Contains(self._encoded(value)))
        return there

    async def size(self) -> int:
        """Get the number of elements in the set.

        Returns
        -------
        int
            0 for a set that nobody has changed.

        Examples
        --------
        >>> await d.set[str]("never-used").size()
        0
        """
        size: int = await self._ask(Size())
        return size

    def _encoded(self, value: V) -> Raw:
        return Raw(self._codec.encode(value))


class SetAccessor:
    """Makes sets: ``d.set[V]("name")``."""

    def __init__(self, gateway: EntityGateway) -> None:
        self._gateway = gateway

    def __getitem__(self, param: builtins.type[V]) -> Callable[..., Set[V]]:
        """Return the maker of sets with members of this type."""
        gateway = self._gateway

        def create(name: str, *, shards: int = 100, timeout: float = 5.0) -> Set[V]:
            return open_handle(
                Set, gateway, StructureFactory("set"), name, shards=shards, timeout=timeout, value_type=param
            )

        return create

    def __call__(self, *_: object, **__: object) -> None:
        """Refuse: a set needs the type of its members."""
        raise refuse_call("set", 'd.set[str]("tags")')
