"""Renewing in the background what this process holds or waits for, so that it expires only when the process is gone.

A request is renewed three times within its lease, so that one renewal may fail. One that is not known any more is lost,
and so is one whose lease would be over before it could be renewed again: whoever holds it is told. A request with an
idempotency key may be asked for by several of this process; it is renewed until the last of them drops it.
"""

from __future__ import annotations

import asyncio
import logging
import weakref
from collections.abc import Callable, Iterable
from typing import Any, Final

from casty_es.domain.decider import Command
from casty_es.errors import CastyError, UsageError
from casty_es.gateway import EntityGateway, RegionRef, ShardEnvelope
from casty_es.handles.handle import settings_of

__all__ = ["Renewals", "renewals_of", "stop_renewals"]

_LOG: Final = logging.getLogger("casty_es.leases")

_RENEWALS_PER_LEASE: Final = 3


class _Held:
    """A request that is kept alive, and when the last renewal was sent that was answered."""

    def __init__(self, ref: RegionRef, renew: Callable[[tuple[str, ...]], Command], renewed_at: float) -> None:
        self.ref = ref
        self.renew = renew
        self.renewed_at = renewed_at
        self.lost: list[Callable[[], None]] = []  # of each that keeps it


class Renewals:
    """The requests of one gateway that are to be kept alive."""

    def __init__(self, gateway: EntityGateway) -> None:
        self._gateway = weakref.ref(gateway)
        self._lease_seconds = settings_of(gateway).lease_seconds
        self._interval = self._lease_seconds / _RENEWALS_PER_LEASE
        self._held: dict[str, _Held] = {}
        self._task: asyncio.Task[None] | None = None

    def keep(
        self, request: str, ref: RegionRef, renew: Callable[[tuple[str, ...]], Command], lost: Callable[[], None]
    ) -> None:
        """Renew a request from now on; ``lost`` is called once when its lease is found to be over."""
        held = self._held.get(request)
        if held is None:
            held = self._held[request] = _Held(ref, renew, asyncio.get_running_loop().time())
        held.lost.append(lost)
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run(), name="casty-renewals")

    def drop(self, request: str, lost: Callable[[], None] | None = None) -> bool:
        """Renew a request no more for the one who gave this ``lost``, or for all; tell whether somebody keeps it."""
        held = self._held.get(request)
        if held is None:
            return False
        if lost is None:
            held.lost.clear()
        elif lost in held.lost:
            held.lost.remove(lost)
        if not held.lost:
            del self._held[request]
        return bool(held.lost)

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
        sent_at = asyncio.get_running_loop().time()
        envelope = ShardEnvelope(ref.name, self._held[requests[0]].renew(tuple(requests)))
        try:
            known: Any = await gateway.entity_ask(ref, lambda _: envelope, timeout=self._interval)
        except UsageError:
            self._held.clear()  # the system is closed, and with it everything that was held
            return
        except CastyError as error:
            _LOG.warning("Renewing %d leases of %s %r failed: %s", len(requests), ref.kind, ref.name, error)
            # Nobody knows whether the owner has seen it. A holder that reaches nobody must not take itself for one.
            latest = asyncio.get_running_loop().time() + self._interval - self._lease_seconds
            self._lose([one for one in requests if one in self._held and self._held[one].renewed_at <= latest])
            return
        for request in set(known) & self._held.keys():
            self._held[request].renewed_at = sent_at
        self._lose(set(requests) - set(known))

    def _lose(self, requests: Iterable[str]) -> None:
        for request in requests:
            held = self._held.pop(request, None)
            if held is not None:
                _LOG.warning("The lease of request %s on %s %r is over", request, held.ref.kind, held.ref.name)
                for lost in held.lost:
                    lost()

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
