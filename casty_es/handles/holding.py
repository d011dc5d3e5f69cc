"""What a handle holds, seen from the holder: tokens, renewal, and the moment when a lease is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from casty_es.domain.decider import Command
from casty_es.gateway import EntityGateway, RegionRef
from casty_es.handles.renewals import renewals_of

__all__ = ["Holdings"]

# A token is the journal's incarnation and the grant's sequence: 2**44 grants of one lock are centuries at full speed.
_SEQUENCE_BITS = 44


class Holdings:
    """The grants that one handle holds, the oldest first.

    Attributes
    ----------
    lost : asyncio.Event
        Set when a lease is found to be over although nobody released it.
    """

    def __init__(self, gateway: EntityGateway, ref: RegionRef, renew: Callable[[tuple[str, ...]], Command]) -> None:
        self._gateway = gateway
        self._ref = ref
        self._renew = renew
        self._grants: dict[str, int] = {}
        self.lost = asyncio.Event()

    def add(self, request: str, sequence: int) -> None:
        """Note a grant and keep it alive."""
        self.lost.clear()
        self._grants[request] = sequence
        renewals_of(self._gateway).keep(request, self._ref, self._renew, lambda: self._lose(request))

    def remove_oldest(self) -> None:
        """Note that the oldest grant was given back."""
        if self._grants:
            request = min(self._grants, key=self._grants.__getitem__)
            del self._grants[request]
            renewals_of(self._gateway).drop(request)

    def clear(self) -> None:
        """Note that nothing is held any more."""
        for request in list(self._grants):
            renewals_of(self._gateway).drop(request)
        self._grants.clear()

    def newest_token(self) -> int | None:
        """Give the fencing token of the newest grant, or ``None`` when nothing is held."""
        if not self._grants:
            return None
        incarnation: int = getattr(self._gateway, "incarnation", 1)
        return (incarnation << _SEQUENCE_BITS) + max(self._grants.values())

    def _lose(self, request: str) -> None:
        self._grants.pop(request, None)
        self.lost.set()
