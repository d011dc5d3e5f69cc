"""The handle of a counter."""

from __future__ import annotations

from casty_es.domain.counter import (
    CompareAndSet,
    Decrement,
    DecrementWithin,
    Get,
    GetAndSet,
    Increment,
    IncrementWithin,
    check_step,
    check_value,
)
from casty_es.errors import InvalidArgumentError
from casty_es.handles.handle import EntityHandle
from casty_es.names import check_amount


class Counter(EntityHandle):
    """Client for a distributed counter: an exact integer within ±10**4000.

    Parameters
    ----------
    gateway : EntityGateway
        What carries commands to the structure's owner.
    region_ref : RegionRef
        Where the structure is.
    name : str
        Its name (used as entity ID).
    timeout : float
        Default timeout for each operation, in seconds.

    Examples
    --------
    >>> counter = d.counter("hits")
    >>> await counter.increment(5)
    5
    >>> await counter.get()
    5
    """

    async def increment(
        self,
        amount: int = 1,
        *,
        max: int | None = None,  # noqa: A002 - as everybody calls it
        min: int | None = None,  # noqa: A002 - likewise
        idempotency_key: str | None = None,
    ) -> int:
        """Increment the counter and return the new value.

        Parameters
        ----------
        amount : int
            Value to add (default ``1``).
        max, min : int | None
            Where the new value may lie, both included (default: anywhere). A call with another result is refused.
        idempotency_key : str | None
            Your own name for this operation, as :class:`~casty_es.Distributed` explains.

        Returns
        -------
        int
            The counter value after incrementing.

        Raises
        ------
        InvalidTypeError
            ``amount``, ``max`` or ``min`` is not an int; a float or a bool is not one.
        InvalidArgumentError
            ``min`` is above ``max``.
        BoundsError
            The result would be beyond ±10**4000, or beyond ``max`` or ``min``. The counter keeps its value.
        NotDoneError, OutcomeUnknownError
            The timeout passed: the increment did not happen, or may have happened.

        Examples
        --------
        >>> await d.counter("page-views").increment()
        1
        >>> await d.counter("seats").increment(2, max=40)
        2
        """
        if max is None and min is None:
            return await self._ask(Increment(_step(amount)), idempotency_key)
        return await self._ask(IncrementWithin(_step(amount), *_bounds(min, max)), idempotency_key)

    async def decrement(
        self,
        amount: int = 1,
        *,
        max: int | None = None,  # noqa: A002 - as for an increment
        min: int | None = None,  # noqa: A002 - likewise
        idempotency_key: str | None = None,
    ) -> int:
        """Decrement the counter and return the new value.

        Parameters
        ----------
        amount : int
            Value to subtract (default ``1``).
        max, min : int | None
            Where the new value may lie, both included (default: anywhere). A call with another result is refused.
        idempotency_key : str | None
            Your own name for this operation, as :class:`~casty_es.Distributed` explains.

        Returns
        -------
        int
            The counter value after decrementing.

        Raises
        ------
        InvalidTypeError
            ``amount``, ``max`` or ``min`` is not an int; a float or a bool is not one.
        InvalidArgumentError
            ``min`` is above ``max``.
        BoundsError
            The result would be beyond ±10**4000, or beyond ``max`` or ``min``. The counter keeps its value.
        NotDoneError, OutcomeUnknownError
            The timeout passed: the decrement did not happen, or may have happened.

        Examples
        --------
        >>> await d.counter("balance").decrement()
        -1
        >>> await d.counter("stock").decrement(min=0)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        BoundsError: The counter would be at -1, below the minimum of 0 that this call gave. Nothing was appended ...
        """
        if max is None and min is None:
            return await self._ask(Decrement(_step(amount)), idempotency_key)
        return await self._ask(DecrementWithin(_step(amount), *_bounds(min, max)), idempotency_key)

    async def set(self, value: int, *, idempotency_key: str | None = None) -> None:
        """Set the counter to a value, whatever it is at.

        Parameters
        ----------
        value : int
            What it is to be at.
        idempotency_key : str | None
            Your own name for this operation, as :class:`~casty_es.Distributed` explains.

        Raises
        ------
        InvalidTypeError
            ``value`` is not an int; a float or a bool is not one.
        BoundsError
            ``value`` is beyond ±10**4000. The counter keeps its value.
        NotDoneError, OutcomeUnknownError
            The timeout passed: the counter was not set, or may have been.

        Examples
        --------
        >>> await d.counter("stock").set(100)
        """
        await self.get_and_set(value, idempotency_key=idempotency_key)

    async def get_and_set(self, value: int, *, idempotency_key: str | None = None) -> int:
        """Set the counter to a value and return what it was at, in one step.

        Parameters
        ----------
        value : int
            What it is to be at.
        idempotency_key : str | None
            Your own name for this operation, as :class:`~casty_es.Distributed` explains.

        Returns
        -------
        int
            The value before; 0 for a counter that nobody had changed.

        Raises
        ------
        InvalidTypeError, BoundsError, NotDoneError, OutcomeUnknownError
            As for :meth:`set`.

        Examples
        --------
        >>> hits = d.counter("hits-this-hour")
        >>> await hits.increment(7)
        7
        >>> await hits.get_and_set(0)
        7
        """
        return await self._ask(GetAndSet(_value(value, "value")), idempotency_key)

    async def compare_and_set(self, expected: int, value: int, *, idempotency_key: str | None = None) -> bool:
        """Set the counter to a value if it is at another one, in one step.

        Parameters
        ----------
        expected : int
            What the counter must be at; 0 for one that nobody has changed.
        value : int
            What it is to be at.
        idempotency_key : str | None
            Your own name for this operation, as :class:`~casty_es.Distributed` explains. A ``False`` uses it up.

        Returns
        -------
        bool
            Whether it was set.

        Raises
        ------
        InvalidTypeError, BoundsError, NotDoneError, OutcomeUnknownError
            As for :meth:`set`.

        Examples
        --------
        >>> turn = d.counter("turn")
        >>> await turn.compare_and_set(0, 3)
        True
        >>> await turn.compare_and_set(0, 4)
        False
        """
        return await self._ask(CompareAndSet(_value(expected, "expected"), _value(value, "value")), idempotency_key)

    async def get(self) -> int:
        """Get the current counter value.

        Returns
        -------
        int
            The value; 0 for a counter that nobody has changed.

        Examples
        --------
        >>> await d.counter("never-used").get()
        0
        """
        return await self._ask(Get())


def _step(amount: object) -> int:
    return check_step(amount if type(amount) is int else check_amount(amount))


def _value(value: object, what: str) -> int:
    return check_value(check_amount(value, what), what)


def _bounds(least: object, most: object) -> tuple[int | None, int | None]:
    minimum = None if least is None else _value(least, "min")
    maximum = None if most is None else _value(most, "max")
    if minimum is not None and maximum is not None and minimum > maximum:
        raise InvalidArgumentError("min is above max, and no value lies between them. Nothing was done.")
    return minimum, maximum
