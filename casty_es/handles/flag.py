"""The handle of a flag."""

from __future__ import annotations

from casty_es.domain.flag import IsUp, Lower, Raise
from casty_es.handles.handle import EntityHandle


class Flag(EntityHandle):
    """Client for a flag, which is up or down.

    Examples
    --------
    >>> flag = d.flag("maintenance")
    >>> await flag.raise_(), await flag.is_up()
    (True, True)
    """

    async def raise_(self, *, idempotency_key: str | None = None) -> bool:
        """Put the flag up; return whether it was down."""
        return await self._ask(Raise(), idempotency_key)

    async def lower(self, *, idempotency_key: str | None = None) -> bool:
        """Take the flag down; return whether it was up."""
        return await self._ask(Lower(), idempotency_key)

    async def is_up(self) -> bool:
        """Return whether the flag is up."""
        return await self._ask(IsUp())
