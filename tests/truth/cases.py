"""One interrupted operation: what was asked, under which command ids, and what its caller was told."""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from uuid import UUID

from casty_es import CastyError, OutcomeUnknownError, errors
from casty_es.domain.queue import Dequeue
from casty_es.runtime import SystemRuntime

if TYPE_CHECKING:
    from casty_es import Distributed

    from .operations import Row

__all__ = ["Case", "RecordingRuntime", "Told", "Wrap"]

Wrap: TypeAlias = "Callable[[Awaitable[Any]], Awaitable[Any]]"

_IDS: Final[ContextVar[list[bytes] | None]] = ContextVar("truth_ids", default=None)

# A class of its own for what a reader's type cannot decode; what it says depends on the operation.
_STORED_VALUE: Final = getattr(errors, "StoredValueError", ())


class Told(enum.Enum):
    """What a caller knows afterwards."""

    DONE = "done"
    NOT_DONE = "not done"
    UNKNOWN = "unknown"
    NOTHING = "nothing"  # it was cancelled, or it was killed
    AMISS = "an error of nobody's"  # one that no caller should ever see
    NEVER = "never anything"  # it still waits, long after its time


class RecordingRuntime(SystemRuntime):
    """The real world, and a note of every command id that an operation is given."""

    def new_id(self) -> bytes:
        """Return a fresh id, and note whose it is."""
        fresh = super().new_id()
        ids = _IDS.get()
        if ids is not None:
            ids.append(fresh)
        return fresh


class Case:
    """One operation that is interrupted.

    Attributes
    ----------
    ids : list[bytes]
        The ids that its commands were given: its own first, then those of what follows in its wake.
    misread : bool
        Whether the caller declares a type that what is stored does not have.
    lasting : bool
        Whether its caller is still there to give back what it got.
    """

    def __init__(self, row: Row, name: str, number: int, *, seconds: float, key: str | None = None) -> None:
        self.row = row
        self.name = name
        self.number = number
        self.seconds = seconds
        self.key = key
        self.misread = False
        self.item = f"item-{number}"
        self.ids: list[bytes] = []
        self.told = Told.NOTHING
        self.result: Any = None
        self.error: BaseException | None = None
        self.handle: Any = None
        self.lasting = True

    async def run(self, d: Distributed, wrap: Wrap | None = None) -> None:
        """Call it, and note what came of it; a cancellation ends here."""
        _IDS.set(self.ids)
        try:
            call = self.row.call(d, self)
            self.result = await (call if wrap is None else wrap(call))
            self.told = Told.DONE
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is what the caller was told
            self.error = error
            self.told = self._means(error)

    def _means(self, error: BaseException) -> Told:
        match error:
            case OutcomeUnknownError():
                return Told.UNKNOWN
            case CastyError() if isinstance(error, _STORED_VALUE) and self.row.command is not Dequeue:
                return Told.DONE  # it happened, and what it would have told cannot be read
            case CastyError():
                return Told.NOT_DONE
            case asyncio.CancelledError() | TimeoutError():
                return Told.NOTHING
            case _:
                return Told.AMISS

    @property
    def request(self) -> str | None:
        """The name of its request in the state of its structure, if it has one."""
        return str(UUID(bytes=self.ids[0])) if self.row.stands and self.ids else None

    def tell(self) -> dict[str, Any]:
        """Return what came of it, for another process."""
        error = None if self.error is None else [type(self.error).__name__, str(self.error)]
        return {"number": self.number, "told": self.told.value, "result": self.result, "error": error}

    def hear(self, said: dict[str, Any]) -> None:
        """Take in what another process told: an id that was given, or what came of it."""
        if "id" in said:
            self.ids.append(bytes.fromhex(said["id"]))
            return
        self.told, self.result = Told(said["told"]), said["result"]
        if said["error"] is not None:
            class_, words = said["error"]
            self.error = getattr(errors, class_, RuntimeError)(words)

    def __str__(self) -> str:
        said = "" if self.error is None else f": {type(self.error).__name__}: {self.error}"
        key = "" if self.key is None else f" under {self.key!r}"
        return f"{self.row.title} on {self.name!r}{key}, told {self.told.value}{said}"
