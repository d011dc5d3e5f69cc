"""The structures that the demo drives, by the names under which `casty-es log` shows them."""

from __future__ import annotations

from typing import Any, Final

from casty_es.addresses import LOOPBACK
from casty_es.config import Settings
from casty_es.handles.distributed import Distributed
from casty_es.handles.lock import Lock
from casty_es.handles.semaphore import Semaphore
from casty_es.journal.port import EntityName
from casty_es.names import encode_key

__all__ = ["HERE", "JOURNAL_FILE", "PERMITS", "SETTINGS", "Structures"]

JOURNAL_FILE: Final = "casty.db"
PERMITS: Final = 3

# All of the demo's nodes are on this host, whatever the environment says of others.
HERE: Final[dict[str, Any]] = {"host": LOOPBACK, "port": 0, "advertise": LOOPBACK}
# Short, so that the lock of a killed process comes free, and the nodes see each other, while somebody watches.
SETTINGS: Final = Settings(lease_seconds=4.5, session_seconds=3.0, membership_seconds=0.25)

# On a busy machine an operation may wait long; one that ends in a timeout would end the demo.
_TIMEOUT: Final = 60.0


class Structures:
    """Handles of all of them.

    Parameters
    ----------
    prefix : str
        What their names begin with, where the journal is not the demo's own.
    """

    def __init__(self, d: Distributed, prefix: str) -> None:
        self._d = d
        self._prefix = prefix
        self.page_views = d.counter(f"{prefix}page-views", timeout=_TIMEOUT)
        self.users = d.map[str, dict[str, int]](f"{prefix}users", timeout=_TIMEOUT)
        self.tags = d.set[str](f"{prefix}tags", timeout=_TIMEOUT)
        self.jobs = d.queue[str](f"{prefix}jobs", timeout=_TIMEOUT)
        self.accounts = d.map[str, int](f"{prefix}accounts", timeout=_TIMEOUT)
        self.uploads = d.counter(f"{prefix}uploads", timeout=_TIMEOUT)

    def account_lock(self) -> Lock:
        """Return a lock object of its own: it guards a balance, which is read, changed and written back."""
        return self._d.lock(f"{self._prefix}accounts", timeout=_TIMEOUT)

    def upload_permits(self) -> Semaphore:
        """Return a semaphore object of its own: an upload is counted while its permit is held."""
        return self._d.semaphore(f"{self._prefix}uploads", permits=PERMITS, timeout=_TIMEOUT)

    def entities(self) -> list[EntityName]:
        """Return every entity but the users, of whom there are many."""
        names = [("counter", "page-views"), ("counter", "uploads"), ("set", "tags"), ("queue", "jobs")]
        names += [("lock", "accounts"), ("semaphore", "uploads")]
        whole = [EntityName(kind, f"{self._prefix}{name}", "") for kind, name in names]
        return [*whole, EntityName("map", f"{self._prefix}accounts", encode_key("balance"))]

    def user(self, key: str) -> EntityName:
        """Return the entity of a key of the map of users."""
        return EntityName("map", f"{self._prefix}users", encode_key(key))

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
