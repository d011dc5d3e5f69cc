"""The handle of a set."""

from __future__ import annotations

import builtins
from typing import Any, ClassVar, TypeVar, overload

from casty_es.domain.set import Add, Contains, Remove, Size
from casty_es.handles.handle import Accessor, Opener, ValuesHandle

V = TypeVar("V")


class Set(ValuesHandle[V]):
    """Client for a distributed set.

    Parameters
    ----------
    gateway, region_ref, name, timeout
        As for every structure: :class:`~casty_es.Counter`.
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

        Examples
        --------
        >>> await d.set[str]("languages").add("python")
        True
        """
        return await self._ask(Add(self._encoded(value)), idempotency_key)

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

        Examples
        --------
        >>> await d.set[str]("languages").remove("cobol")
        False
        """
        return await self._ask(Remove(self._encoded(value)), idempotency_key)

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
        return await self._ask(Contains(self._encoded(value)))

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
        return await self._ask(Size())


class SetAccessor(Accessor):
    """Makes sets: ``d.set[V]("name")``."""

    _example: ClassVar[str] = 'd.set[str]("tags")'

    @overload
    def __getitem__(self, param: builtins.type[V]) -> Opener[Set[V]]: ...
    @overload
    def __getitem__(self, param: object) -> Opener[Set[Any]]: ...
    def __getitem__(self, param: Any) -> Opener[Set[Any]]:
        """Return what opens sets with members of this type."""
        return Opener(Set, self._gateway, "set", value_type=param)
