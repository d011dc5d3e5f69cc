"""The handle of a counter."""

from __future__ import annotations

from casty_es.domain.counter import CompareAndSet, Decrement, Get, Increment, check_step
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

    async def increment(self, amount: int = 1, *, idempotency_key: str | None = None) -> int:
        """Increment the counter and return the new value.

        Parameters
        ----------
        amount : int
            Value to add (default ``1``).
        idempotency_key : str | None
            Your own name for this operation, as :class:`~casty_es.Distributed` explains.

        Returns
        -------
        int
            The counter value after incrementing.

        Raises
        ------
        InvalidTypeError
            ``amount`` is not an int; a float or a bool is not one.
        BoundsError
            The result would be beyond ±10**4000. The counter keeps its value.
        NotDoneError, OutcomeUnknownError
            The timeout passed: the increment did not happen, or may have happened.

        Examples
        --------
        >>> await d.counter("page-views").increment()
        1
        """
        return await self._ask(Increment(_step(amount)), idempotency_key)

    async def decrement(self, amount: int = 1, *, idempotency_key: str | None = None) -> int:
        """Decrement the counter and return the new value.

        Parameters
        ----------
        amount : int
            Value to subtract (default ``1``).
        idempotency_key : str | None
            Your own name for this operation, as :class:`~casty_es.Distributed` explains.

        Returns
        -------
        int
            The counter value after decrementing.

        Raises
        ------
        InvalidTypeError
            ``amount`` is not an int; a float or a bool is not one.
        BoundsError
            The result would be beyond ±10**4000. The counter keeps its value.
        NotDoneError, OutcomeUnknownError
            The timeout passed: the decrement did not happen, or may have happened.

        Examples
        --------
        >>> await d.counter("stock").decrement()
        -1
        """
        return await self._ask(Decrement(_step(amount)), idempotency_key)

    async def compare_and_set(self, expected: int, value: int, *, idempotency_key: str | None = None) -> bool:
        """Set the counter to a value if it is at another one, in one step.

        Parameters
        ----------
        expected : int
            What the counter must be at; 0 for one that nobody has changed.
        value : int
            What it is to be at.
        idempotency_key : str | None
            Your own name for this operation, as :class:`~casty_es.Distributed` explains.

        Returns
        -------
        bool
            Whether it was set.

        Raises
        ------
        InvalidTypeError
            ``expected`` or ``value`` is not an int; a float or a bool is not one.
        BoundsError
            ``value`` is beyond ±10**4000. The counter keeps its value.
        NotDoneError, OutcomeUnknownError
            The timeout passed: the counter was not set, or may have been.

        Examples
        --------
        >>> await d.counter("turn").compare_and_set(0, 3)
        True
        """
        return await self._ask(CompareAndSet(_step(expected), _step(value)), idempotency_key)

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
