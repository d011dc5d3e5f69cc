"""Renewing in the background what this process holds or waits for, so that it expires only when the process is gone.

A request is renewed three times within its lease, so that two renewals may fail. One that is not known any more is
lost: whoever holds it is told.
"""

from __future__ import annotations

import asyncio
import logging
import weakref
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from casty_es.domain.decider import Command
from casty_es.errors import CastyError, UsageError
from casty_es.gateway import EntityGateway, RegionRef, ShardEnvelope
from casty_es.handles.handle import settings_of

__all__ = ["Renewals", "renewals_of", "stop_renewals"]

_LOG: Final = logging.getLogger("casty_es.leases")

_RENEWALS_PER_LEASE: Final = 3


class _Held(NamedTuple):
    ref: RegionRef
    renew: Callable[[tuple[str, ...]], Command]
    lost: Callable[[], None]


class Renewals:
    """The requests of one gateway that are to be kept alive."""

    def __init__(self, gateway: EntityGateway) -> None:
        self._gateway = weakref.ref(gateway)
        self._interval = settings_of(gateway).lease_seconds / _RENEWALS_PER_LEASE
        self._held: dict[str, _Held] = {}
        self._task: asyncio.Task[None] | None = None

    def keep(
        self, request: str, ref: RegionRef, renew: Callable[[tuple[str, ...]], Command], lost: Callable[[], None]
    ) -> None:
        """Renew a request from now on; ``lost`` is called once when its lease is found to be over."""
        self._held[request] = _Held(ref, renew, lost)
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run(), name="casty-renewals")

    def drop(self, request: str) -> None:
        """Renew a request no more."""
        self._held.pop(request, None)

    async def _run(self) -> None:
        while self._held:
            await asyncio.sleep(self._interval)
            by_structure: dict[RegionRef, list[str]] = {}
            for request, held in self._held.items():
                by_structure.setdefault(held.ref, []).append(request)
            # At once: one that is not answered must not hold up the others until they expire.
            await asyncio.gather(*(self._renew(ref, requests) for ref, requests in by_structure.items()))

    async def _renew(self, ref: RegionRef, requests: list[str]) -> None:
        gateway = self._gateway()
        if gateway is None:
            self._held.clear()
            return
        requests = [request for request in requests if request in self._held]  # some were given back since
        if not requests:
            return
        envelope = ShardEnvelope(ref.name, self._held[requests[0]].renew(tuple(requests)))
        try:
            known: Any = await gateway.entity_ask(ref, lambda _: envelope, timeout=self._interval)
        except UsageError:
            self._held.clear()  # the system is closed, and with it everything that was held
            return
        except CastyError as error:
            _LOG.warning("Renewing %d leases of %s %r failed: %s", len(requests), ref.kind, ref.name, error)
            return
        for request in set(requests) - set(known):
            held = self._held.pop(request, None)
            if held is not None:
                _LOG.warning("The lease of request %s on %s %r is over", request, ref.kind, ref.name)
                held.lost()

    async def close(self) -> None:
        """Stop renewing."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)


_BY_GATEWAY: weakref.WeakKeyDictionary[EntityGateway, Renewals] = weakref.WeakKeyDictionary()


def renewals_of(gateway: EntityGateway) -> Renewals:
    """Give the one object that renews for this gateway."""
    renewals = _BY_GATEWAY.get(gateway)
    if renewals is None:
        renewals = _BY_GATEWAY[gateway] = Renewals(gateway)
    return renewals


async def stop_renewals(gateway: EntityGateway) -> None:
    """Stop renewing for a gateway that is being closed."""
    renewals = _BY_GATEWAY.pop(gateway, None)
    if renewals is not None:
        await renewals.close()
