"""The handle of a queue."""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar, Final, TypeVar, overload
from uuid import UUID

from msgspec import Raw

from casty_es.domain.queue import Dequeue, Enqueue, GiveBack, Peek, Size
from casty_es.errors import CastyError, StoredValueError
from casty_es.gateway import CARRIED, CommandContext, ShardEnvelope, Undo
from casty_es.gateway.asking import UNDO_SECONDS
from casty_es.handles.handle import Accessor, Opener, ValuesHandle, decode_stored
from casty_es.names import check_idempotency_key

V = TypeVar("V")

_DEQUEUE: Final = Dequeue()


class Queue(ValuesHandle[V]):
    """Client for a distributed FIFO queue.

    Parameters
    ----------
    gateway, region_ref, name, timeout
        As for every structure: :class:`~casty_es.Counter`.
    value_type : type
        What the items are; ``Any`` takes every JSON value.

    Examples
    --------
    >>> jobs = d.queue[str]("jobs")
    >>> await jobs.enqueue("task-1")
    >>> await jobs.dequeue()
    'task-1'
    """

    async def enqueue(self, value: V, *, idempotency_key: str | None = None) -> None:
        """Append a value to the back of the queue.

        Parameters
        ----------
        idempotency_key : str | None
            Your own name for this operation, as :class:`~casty_es.Distributed` explains.

        Raises
        ------
        InvalidValueError
            The value cannot be stored, or would not come back equal.

        Examples
        --------
        >>> await d.queue[str]("mails").enqueue("welcome alice")
        """
        await self._ask(Enqueue(self._encoded(value)), idempotency_key)

    async def dequeue(self, *, idempotency_key: str | None = None) -> V | None:
        """Remove and return the front value, or ``None`` if empty.

        A caller that is cancelled before it has the item, by a timeout around it for instance, loses nothing: the item
        goes back to the front, as an event that says so. One whose own time is up while the item is being taken gets it
        some seconds late.

        Parameters
        ----------
        idempotency_key : str | None
            Your own name for this operation, as :class:`~casty_es.Distributed` explains.

        Returns
        -------
        V | None
            The item, which is nobody else's now. ``None`` may also be an item, if items may be ``None``.

        Raises
        ------
        StoredValueError
            The item cannot be read as ``value_type``. It went back to the front, or the text says what is known of it
            and ``raw`` is the item; under a key it stays recorded there.
        OutcomeUnknownError
            Nobody could say in time whether an item was taken; if so, it is recorded under the error's ``command_id``.

        Examples
        --------
        >>> await d.queue[str]("never-used").dequeue() is None
        True
        """
        key = check_idempotency_key(idempotency_key)
        taken = b""

        def envelope(context: CommandContext) -> ShardEnvelope[Raw | None]:
            nonlocal taken
            taken = context.command_id
            # Under a key whoever asks again gets the item; without one it would be nobody's.
            undo = None if key is not None else Undo(partial(_give_back, taken), needs_reply=True, late=True)
            return ShardEnvelope(self._name, _DEQUEUE, idempotency_key=key, undo=undo)

        raw = await self._gateway.entity_ask(self._region_ref, envelope, timeout=self._timeout)
        if raw is None:
            return None
        command_id, happened = UUID(bytes=taken), "It stays recorded under the idempotency key."
        if key is None:
            try:
                return self._decoded(raw, "", command_id)
            except StoredValueError:
                happened = await self._put_back(raw, command_id)
        return self._decoded(raw, happened, command_id)

    async def _put_back(self, raw: Raw, taken: UUID) -> str:
        """Put an item back in front that its taker cannot read; return what became of it, as a sentence."""
        envelope = ShardEnvelope(self._name, GiveBack(raw, str(taken)), undo=CARRIED)
        try:
            await self._gateway.entity_ask(self._region_ref, lambda _: envelope, timeout=UNDO_SECONDS)
        except CastyError as error:
            return f"It was taken from the queue, and is not known to be back, because putting it back failed: {error}"
        return "The item went back to the front of the queue."

    async def peek(self) -> V | None:
        """Return the front value without removing, or ``None`` if empty.

        Returns
        -------
        V | None
            The item that ``dequeue`` would give now.

        Examples
        --------
        >>> await d.queue[str]("never-used").peek() is None
        True
        """
        raw = await self._ask(Peek())
        return None if raw is None else self._decoded(raw, "The item stays where it is.")

    async def size(self) -> int:
        """Return the number of items in the queue.

        Returns
        -------
        int
            0 for a queue that nobody has changed.

        Examples
        --------
        >>> await d.queue[str]("never-used").size()
        0
        """
        return await self._ask(Size())

    def _decoded(self, raw: Raw, happened: str, command_id: UUID | None = None) -> V:
        value: V = decode_stored(self._codec, raw, f"The front of the queue {self._name!r}", happened, command_id)
        return value


def _give_back(taken: bytes, item: Raw | None) -> GiveBack | None:
    return None if item is None else GiveBack(item, str(UUID(bytes=taken)))


class QueueAccessor(Accessor):
    """Makes queues: ``d.queue[V]("name")``."""

    _example: ClassVar[str] = 'd.queue[str]("jobs")'

    @overload
    def __getitem__(self, param: type[V]) -> Opener[Queue[V]]: ...
    @overload
    def __getitem__(self, param: object) -> Opener[Queue[Any]]: ...
    def __getitem__(self, param: Any) -> Opener[Queue[Any]]:
        """Return what opens queues with items of this type."""
        return Opener(Queue, self._gateway, "queue", value_type=param)
