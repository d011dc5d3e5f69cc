"""Asking for something that one may have to wait for in line.

A caller whose time is up withdraws its request, and the answer to the withdrawal decides: granted meanwhile, it has
what it asked for. For a caller that is cancelled, also while it withdraws, the gateway withdraws, and a grant is given
back. Either way the request is never granted later. One that others of this process ask for under the same idempotency
key is theirs: it is left to them. Whoever stands in line when the system is closed is withdrawn by ``renewals.py``.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import NamedTuple

from casty_es.domain.catalog import CATALOG
from casty_es.domain.decider import Command
from casty_es.errors import CastyError, NotDoneError, OutcomeUnknownError, StillInLineError
from casty_es.gateway import CommandContext, ShardEnvelope, Undo
from casty_es.gateway.asking import UNDO_SECONDS
from casty_es.handles.handle import EntityHandle
from casty_es.handles.renewals import Claims, Renewals, renewals_of
from casty_es.names import check_idempotency_key
from casty_es.verdicts import closed_in_line, not_granted, withdrawal_lost


class Told(NamedTuple):
    """What became of a request that may have stood in line."""

    request: str
    sequence: int | None  # of its grant, if there is one
    incarnation: int  # the journal's, under which that was said


class WaitingHandle(EntityHandle, ABC):
    """A handle on which one may wait in line."""

    @property
    @abstractmethod
    def _claims(self) -> Claims:
        """Return how requests of this structure are withdrawn."""

    async def _ask_in_line(
        self, make: Callable[[str], Command[int | None]], idempotency_key: str | None = None
    ) -> Told:
        """Make a request and wait for its grant; return what was said of it.

        Raises
        ------
        NotDoneError
            The time was up. The request is withdrawn: it is never granted later.
        OutcomeUnknownError
            The time was up and the withdrawal could not be confirmed either.
        UsageError
            The system is being closed, and the request was withdrawn.
        """
        key = check_idempotency_key(idempotency_key)
        asking = _Asking(renewals_of(self._gateway), self._claims)

        def envelope(context: CommandContext) -> ShardEnvelope[int | None]:
            asking.context = context
            asking.begin(context.request)
            return ShardEnvelope(self._name, make(context.request), idempotency_key=key, undo=Undo(asking.undo))

        try:
            granted = await self._grant(asking, envelope)
        except NotDoneError as error:
            if asking.renewals.withdrew(asking.request):
                raise closed_in_line(self._region_ref.kind, self._name) from error
            raise
        finally:
            asking.end()
        return Told(asking.request, granted, asking.context.incarnation)

    async def _grant(
        self, asking: _Asking, envelope: Callable[[CommandContext], ShardEnvelope[int | None]]
    ) -> int | None:
        asking.renewals.refuse_closing()
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            return await self._gateway.entity_ask(self._region_ref, envelope, timeout=self._timeout)
        except (StillInLineError, OutcomeUnknownError) as error:
            if asking.end():
                why = "others of this process have it, or wait for it, under the same idempotency key."
                raise not_granted(self._region_ref.kind, self._name, why) from error
            granted = await self._stepped_out(asking)
            if granted is None:
                late = isinstance(error, StillInLineError) or loop.time() - began >= self._timeout
                why = f"its time of {self._timeout:g} s was up" if late else "nobody could say what became of it"
                why = f"{why}. The request is withdrawn and will not be granted later."
                raise not_granted(self._region_ref.kind, self._name, why) from error
            return granted

    async def _stepped_out(self, asking: _Asking) -> int | None:
        """Withdraw a request whose time is up; return what it was granted meanwhile."""
        withdraw, request = self._claims.withdraw, asking.request
        behind = None if CATALOG[self._region_ref.kind].fate is None else asking.context.sent
        give_back = Undo(lambda _: withdraw(request, False), even_unsent=True, persists=True)

        def envelope(context: CommandContext) -> ShardEnvelope[int | None]:
            asking.context = context
            return ShardEnvelope(self._name, withdraw(request, True), undo=give_back, behind=behind)

        try:
            return await self._gateway.entity_ask(self._region_ref, envelope, timeout=UNDO_SECONDS)
        except CastyError as failed:
            raise withdrawal_lost(self._region_ref.kind, self._name, request, failed) from failed


class _Asking:
    """One request on its way, renewed for as long as it is asked for."""

    def __init__(self, renewals: Renewals, claims: Claims) -> None:
        self.renewals = renewals
        self._claims = claims
        self.request = ""  # until the gateway has given the command its id
        self.context: CommandContext  # of whatever was asked last

    def begin(self, request: str) -> None:
        """Ask under this name; a gateway that asks for the command again may give it another one."""
        if request != self.request:
            self.end()
            self.request = request
            self.renewals.keep(request, self._claims, self)

    def undo(self, _reply: object) -> Command | None:
        """Return the withdrawal for a caller that is gone, unless somebody else of this process has the request."""
        return None if self.end() else self._claims.withdraw(self.request, False)

    def end(self) -> bool:
        """Ask no more; tell whether somebody else of this process has the request, or asks for it."""
        return self.renewals.drop(self.request, self)

    def lose(self) -> None:
        """Go on renewing: whether the request is over the gateway tells, and until then it stands in line, or will."""
        request, self.request = self.request, ""
        self.begin(request)
