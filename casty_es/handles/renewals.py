"""Renewing in the background what this process holds or waits for, so that it expires only when the process is gone.

1. A request is renewed three times within its lease, so that one renewal may fail. One that is not known any more is
   lost, and so is one whose lease would be over before it could be renewed again: whoever holds it is told. So is
   everybody when nothing can be renewed any more: the system has stopped or is closed, or the renewing was ended.
2. A request with an idempotency key may be asked for by several of this process; it is renewed until the last of them
   drops it.
3. What nobody can use any more is renewed no more: when the handle of a grant was collected, its lease runs out.
4. When the system or client is closed in order, what stands in line is withdrawn and what is held is given back. A
   grant under an idempotency key stays: whoever has the key may have it again, until its lease runs out.
"""

from __future__ import annotations

import asyncio
import contextlib
import weakref
from collections.abc import Callable, Iterable
from functools import partial
from typing import Final, NamedTuple, Protocol

from casty_es.background import Loop
from casty_es.config import Settings
from casty_es.domain.decider import Command
from casty_es.domain.requests import Renew
from casty_es.errors import CastyError, UsageError
from casty_es.gateway import CARRIED, EntityGateway, RegionRef, ShardEnvelope
from casty_es.gateway.asking import UNDO_SECONDS
from casty_es.handles.handle import settings_of
from casty_es.printing import log_of

_LOG: Final = log_of("casty_es.leases")

_RENEWALS_PER_LEASE: Final = 3
# How long whoever is being closed waits for a request to leave, before it looks again.
_AGAIN_SECONDS: Final = 0.05


class Claims(NamedTuple):
    """A structure on which one can hold something or wait, and how a request of it is withdrawn."""

    ref: RegionRef
    # Of the request, and of whether a grant that it had meanwhile is kept.
    withdraw: Callable[[str, bool], Command[int | None]]


class Keeper(Protocol):
    """Who wants a request to live. It is kept for as long as its keeper is referred to by others than this module."""

    def lose(self) -> None:
        """Learn, once, that the request is over, was given back for the keeper, or is renewed no more."""


class _Held:
    """A request that is kept alive, and when the last renewal was sent that was answered."""

    def __init__(self, claims: Claims, renewed_at: float) -> None:
        self.claims = claims
        self.renewed_at = renewed_at
        self.granted = False
        self.keyed = False
        self.keepers: list[weakref.ref[Keeper]] = []


class Renewals:
    """The requests of one gateway that are to be kept alive."""

    def __init__(self, gateway: EntityGateway) -> None:
        self._gateway = weakref.ref(gateway)
        self._held: dict[str, _Held] = {}
        self._withdrawn: set[str] = set()
        self._stuck: set[str] = set()
        self._moved = asyncio.Event()  # set when somebody is granted, or asks no more
        self._closing = False
        self._loop: Loop | None = None  # while there is something to renew

    def keep(self, request: str, claims: Claims, keeper: Keeper, *, granted: bool = False, keyed: bool = False) -> None:
        """Renew a request from now on, until its last keeper drops it or is gone."""
        held = self._held.get(request)
        if held is None:
            held = self._held[request] = _Held(claims, asyncio.get_running_loop().time())
        held.granted, held.keyed = held.granted or granted, held.keyed or keyed
        self._moved.set()
        held.keepers.append(weakref.ref(keeper, partial(_collected, weakref.ref(self), request)))
        self._go_on()

    def drop(self, request: str, keeper: Keeper | None = None) -> bool:
        """Renew a request no more for one of its keepers, or for all; tell whether it has another one."""
        held = self._held.get(request)
        if held is None:
            return False
        held.keepers = [one for one in held.keepers if keeper is not None and one() not in (keeper, None)]
        if not held.keepers:
            del self._held[request]
            self._moved.set()
        return bool(held.keepers)

    def collected(self, request: str) -> None:
        """Stop renewing a grant whose handle was collected: nobody can release it, and nobody knows its token."""
        held = self._held.get(request)
        if held is None or any(one() is not None for one in held.keepers):
            return
        del self._held[request]
        if held.granted:
            _LOG.warning(
                "The handle that held request %s on %s %r was collected without a release: it is renewed no more and "
                "expires with its lease. Release in a finally block, or use `async with`",
                request,
                held.claims.ref.kind,
                held.claims.ref.name,
            )

    def refuse_closing(self) -> None:
        """Refuse to stand in a line while everybody is withdrawn."""
        if self._closing:
            raise UsageError("The system is being closed. Nothing was asked for.")

    def withdrew(self, request: str) -> bool:
        """Return whether a request that was withdrawn was so because the system is being closed."""
        return request in self._withdrawn

    @property
    def _lease_seconds(self) -> float:
        """How long a lease is now: a client learns it from the nodes, each time it is opened."""
        gateway = self._gateway()
        return (Settings() if gateway is None else settings_of(gateway)).lease_seconds

    @property
    def _interval(self) -> float:
        return self._lease_seconds / _RENEWALS_PER_LEASE

    def _go_on(self) -> None:
        if self._loop is None and self._held:
            self._loop = Loop(self._turn, name="casty-renewals", ended=self._ended)

    def _ended(self, why: str) -> None:
        self._loop = None
        self._forsake(why)
        self._go_on()  # for those in line: what becomes of their requests they are told by the gateway

    async def _turn(self) -> None:
        if not self._held or self._gateway() is None:  # handles refer to their gateway: without one there are none
            await self.stop()  # ends this task here
        await asyncio.sleep(self._interval)
        by_structure: dict[RegionRef, list[str]] = {}
        for request, held in self._held.copy().items():  # a handle may be collected meanwhile
            by_structure.setdefault(held.claims.ref, []).append(request)
        # At once: one that is not answered must not hold up the others until they expire.
        renewals = (self._renew(ref, requests) for ref, requests in by_structure.items())
        ends = await asyncio.gather(*renewals, return_exceptions=True)
        for (ref, requests), cancelled in zip(by_structure.items(), ends, strict=True):
            if cancelled is not None:
                self._failed(ref, requests, cancelled)

    async def _renew(self, ref: RegionRef, requests: list[str]) -> None:
        gateway = self._gateway()
        requests = [request for request in requests if request in self._held]  # some were given back since
        if gateway is None or not requests:
            return
        sent_at = asyncio.get_running_loop().time()
        try:
            envelope = ShardEnvelope(ref.name, Renew(tuple(requests)))
            known = set(await gateway.entity_ask(ref, lambda _: envelope, timeout=self._interval))
        except UsageError as error:
            self._forsake(str(error))  # the system has stopped or is closed
        except Exception as error:  # noqa: BLE001 - whatever it is, nobody has answered
            self._failed(ref, requests, error)
        else:
            for request in known & self._held.keys():
                self._held[request].renewed_at = sent_at
            self._lose(set(requests) - known, "it was destroyed, or its lease is over")

    def _failed(self, ref: RegionRef, requests: list[str], error: BaseException) -> None:
        """Go on after a renewal that was not answered: nobody knows whether the owner has seen it."""
        what = f"Renewing {len(requests)} leases of {ref.kind} {ref.name!r} failed"
        if isinstance(error, CastyError):
            _LOG.warning("%s: %s", what, error)
        else:
            _LOG.error("%s", what, exc_info=error)
        # A holder that reaches nobody must not take itself for one.
        latest = asyncio.get_running_loop().time() + self._interval - self._lease_seconds
        late = [request for request in requests if request in self._held and self._held[request].renewed_at <= latest]
        self._lose(late, "no renewal of it was answered")

    def _lose(self, requests: Iterable[str], why: str) -> None:
        for request in requests:
            held = self._held.pop(request, None)
            if held is None:
                continue
            if held.granted:
                ref = held.claims.ref
                _LOG.warning("Request %s on %s %r counts as lost: %s", request, ref.kind, ref.name, why)
            _tell(held)

    def _forsake(self, why: str) -> None:
        """Tell everybody who holds something that it is renewed no more."""
        granted = self._granted()
        if granted:
            _LOG.error("Renewing has ended, and what is held expires: %s", why)
            self._lose(granted, "it is renewed no more")

    def _granted(self) -> list[str]:
        return [request for request, held in self._held.copy().items() if held.granted]

    async def close(self) -> None:
        """Withdraw what stands in line, give back what is held, and stop renewing; tell who held what stays."""
        self._closing = True
        gateway, loop = self._gateway(), asyncio.get_running_loop()
        until = loop.time() + UNDO_SECONDS
        try:
            while gateway is not None and (leaving := self._leaving()) and loop.time() < until:
                self._moved.clear()
                # One that is cancelled is there once more, like a request that had not left when its withdrawal did.
                await asyncio.gather(*(self._give_back(gateway, one) for one in leaving), return_exceptions=True)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_AGAIN_SECONDS):
                        await self._moved.wait()
        finally:
            await self.stop()
            for request in self._granted():
                _tell(self._held.pop(request))

    def _leaving(self) -> list[str]:
        return [
            request
            for request, held in self._held.copy().items()
            if not (held.granted and held.keyed) and request not in self._stuck
        ]

    async def stop(self) -> None:
        """Renew nothing any more."""
        loop, self._loop = self._loop, None
        if loop is not None:
            await loop.stop()

    async def _give_back(self, gateway: EntityGateway, request: str) -> None:
        held = self._held.get(request)
        if held is None:
            return  # given back by its holder meanwhile
        claims = held.claims
        if not held.granted:
            self._withdrawn.add(request)
        envelope = ShardEnvelope(claims.ref.name, claims.withdraw(request, False), undo=CARRIED)
        try:
            await gateway.entity_ask(claims.ref, lambda _: envelope, timeout=UNDO_SECONDS)
        except Exception as error:  # noqa: BLE001 - whatever it is, the others are given back
            self._stuck.add(request)
            what = f"Request {request} on {claims.ref.kind} {claims.ref.name!r}"
            _LOG.warning(
                "%s could not be given back while closing, it expires with its lease: %s",
                what,
                error,
                exc_info=not isinstance(error, CastyError),
            )
        else:
            if held.granted and self._held.pop(request, None) is held:
                self._moved.set()
                _tell(held)


def _tell(held: _Held) -> None:
    for one in held.keepers:
        keeper = one()
        if keeper is not None:
            keeper.lose()


def _collected(renewals: weakref.ref[Renewals], request: str, _keeper: object) -> None:
    found = renewals()
    if found is not None:
        found.collected(request)


_BY_GATEWAY: weakref.WeakKeyDictionary[EntityGateway, Renewals] = weakref.WeakKeyDictionary()


def renewals_of(gateway: EntityGateway) -> Renewals:
    """Return the one object that renews for this gateway."""
    renewals = _BY_GATEWAY.get(gateway)
    if renewals is None:
        renewals = _BY_GATEWAY[gateway] = Renewals(gateway)
    return renewals


async def close_handles(gateway: EntityGateway) -> None:
    """End what the handles of a gateway hold and wait for, while the gateway that is being closed still carries it."""
    renewals = _BY_GATEWAY.get(gateway)
    if renewals is not None:
        try:
            await renewals.close()
        finally:
            _BY_GATEWAY.pop(gateway, None)
