"""What every structure is made of.

The rules, which hold for each file beside this one:

1. ``decide(state, command)`` gives the events that the command causes, or none. It raises a ``CastyError`` to refuse.
   A refused command appends nothing and changes nothing.
2. ``evolve(state, event)`` gives the next state. It never refuses and never looks at anything but its arguments.
3. ``reply(command, events)`` is what the caller of a command with events is told. It needs the command's own events
   only, so a repeated command is answered from the journal, however much came after it.
4. ``answer(state, command)`` is what the caller of a command without events is told: a query, or a command that had
   nothing to do.
5. Time and ids arrive inside the command. State holds nothing live: a waiter is an id.
6. A command that its caller named by an idempotency key and that had nothing to do leaves a ``Concluded`` event, which
   changes nothing but the number of events: under the same key its caller is told the same again.

The shape is the "decider" of Jérémie Chassaing, https://thinkbeforecoding.com/post/2021/12/17/functional-event-sourcing-decider.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, ClassVar, Final, Generic, TypeAlias, TypeVar

import msgspec

from casty_es.bounds import Digest, Name, RequestId, Unsaid

__all__ = [
    "WAITING",
    "Claim",
    "Command",
    "Concluded",
    "Effects",
    "Event",
    "Harmless",
    "Internal",
    "Kind",
    "Lift",
    "Query",
    "Request",
    "TakenValue",
    "Upkeep",
    "Value",
    "Waiting",
    "Warranted",
]

Value: TypeAlias = msgspec.Raw
"""A user's value as canonical JSON bytes. The domain compares values and moves them; it never looks inside."""

TakenValue: TypeAlias = Annotated[Value, msgspec.Meta(description="a value that stood in the journal before")]
"""A value that goes back to where it was taken from; it may have been written by an older version."""


class Command(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """What a caller asks for.

    Attributes
    ----------
    relieves : bool
        Whether it ends or keeps what was taken before. An owner with too much to do still has room for these: refused,
        they would leave something held or in line by nobody.
    """

    relieves: ClassVar[bool] = False

    def essence(self) -> Command:
        """Return the command without what differs between two attempts at one thing: who asks, under which name."""
        return self

    def made_by(self, process: str) -> Command:  # noqa: ARG002 - only a request belongs to who made it
        """Return the command as one of this process. Whatever its sender wrote there himself is not kept."""
        return self


class Query(Command, frozen=True, gc=False):
    """A command that never causes an event, so that anybody who can read the journal can answer it."""


class Request(Command, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """A command that may have to wait in line. It belongs to a process (``requests.py``)."""

    process: Unsaid = ""

    def made_by(self, process: str) -> Command:
        return msgspec.structs.replace(self, process=process)


class Claim(Request, frozen=True, gc=False):
    """A command that asks for something to hold. What its caller was told is true only for as long as it is held."""

    owner: Name
    request: RequestId

    def essence(self) -> Command:
        return msgspec.structs.replace(self, owner="", request="", process="")


class Harmless(Command, frozen=True, gc=False):
    """A command that may be decided twice: the second time it finds done what the first one did, and does no more."""

    relieves: ClassVar[bool] = True


class Internal(Command, frozen=True, gc=False):
    """A command that only an owner gives itself. It is never taken from anybody else."""


class Warranted(Command, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """A command that only maintenance may give. From another process it is taken with a warrant only.

    Attributes
    ----------
    warrant : str | None
        What nobody can make who cannot read the journal (``commands.warrant``). Within the owner's own process there
        need not be one.
    """

    warrant: Digest | None = None

    def essence(self) -> Command:
        return msgspec.structs.replace(self, warrant=None)


class Event(msgspec.Struct, frozen=True, gc=False):
    """What happened."""


class Upkeep(Event, frozen=True, gc=False):
    """What happened to an entity's log and not to its state: every structure counts it, and does nothing else."""


class Concluded(Upkeep, frozen=True, gc=False):
    """A command with an idempotency key had nothing to do, and its caller was told so.

    Attributes
    ----------
    tag : str
        What kind of reply it is (``codec.encode_reply``).
    reply : Value
        The reply as JSON.
    """

    tag: str
    reply: Value


class Waiting(enum.Enum):
    """The one reply that is not the last word: the caller stands in line and is told later."""

    WAITING = "waiting"


WAITING: Final = Waiting.WAITING


class Effects(msgspec.Struct, frozen=True):
    """What an event means for those who hold or wait for something.

    Attributes
    ----------
    began, ended : tuple[str, ...]
        Requests whose lease starts, and whose lease is over.
    settled : tuple[tuple[str, object], ...]
        Requests that stood in line and now get this reply; an exception is raised to them.
    """

    began: tuple[str, ...] = ()
    ended: tuple[str, ...] = ()
    settled: tuple[tuple[str, object], ...] = ()


Lift: TypeAlias = Callable[[dict[str, Any]], dict[str, Any]]
"""Makes the fields of a stored event or state into those of the next version of its shape (``upcasting.py``)."""

C = TypeVar("C", bound=Command)
E = TypeVar("E", bound=Event)
S = TypeVar("S")


class Kind(msgspec.Struct, Generic[C, E, S], frozen=True):
    """A catalog entry: one structure's functions and the stable names of its events.

    ``commands`` are all commands of the structure: what is not among them cannot be asked for from another process.
    ``to_snapshot`` and ``from_snapshot`` turn a state into a plain struct of type ``snapshot`` and back, for structures
    whose state is made of persistent maps. ``claims``, ``standings``, ``effects`` and ``expire`` are there for
    structures on which one can hold something or wait: they name the requests that need a lease, what is known of them
    (``requests.py``), and the command that ends some, because their process died or else because their leases ran out.
    ``fate`` tells what an event means for a command that stood in line when it happened: the command's reply, an
    exception, or ``None`` when it is none of its business.

    ``upcasters`` (by event name) and ``state_lifts`` have, for every change of a shape, the function that lifts what
    was stored before it; ``None`` stands for a state that is not lifted but folded anew from its events.
    """

    name: str
    initial: S
    decide: Callable[[S, C], tuple[E, ...]]
    evolve: Callable[[S, E | Upkeep], S]
    reply: Callable[[C, tuple[E, ...]], Any]
    answer: Callable[[S, C], Any]
    exists: Callable[[S], bool]
    commands: tuple[type[C], ...]
    events: dict[str, type[E]]
    snapshot: Any
    to_snapshot: Callable[[S], Any]
    from_snapshot: Callable[[Any], S]
    upcasters: dict[str, tuple[Lift, ...]] = {}
    state_lifts: tuple[Lift | None, ...] = ()
    claims: Callable[[S], Iterable[str]] | None = None
    effects: Callable[[S, E | Upkeep], Effects] | None = None
    standings: Callable[[S], Mapping[str, Any]] | None = None
    expire: Callable[[tuple[str, ...], bool], C] | None = None
    renewed: Callable[[C], tuple[str, ...]] | None = None
    fate: Callable[[C, E | Upkeep], object] | None = None

    @property
    def state_version(self) -> int:
        """The version of the states that this code writes: 1, and one more for every change of their shape."""
        return 1 + len(self.state_lifts)
