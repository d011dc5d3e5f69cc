"""The structures that the demo drives, by the names under which `casty-es log` shows them."""

from __future__ import annotations

from typing import Any, Final

from casty_es.config import Settings
from casty_es.handles.distributed import Distributed
from casty_es.handles.lock import Lock
from casty_es.handles.semaphore import Semaphore

__all__ = ["JOURNAL_FILE", "PERMITS", "SETTINGS", "Structures"]

JOURNAL_FILE: Final = "casty.db"
PERMITS: Final = 3

# Short, so that the lock of the killed process comes free while somebody watches; the default is 30 s.
SETTINGS: Final = Settings(lease_seconds=3.0)

# On a busy machine an operation may wait long; one that ends in a timeout would end the demo.
_TIMEOUT: Final = 60.0


class Structures:
    """Handles of all of them."""

    def __init__(self, d: Distributed) -> None:
        self._d = d
        self.page_views = d.counter("page-views", timeout=_TIMEOUT)
        self.users = d.map[str, dict[str, int]]("users", timeout=_TIMEOUT)
        self.tags = d.set[str]("tags", timeout=_TIMEOUT)
        self.jobs = d.queue[str]("jobs", timeout=_TIMEOUT)
        self.accounts = d.map[str, int]("accounts", timeout=_TIMEOUT)
        self.uploads = d.counter("uploads", timeout=_TIMEOUT)

    def account_lock(self) -> Lock:
        """Give a lock object of its own: it guards a balance, which is read, changed and written back."""
        return self._d.lock("accounts", timeout=_TIMEOUT)

    def upload_permits(self) -> Semaphore:
        """Give a semaphore object of its own: an upload is counted while its permit is held."""
        return self._d.semaphore("uploads", permits=PERMITS, timeout=_TIMEOUT)

    async def perform(self, kind: str, label: str, held: Lock | Semaphore | None) -> Any:
        """Do one operation and give its answer, as the ledger keeps it.

        Parameters
        ----------
        label : str
            The caller and the number of the operation, which no other operation has.
        held : Lock | Semaphore | None
            The caller's own lock or permits.
        """
        match kind:
            case "increment":
                return await self.page_views.increment()
            case "put":
                return await self.users.put(f"user-{label}", {"visits": 1})
            case "add":
                return await self.tags.add(f"tag-{label}")
            case "enqueue":
                return await self.jobs.enqueue(f"job-{label}")
            case "dequeue":
                return await self.jobs.dequeue()
            case _:
                return await self._perform_held(kind, held)

    async def _perform_held(self, kind: str, held: Lock | Semaphore | None) -> tuple[int | None, int]:
        assert held is not None  # noqa: S101 - those who lock come with a lock
        async with held:
            token = held.token
            if kind == "permitted":
                value = await self.uploads.increment()
            else:
                # Two who did this at once would write the same balance.
                value = (await self.accounts.get("balance") or 0) + 1
                await self.accounts.put("balance", value)
            if held.lost.is_set():
                raise TimeoutError(f"The machine stood still for over {SETTINGS.lease_seconds:g} s: a lease was lost.")
        return token, value
