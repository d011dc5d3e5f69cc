"""What a handle talks to, and the values that go in and out of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Generic, Protocol, TypeVar, runtime_checkable
from uuid import UUID

import msgspec

from casty_es.domain.catalog import CATALOG
from casty_es.domain.decider import Command, Query, R_co
from casty_es.errors import ConfigurationError, Sent
from casty_es.journal.port import EntityName
from casty_es.replay import HistoryPage, Positions, Then

__all__ = [
    "CARRIED",
    "CommandContext",
    "EntityGateway",
    "HistoryReader",
    "PastReader",
    "RegionRef",
    "ShardEnvelope",
    "StructureFactory",
    "Undo",
    "region_ref",
]


R = TypeVar("R")


class StructureFactory(msgspec.Struct, frozen=True):
    """A catalog entry by its name, with the options that go with it. Only these values ever travel.

    Parameters
    ----------
    kind : str
        The structure, as the catalog calls it: ``counter``, ``map``, …
    options : tuple[tuple[str, int], ...]
        What a caller asks of it, such as ``(("permits", 3),)``.
    """

    kind: str
    options: tuple[tuple[str, int], ...] = ()


class RegionRef(msgspec.Struct, frozen=True):
    """Where a structure is: its kind and name, and how many shards its entities are spread over."""

    kind: str
    name: str
    shards: int
    options: tuple[tuple[str, int], ...] = ()


class CommandContext(msgspec.Struct, gc=False):
    """What a command may need to know of its own journey, and its caller of the reply.

    Attributes
    ----------
    command_id : bytes
        The UUIDv7 under which the command's events are recorded.
    deadline : float
        When its caller stops waiting, in seconds of the event loop's clock.
    incarnation : int
        The journal's incarnation under which the reply to a request was given, as soon as it is there: how often a loss
        of records had been accepted, plus one. What this process has heard of it may be newer, or older.
    sent : Sent | None
        Where it went, as soon as it has ended without a reply; ``None`` if it was never sent.
    """

    command_id: bytes
    deadline: float
    incarnation: int = 1
    sent: Sent | None = None

    @property
    def request(self) -> str:
        """The name of a request that may stand in line: the command id as text."""
        return str(UUID(bytes=self.command_id))


class Undo(msgspec.Struct, frozen=True):
    """What becomes of a command whose caller is cancelled before the reply reached it.

    Attributes
    ----------
    command : Callable[[Any], Command | None]
        Return the command that takes it back, ``None`` when nothing has to be; given the reply, or ``None`` instead.
    needs_reply : bool
        Whether the command is carried to its end first, to know what has to be taken back.
    even_unsent : bool
        Whether there is something to take back even if the command itself never left: it was to take back another one.
    late : bool
        Whether a caller whose time is up while the command is in doubt waits some seconds more for its reply, because
        without it something would be lost.
    persists : bool
        Whether it is sent again after a refusal that passes, such as of an owner with too much to do, until its time is
        up: undone, something would stay held or in line by nobody.
    """

    command: Callable[[Any], Command | None]
    needs_reply: bool = False
    even_unsent: bool = False
    late: bool = False
    persists: bool = False


CARRIED: Final = Undo(lambda _: None, needs_reply=True, even_unsent=True, persists=True)
"""The command is carried to its end, whether or not its caller waits for it, and stands."""


class ShardEnvelope(msgspec.Struct, Generic[R_co], frozen=True, gc=False):
    """A command and the entity it is for: a structure's name, or the encoded key of a map.

    Attributes
    ----------
    local : bool
        Answer a query without proof that the owner is still the owner.
    idempotency_key : str | None
        The caller's own name for the operation: under the same one it happens once, for as long as the journal is kept.
    undo : Undo | None
        What becomes of it when its caller is cancelled; without one, whatever has become of it by then stands.
    behind : Sent | None
        Where the request went that it withdraws, when the state alone may not know what became of that.
    """

    entity_id: str
    command: Command[R_co]
    local: bool = False
    idempotency_key: str | None = None
    undo: Undo | None = None
    behind: Sent | None = None


@runtime_checkable
class EntityGateway(Protocol):
    """Protocol for backends that provide access to sharded entities.

    Both ``ClusteredActorSystem`` and ``ClusterClient`` satisfy this protocol structurally, allowing ``Distributed`` to
    work with either.
    """

    def region_ref(self, key: str, factory: StructureFactory, *, num_shards: int) -> RegionRef:
        """Return a ref that routes ``ShardEnvelope`` to the named region."""
        ...

    async def entity_ask(
        self,
        ref: RegionRef,
        msg_factory: Callable[[CommandContext], ShardEnvelope[R]],
        *,
        timeout: float,  # noqa: ASYNC109 - the seed's name
    ) -> R:
        """Send a message and wait for a reply."""
        ...


@runtime_checkable
class HistoryReader(Protocol):
    """What a gateway has besides when it can read what happened."""

    async def read_history(self, name: EntityName, *, after: int, after_time: int | None, limit: int) -> HistoryPage:
        """Return an entity's next events behind a sequence, or behind the last one of a time in microseconds."""
        ...


@runtime_checkable
class PastReader(Protocol):
    """What a gateway has besides when it can read what was."""

    async def read_past(self, name: EntityName, query: Query, then: Then) -> Any:
        """Answer a query from an entity's state as of then."""
        ...

    async def read_positions(self) -> Positions:
        """Return how far every slot is committed."""
        ...


def region_ref(key: str, factory: StructureFactory, *, num_shards: int) -> RegionRef:
    """Return the ref of a structure of this code's catalog.

    Raises
    ------
    ConfigurationError
        The catalog has no such kind.
    """
    if factory.kind not in CATALOG:
        raise ConfigurationError(f"There is no structure of kind {factory.kind!r}; there are {', '.join(CATALOG)}.")
    return RegionRef(factory.kind, key, num_shards, factory.options)
