"""Holding something under a lease: what a lock and a semaphore have in common for the holder.

1. What is held is renewed in the background until it is given back.
2. A release is carried to its end even when its caller is cancelled. Whatever becomes of it, nothing is renewed any
   more: what could not be released expires with its lease. So does what a handle holds that is collected.
3. A release with an idempotency key may be the repeat of an earlier one, which gave back something else: what is held
   now is kept, if it is still there. One that failed is repeated, under its key, for the same request.
4. A destroyed structure holds nothing any more: every task that held something through the handle is told. Where nobody
   can say what is still held, it is renewed, and the answer to that says it.
"""

from __future__ import annotations

import asyncio
import weakref
from abc import abstractmethod
from collections.abc import Collection
from types import TracebackType
from typing import Final, Self

from casty_es import runtime
from casty_es.background import finished
from casty_es.domain.claims import Release, Withdraw
from casty_es.domain.decider import Claim
from casty_es.domain.requests import Renew
from casty_es.errors import CastyError
from casty_es.gateway import CARRIED, EntityGateway, RegionRef
from casty_es.handles.renewals import Claims, renewals_of
from casty_es.handles.waiting import WaitingHandle
from casty_es.names import check_idempotency_key
from casty_es.printing import log_of

_LOG: Final = log_of("casty_es.leases")

# A token is the journal's incarnation and the grant's sequence: 2**44 grants of one lock are centuries at full speed.
_SEQUENCE_BITS = 44


class _Grant:
    """One grant, and the task that asked for it. It is renewed for as long as its handle is there."""

    def __init__(self, token: int, told: asyncio.Event, *, keyed: bool) -> None:
        self.token = token
        self.keyed = keyed
        self.lost = False
        self._told = told
        task = asyncio.current_task()
        self._task = None if task is None else weakref.ref(task)

    def lose(self) -> None:
        """Note that the lease is over, and tell whoever looks at the handle's event."""
        self.lost = True
        self._told.set()

    def mine(self) -> bool:
        """Return whether the running task asked for it."""
        return self._task is not None and self._task() is asyncio.current_task()


class _Holdings:
    """The grants that one handle holds, the oldest first, and those that its tasks lost and do not know of yet."""

    def __init__(self, gateway: EntityGateway, claims: Claims) -> None:
        self._gateway = gateway
        self._claims = claims
        self._grants: dict[str, _Grant] = {}
        self.lost = asyncio.Event()

    def add(self, request: str, token: int, *, keyed: bool) -> None:
        """Note a grant and keep it alive."""
        self.lost.clear()
        for old in [old for old, grant in self._grants.items() if grant.lost and grant.mine()]:
            del self._grants[old]  # its task has gone on to the next one
        self.take(request)  # one that was acquired again under its key is held once
        self.put(request, _Grant(token, self.lost, keyed=keyed))

    def put(self, request: str, grant: _Grant) -> None:
        """Keep a grant alive."""
        self._grants[request] = grant
        renewals_of(self._gateway).keep(request, self._claims, grant, granted=True, keyed=grant.keyed)

    def take(self, request: str | None) -> _Grant | None:
        """Take a grant out, and keep it alive no more."""
        grant = None if request is None else self._grants.pop(request, None)
        if request is not None and grant is not None:
            renewals_of(self._gateway).drop(request, grant)
        return grant

    def next(self) -> str | None:
        """Return the request whose grant the running task means to release: its own, lost or not, else the oldest."""
        mine = [request for request, grant in self._grants.items() if grant.mine()]
        held = mine or [request for request, grant in self._grants.items() if not grant.lost]
        return held[0] if held else None

    def requests(self) -> list[str]:
        """Return the requests of all grants that are held."""
        return [request for request, grant in self._grants.items() if not grant.lost]

    def lose(self, request: str) -> None:
        """Note that a grant is over; it stays until its task knows of it, which must not release another one."""
        grant = self._grants.get(request)
        if grant is not None:
            renewals_of(self._gateway).drop(request, grant)
            grant.lose()

    def newest_token(self) -> int | None:
        """Return the fencing token of the newest grant, or ``None`` when nothing is held."""
        return max((grant.token for grant in self._grants.values() if not grant.lost), default=None)


def fencing_token(incarnation: int, sequence: int) -> int:
    """Return the token of a grant: it only grows, also when a journal is restored under a new incarnation.

    Examples
    --------
    >>> fencing_token(1, 2) > fencing_token(1, 1)
    True
    """
    return (incarnation << _SEQUENCE_BITS) + sequence


class HoldingHandle(WaitingHandle):
    """A lock, or a semaphore: a handle that may hold what it was granted. Each object is an owner of its own.

    Parameters
    ----------
    gateway, region_ref, name, timeout
        As for every structure: :class:`~casty_es.Counter`.
    """

    def __init__(self, *, gateway: EntityGateway, region_ref: RegionRef, name: str, timeout: float = 5.0) -> None:
        super().__init__(gateway=gateway, region_ref=region_ref, name=name, timeout=timeout)
        self._become_an_owner(gateway)

    def _over(self, gateway: EntityGateway) -> Self:
        other = super()._over(gateway)
        other._become_an_owner(gateway)  # noqa: SLF001 - of the same class
        return other

    def _become_an_owner(self, gateway: EntityGateway) -> None:
        self._owner = str(runtime.fresh_uuid())
        self._holdings = _Holdings(gateway, self._claims)
        # By idempotency key: the request of a release that did not come to its end.
        self._releasing: dict[str, str] = {}

    @property
    def token(self) -> int | None:
        """The fencing token of the newest grant held here, or ``None``. Later grants have higher tokens, for ever."""
        return self._holdings.newest_token()

    @property
    def lost(self) -> asyncio.Event:
        """An event that is set when a grant that was held here counts as lost. The next grant clears it.

        Its lease ran out, or no renewal of it was answered; it was destroyed; or it is renewed no more, because the
        system has stopped or was closed.
        """
        return self._holdings.lost

    async def acquire(self, *, idempotency_key: str | None = None) -> None:
        """Block until it is acquired: the lock, or a permit of the semaphore.

        Parameters
        ----------
        idempotency_key : str | None
            Your own name for this operation, as :class:`~casty_es.Distributed` explains.

        Raises
        ------
        NotDoneError
            It was not granted within the handle's timeout. The request is withdrawn and never granted later.
            Or the request of this key was made before, and holds nothing any more.
        OutcomeUnknownError
            The timeout passed and the withdrawal could not be confirmed; the request expires with its lease.
        ConfigurationError
            The semaphore was opened with another number of permits.
        DestroyedError
            The structure was destroyed meanwhile.

        Examples
        --------
        >>> lock = d.lock("deploy")
        >>> await lock.acquire()
        >>> await lock.release()
        True
        """
        await self._acquire(idempotency_key, waits=True)

    async def try_acquire(self, *, idempotency_key: str | None = None) -> bool:
        """Try to acquire it without blocking.

        Parameters
        ----------
        idempotency_key : str | None
            Your own name for this operation, as :class:`~casty_es.Distributed` explains.

        Returns
        -------
        bool
            ``True`` if the lock or a permit was acquired, ``False`` if it is held or none is available.

        Raises
        ------
        NotDoneError
            The request of this key was made before, and holds nothing any more.
        ConfigurationError
            The semaphore was opened with another number of permits.

        Examples
        --------
        >>> lock = d.lock("report")
        >>> await lock.try_acquire(), await d.lock("report").try_acquire()
        (True, False)
        >>> sem = d.semaphore("printers", permits=2)
        >>> await sem.try_acquire(), await sem.try_acquire(), await sem.try_acquire()
        (True, True, False)
        """
        return await self._acquire(idempotency_key, waits=False)

    async def _acquire(self, idempotency_key: str | None, *, waits: bool) -> bool:
        """Ask for a grant, in line if need be; tell whether there was one."""
        told = await self._ask_in_line(lambda request: self._asking(request, waits=waits), idempotency_key)
        if told.sequence is None:
            return False
        token = fencing_token(told.incarnation, told.sequence)
        self._holdings.add(told.request, token, keyed=idempotency_key is not None)
        return True

    @abstractmethod
    def _asking(self, request: str, *, waits: bool) -> Claim:
        """Return the command that asks for a grant, in line if need be or only at once."""

    async def release(self, *, idempotency_key: str | None = None) -> bool:
        """Give it back: the lock, or the permit that was held here longest.

        Parameters
        ----------
        idempotency_key : str | None
            Your own name for this operation, as :class:`~casty_es.Distributed` explains.

        Returns
        -------
        bool
            ``True`` if released, ``False`` if this instance was not a holder, or its grant was lost: one that was lost
            takes nobody else's with it.

        Examples
        --------
        >>> await d.lock("never-used").release()
        False
        """
        key = check_idempotency_key(idempotency_key)
        request = (key and self._releasing.get(key)) or self._holdings.next()
        grant = self._holdings.take(request)
        release = Release(self._owner, request)
        if key is None or request is None:
            return await self._ask(release, key, undo=CARRIED)
        self._releasing[key] = request
        try:
            released = await self._ask(release, key, undo=CARRIED)
        except asyncio.CancelledError:  # it was carried to its end before
            await finished(self._keep_if_held(request, grant))
            raise
        del self._releasing[key]
        await finished(self._keep_if_held(request, grant))
        return released

    @property
    def _claims(self) -> Claims:
        return Claims(self._region_ref, Withdraw)

    async def _keep_if_held(self, request: str, grant: _Grant | None) -> None:
        """Go on with a grant that a release under a key did not give back, because the key had given back another."""
        if grant is not None and await self._known([request]):
            self._holdings.put(request, grant)

    async def _destroy(self, idempotency_key: str | None) -> bool:
        held = self._holdings.requests()  # what is granted from now on may be granted after the destruction
        destroyed = await super()._destroy(idempotency_key)
        if destroyed:
            # Under a key it may have been destroyed long ago, and acquired since.
            known = await self._known(held) if held and idempotency_key is not None else ()
            for request in set(held).difference(known):
                self._holdings.lose(request)
        return destroyed

    async def _known(self, requests: list[str]) -> Collection[str]:
        """Ask which of these are held. When nobody can say, all: their renewal says it later."""
        try:
            return await self._ask(Renew(tuple(requests)))
        except CastyError as error:
            what = f"{self._region_ref.kind} {self._name!r}"
            _LOG.warning("What is still held of the %s is not known; it is renewed, which will tell: %s", what, error)
            return requests

    async def __aenter__(self) -> Self:
        """Acquire."""
        await self.acquire()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Release."""
        await self.release()
