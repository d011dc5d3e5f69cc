"""What all handles share: where the structure is, how long to wait, and the way to ask."""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator, Coroutine
from datetime import datetime
from typing import Any, Self, TypeVar
from uuid import UUID

from msgspec import Raw

from casty_es.audit.history import HistoryEvent, history_of
from casty_es.audit.past import past_sequence
from casty_es.config import Settings
from casty_es.domain.decider import Command
from casty_es.errors import InvalidTypeError, InvalidValueError, StoredValueError
from casty_es.format.values import ValueCodec, value_codec
from casty_es.gateway import EntityGateway, RegionRef, ShardEnvelope, StructureFactory, Undo
from casty_es.journal.port import EntityName
from casty_es.names import check_at_least_one, check_idempotency_key, check_name, check_timeout

__all__ = [
    "EntityHandle",
    "Handle",
    "check_gateway",
    "codec_for",
    "decode_stored",
    "open_handle",
    "refuse_call",
    "settings_of",
]


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

    # No coroutine of its own: one more of them would be felt in every operation.
    def _ask(
        self, command: Command, idempotency_key: str | None = None, *, undo: Undo | None = None
    ) -> Coroutine[Any, Any, Any]:
        """Send a command that needs to know nothing of its own journey."""
        envelope = ShardEnvelope(self._name, command, idempotency_key=check_idempotency_key(idempotency_key), undo=undo)
        return self._gateway.entity_ask(self._region_ref, lambda _: envelope, timeout=self._timeout)


def check_gateway(gateway: EntityGateway) -> EntityGateway:
    """Return the gateway, if it can be one.

    Raises
    ------
    InvalidTypeError
        It is something else.
    """
    if isinstance(gateway, type) or not callable(getattr(gateway, "entity_ask", None)):  # quicker than the protocol
        raise InvalidTypeError(
            f"A gateway is a ClusteredActorSystem or a ClusterClient, not {type(gateway).__name__}. Nothing was made."
        )
    return gateway


def settings_of(gateway: EntityGateway) -> Settings:
    """Return the settings of a gateway, or the defaults for one that has none."""
    settings = getattr(gateway, "settings", None)
    return settings if isinstance(settings, Settings) else Settings()


H = TypeVar("H", bound=Handle)
V = TypeVar("V")


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

    Parameters
    ----------
    what : str
        Where the value stands: the structure, and what of it.
    happened : str
        What became of the operation and of the value, as a sentence for whoever cannot read it.

    Raises
    ------
    StoredValueError
        The value is not of the declared type.
    """
    try:
        return codec.decode(raw)
    except InvalidValueError as error:
        text = bytes(raw).decode()
        raise StoredValueError(f"{what}: {error} {happened}", raw=text, command_id=command_id) from error


def refuse_call(accessor: str, example: str) -> InvalidTypeError:
    """Return the error for a structure that was asked for without its types."""
    return InvalidTypeError(f"d.{accessor} needs its types before the name: write {example}. Nothing was made.")
