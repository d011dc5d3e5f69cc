"""What all handles share: where the structure is, how long to wait, and the way to ask."""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator, Coroutine
from datetime import datetime
from typing import Any, ClassVar, Generic, NoReturn, Self, TypeVar
from uuid import UUID

from msgspec import Raw

from casty_es.config import Settings
from casty_es.domain.decider import Command, Destroy
from casty_es.errors import InvalidTypeError, InvalidValueError, StoredValueError
from casty_es.format.values import ValueCodec, value_codec
from casty_es.gateway import EntityGateway, RegionRef, ShardEnvelope, StructureFactory, Undo
from casty_es.gateway.time_travel import history_of, past_sequence
from casty_es.journal.port import EntityName
from casty_es.names import check_at_least_one, check_idempotency_key, check_name, check_timeout
from casty_es.replay import HistoryEvent

H = TypeVar("H", bound="Handle")
R = TypeVar("R")
V = TypeVar("V")


class Handle:
    """A structure as one caller sees it.

    Parameters
    ----------
    gateway : EntityGateway
        What carries commands to the structure's owner.
    region_ref : RegionRef
        Where the structure is.
    name : str
        The structure's name.
    timeout : float
        How long an operation may take, in seconds.
    """

    def __init__(self, *, gateway: EntityGateway, region_ref: RegionRef, name: str, timeout: float = 5.0) -> None:
        self._gateway = check_gateway(gateway)
        if not isinstance(region_ref, RegionRef):
            raise InvalidTypeError(
                f"region_ref must be what gateway.region_ref(…) gives, not {type(region_ref).__name__}. Nothing was "
                f"made."
            )
        self._region_ref = region_ref
        self._name = check_name(name)
        self._timeout = check_timeout(timeout)

    @property
    def name(self) -> str:
        """The structure's name."""
        return self._name

    def _over(self, gateway: EntityGateway) -> Self:
        """Return the same structure through another gateway."""
        other = copy.copy(self)
        other._gateway = gateway  # noqa: SLF001 - of the same class
        return other

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._name!r})"


class EntityHandle(Handle):
    """A structure that is one entity: all but maps, whose keys are entities."""

    def at(self, *, sequence: int) -> Self:
        """Return this structure as it was after one of its events, to be read and not to be changed.

        Parameters
        ----------
        sequence : int
            The event's sequence, as ``history`` gives it; 0 for before the first.

        Raises
        ------
        InvalidTypeError, InvalidArgumentError
            It is not a number of an event. That there is none of it yet is told when something is read.

        Examples
        --------
        >>> likes = d.counter("likes")
        >>> await likes.increment(), await likes.increment()
        (1, 2)
        >>> await likes.at(sequence=1).get()
        1
        """
        return self._over(past_sequence(self._gateway, self._entity(), sequence))

    def _entity(self) -> EntityName:
        return EntityName(self._region_ref.kind, self._region_ref.name, "")

    def history(
        self, *, after: int | datetime = 0, until: int | datetime | None = None, limit: int | None = None
    ) -> AsyncIterator[HistoryEvent]:
        """Stream what happened to this structure, event by event, as the journal has it.

        Parameters
        ----------
        after : int | datetime
            The sequence to begin behind, or a moment with a time zone. 0 begins at the first event that is kept.
        until : int | datetime | None
            The last sequence, or the last moment; without it, all until now.
        limit : int | None
            How many events at most.

        Returns
        -------
        AsyncIterator[HistoryEvent]
            In order. Events are read in pages, however many there are.

        Raises
        ------
        InvalidArgumentError
            A moment has no time zone, or a number is out of range.
        ArchivedError
            The events at ``after`` were cut by retention.

        Examples
        --------
        >>> stars = d.counter("stars")
        >>> await stars.increment(5)
        5
        >>> async for event in stars.history():
        ...     print(event.sequence, event.type, event.payload)
        1 counter.incremented {'amount': 5, 'value': 5}
        """
        return history_of(self._gateway, self._entity(), after=after, until=until, limit=limit)

    async def destroy(self, *, idempotency_key: str | None = None) -> bool:
        """Destroy this structure. Its events stay in the journal, and its next change begins it anew.

        Who waits for it gets a ``DestroyedError``, and what is held of it is held no more; fencing tokens go on
        growing. What was in it went with it, and a semaphore may be opened with other permits.

        Parameters
        ----------
        idempotency_key : str | None
            Your own name for this operation, as :class:`~casty_es.Distributed` explains.

        Returns
        -------
        bool
            ``True`` if destroyed, ``False`` if there was nothing to destroy.

        Examples
        --------
        >>> await d.counter("never-used").destroy()
        False
        """
        return await self._destroy(idempotency_key)

    def _destroy(self, idempotency_key: str | None) -> Coroutine[Any, Any, bool]:
        return self._ask(Destroy(), idempotency_key)

    # No coroutine of its own: one more of them would be felt in every operation.
    def _ask(
        self, command: Command[R], idempotency_key: str | None = None, *, undo: Undo | None = None
    ) -> Coroutine[Any, Any, R]:
        """Send a command that needs to know nothing of its own journey."""
        key = None if idempotency_key is None else check_idempotency_key(idempotency_key)
        envelope = ShardEnvelope(self._name, command, idempotency_key=key, undo=undo)
        return self._gateway.entity_ask(self._region_ref, lambda _: envelope, timeout=self._timeout)


class ValuesHandle(EntityHandle, Generic[V]):
    """A structure of values of a declared type.

    Parameters
    ----------
    value_type : type
        What the values are; ``Any`` takes every JSON value.
    """

    def __init__(
        self,
        *,
        gateway: EntityGateway,
        region_ref: RegionRef,
        name: str,
        timeout: float = 5.0,
        value_type: Any = Any,
    ) -> None:
        super().__init__(gateway=gateway, region_ref=region_ref, name=name, timeout=timeout)
        self._codec = codec_for(value_type, gateway)

    def _encoded(self, value: V) -> Raw:
        return Raw(self._codec.encode(value))


class Opener(Generic[H]):
    """Opens structures of declared types, by their names: what ``d.map[str, User]`` is."""

    def __init__(self, cls: type[H], gateway: EntityGateway, kind: str, **types: object) -> None:
        self._cls = cls
        self._gateway = gateway
        self._kind = kind
        self._types = types

    def __call__(self, name: str, *, shards: int = 100, timeout: float = 5.0) -> H:
        """Return the structure of this name.

        Parameters
        ----------
        name : str
            Its name, 1 to 512 bytes of UTF-8.
        shards : int
            Number of shards for the backing region.
        timeout : float
            Default timeout for its operations, in seconds.

        Raises
        ------
        InvalidArgumentError
            The name, ``shards`` or ``timeout`` cannot be used.
        """
        factory = StructureFactory(self._kind)
        return open_handle(self._cls, self._gateway, factory, name, shards=shards, timeout=timeout, **self._types)


class Accessor:
    """What has to be given its types in brackets before it opens a structure."""

    _example: ClassVar[str]

    def __init__(self, gateway: EntityGateway) -> None:
        self._gateway = gateway

    def __call__(self, *_: object, **__: object) -> NoReturn:
        """Refuse: the structure needs its types."""
        raise self._refusal()

    def _refusal(self) -> InvalidTypeError:
        accessor = self._example.partition("[")[0]
        return InvalidTypeError(f"{accessor} needs its types before the name: write {self._example}. Nothing was made.")


def check_gateway(gateway: EntityGateway) -> EntityGateway:
    """Return the gateway, if it can be one."""
    if isinstance(gateway, type) or not callable(getattr(gateway, "entity_ask", None)):  # quicker than the protocol
        raise InvalidTypeError(
            f"A gateway is a ClusteredActorSystem or a ClusterClient, not {type(gateway).__name__}. Nothing was made."
        )
    return gateway


def settings_of(gateway: EntityGateway) -> Settings:
    """Return the settings of a gateway, or the defaults for one that has none."""
    settings = getattr(gateway, "settings", None)
    return settings if isinstance(settings, Settings) else Settings()


def open_handle(
    cls: type[H],
    gateway: EntityGateway,
    factory: StructureFactory,
    name: str,
    *,
    shards: int,
    timeout: float,
    **more: Any,
) -> H:
    """Make the handle of a structure; ``more`` goes to its class."""
    ref = gateway.region_ref(check_name(name), factory, num_shards=check_at_least_one(shards, "shards"))
    return cls(gateway=gateway, region_ref=ref, name=name, timeout=timeout, **more)


def codec_for(declared: Any, gateway: EntityGateway) -> ValueCodec[Any]:
    """Return the codec of a declared type within the gateway's limits; any JSON value where none is declared."""
    codec: ValueCodec[Any] = value_codec(declared, settings_of(gateway).max_value_bytes)
    return codec


def decode_stored(codec: ValueCodec[V], raw: Raw, what: str, happened: str, command_id: UUID | None = None) -> V:
    """Return a stored value as its declared type.

    If it is none, the ``StoredValueError`` says where it stands (``what``), and what became of the operation and of
    the value (``happened``, a sentence).
    """
    try:
        return codec.decode(raw)
    except InvalidValueError as error:
        text = bytes(raw).decode()
        raise StoredValueError(f"{what}: {error} {happened}", raw=text, command_id=command_id) from error
