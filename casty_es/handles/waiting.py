"""Asking for something that one may have to wait for in line.

A caller whose time is up, or who is cancelled, withdraws its request; the answer to the withdrawal decides. Granted
meanwhile: a timed-out caller has what it asked for, a cancelled caller's grant was given back. Either way the request
is never granted later. One that others of this process ask for under the same idempotency key is theirs: it is left to
them.
"""

from __future__ import annotations

import asyncio
import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar
from uuid import UUID

from casty_es.domain.decider import Command
from casty_es.errors import CastyError, NotDoneError, OutcomeUnknownError, StillInLineError
from casty_es.gateway import CommandContext, RegionRef
from casty_es.handles.handle import EntityHandle
from casty_es.handles.renewals import Renewals, renewals_of

__all__ = ["WaitingHandle", "finished"]

T = TypeVar("T")

# A withdrawal has a time of its own: the caller's is over when it is sent.
_WITHDRAW_SECONDS = 5.0


class WaitingHandle(EntityHandle, ABC):
    """A handle on which one may wait in line."""

    @abstractmethod
    def _renew(self, requests: tuple[str, ...]) -> Command:
        """Give the command that renews these requests."""

    @abstractmethod
    def _withdraw(self, request: str, *, keep_grant: bool) -> Command:
        """Give the command that takes a request back."""

    async def _ask_in_line(self, make: Callable[[str], Command], idempotency_key: str | None = None) -> tuple[str, Any]:
        """Make a request and wait for its grant; give the request's name and the grant.

        Raises
        ------
        NotDoneError
            The time was up. The request is withdrawn: it is never granted later.
        OutcomeUnknownError
            The time was up and the withdrawal could not be confirmed either.
        """
        asking = _Asking(renewals_of(self._gateway), self._region_ref, self._renew)

        def command(context: CommandContext) -> Command:
            asking.begin(context.request)
            return make(context.request)

        try:
            granted = await self._ask_with(command, idempotency_key=idempotency_key)
        except (StillInLineError, OutcomeUnknownError) as error:
            if asking.end():
                raise self._not_granted(
                    "Others of this process have it, or wait for it, under the same idempotency key."
                ) from error
            granted = await self._stepped_out(asking.request, error)
        except asyncio.CancelledError:
            # Nobody waits for it any more, so it must not be granted: that is finished first, whatever happens.
            if asking.request and not asking.end():
                with contextlib.suppress(CastyError):  # then it expires with its lease, which nobody renews now
                    await finished(self._stepped_out(asking.request, None))
            raise
        finally:
            asking.end()
        return asking.request, granted

    async def _stepped_out(self, request: str, error: NotDoneError | OutcomeUnknownError | None) -> Any:
        withdraw = self._withdraw(request, keep_grant=error is not None)
        try:
            granted = await self._ask_with(lambda _: withdraw, timeout=_WITHDRAW_SECONDS)
        except CastyError as failed:
            raise OutcomeUnknownError(
                f"The {self._region_ref.kind} {self._name!r} was not granted within {self._timeout:g} s, and the "
                f"request {request} could not be withdrawn ({failed}). It may still be granted; then it expires, "
                f"because nobody renews it.",
                command_id=UUID(request),
            ) from failed
        if error is not None and granted is None:
            raise self._not_granted("The request is withdrawn and will not be granted later.") from error
        return granted

    def _not_granted(self, why: str) -> NotDoneError:
        return NotDoneError(
            f"The {self._region_ref.kind} {self._name!r} was not granted within {self._timeout:g} s. {why}"
        )


class _Asking:
    """One request on its way, renewed for as long as it is asked for."""

    def __init__(self, renewals: Renewals, ref: RegionRef, renew: Callable[[tuple[str, ...]], Command]) -> None:
        self._renewals = renewals
        self._ref = ref
        self._renew = renew
        self.request = ""  # until the gateway has given the command its id

    def begin(self, request: str) -> None:
        """Ask under this name; a gateway that asks for the command again may give it another one."""
        if request != self.request:
            self.end()
            self.request = request
            self._renewals.keep(request, self._ref, self._renew, self._lost)

    def end(self) -> bool:
        """Ask no more; tell whether somebody else of this process has the request, or asks for it."""
        return self._renewals.drop(self.request, self._lost)

    def _lost(self) -> None:
        """Go on renewing: whether the request is over the gateway tells, and until then it stands in line, or will."""
        request, self.request = self.request, ""
        self.begin(request)


async def finished(work: Coroutine[Any, Any, T]) -> T:
    """Carry a piece of work to its end, even while this task is being cancelled; then let the cancellation go on."""
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        task.exception()  # nobody is left to be told; what was not undone expires with its lease
        raise cancelled
    return task.result()
