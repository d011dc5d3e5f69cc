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
import re
from collections.abc import Callable, Iterable, Mapping
from inspect import signature
from operator import attrgetter
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Generic, TypeAlias, TypeVar, get_args, get_type_hints

import msgspec

from casty_es.bounds import Digest, Name, RequestId, Unsaid
from casty_es.errors import ConfigurationError

Value: TypeAlias = msgspec.Raw
"""A user's value as canonical JSON bytes. The domain compares values and moves them; it never looks inside."""

TakenValue: TypeAlias = Annotated[Value, msgspec.Meta(description="a value that stood in the journal before")]
"""A value that goes back to where it was taken from; it may have been written by an older version."""


if TYPE_CHECKING:
    from typing_extensions import TypeVar as TypeVarWithDefault

    R_co = TypeVarWithDefault("R_co", covariant=True, default=object)
else:  # a default is for type checkers: a Command is one whose caller is told anything
    R_co = TypeVar("R_co", covariant=True)


class Command(msgspec.Struct, Generic[R_co], frozen=True, gc=False, forbid_unknown_fields=True):
    """What a caller asks for, and in brackets what it is told: who asks for a ``Command[int]`` gets an ``int``."""

    # Whether it ends or keeps what was taken before. An owner with too much to do still has room for these:
    # refused, they would leave something held or in line by nobody.
    relieves: ClassVar[bool] = False

    def essence(self) -> Command:
        """Return the command without what differs between two attempts at one thing: who asks, under which name."""
        return self

    def made_by(self, process: str) -> Command:  # noqa: ARG002 - only a request belongs to who made it
        """Return the command as one of this process. Whatever its sender wrote there himself is not kept."""
        return self


class Destroy(Command[bool], frozen=True, gc=False):
    """End the structure: it exists no more, and its log goes on."""


class Query(Command[R_co], frozen=True, gc=False):
    """A command that never causes an event, so that anybody who can read the journal can answer it."""


class Request(Command[R_co], frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """A command that may have to wait in line. It belongs to a process (``requests.py``)."""

    process: Unsaid = ""

    def made_by(self, process: str) -> Command:
        return msgspec.structs.replace(self, process=process)


class Claim(Request[int | None], frozen=True, gc=False):
    """A command that asks for something to hold, and is told its token: true only for as long as it is held."""

    owner: Name
    request: RequestId

    def essence(self) -> Command:
        return msgspec.structs.replace(self, owner="", request="", process="")


class Harmless(Command[R_co], frozen=True, gc=False):
    """A command that may be decided twice: the second time it finds done what the first one did, and does no more."""

    relieves: ClassVar[bool] = True


class Internal(Command[bool], frozen=True, gc=False):
    """A command that only an owner gives itself. It is never taken from anybody else."""


class Warranted(Command[R_co], frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """A command that only maintenance may give. From another process it is taken with a warrant only."""

    # What nobody can make who cannot read the journal (``commands.warrant``). Within the owner's own process there
    # need not be one.
    warrant: Digest | None = None

    def essence(self) -> Command:
        return msgspec.structs.replace(self, warrant=None)


class Event(msgspec.Struct, frozen=True, gc=False):
    """What happened."""

    # The name that it is stored under, where that is not made of its kind's and its class's names.
    stored_as: ClassVar[str | None] = None
    # Whether the entity exists once this happened, where that can be told without the state before; else ``None``.
    alive: ClassVar[bool | None] = None


class Upkeep(Event, frozen=True, gc=False):
    """What happened to an entity's log and not to its state: every structure counts it, and does nothing else.

    Such events are the same for every kind, which lists none of them.
    """


class Concluded(Upkeep, frozen=True, gc=False):
    """A command with an idempotency key had nothing to do, and its caller was told so."""

    stored_as: ClassVar[str] = "command.concluded"

    tag: str  # what kind of reply it is (``codec.encode_reply``)
    reply: Value  # the reply as JSON


class Waiting(enum.Enum):
    """The one reply that is not the last word: the caller stands in line and is told later."""

    WAITING = "waiting"


WAITING: Final = Waiting.WAITING


class Effects(msgspec.Struct, frozen=True):
    """What an event means for those who hold or wait for something."""

    began: tuple[str, ...] = ()  # requests whose lease starts, and whose lease is over
    ended: tuple[str, ...] = ()
    # Requests that stood in line and now get this reply; an exception is raised to them.
    settled: tuple[tuple[str, object], ...] = ()


class Story(msgspec.Struct, frozen=True, kw_only=True):
    """What the events of a structure tell of a request, from which forensics has who held and waited, and when."""

    # It was asked for, and stands in the state's ``line``; it was granted, with a ``token``, and is among the
    # state's ``holders``. Where nothing is granted one only waits.
    asked: type[Event]
    granted: type[Event] | None = None
    # The request that the event names is over, in the way that the event is called; every request is.
    ends: tuple[type[Event], ...]
    ends_all: tuple[type[Event], ...]
    who: str = "owner"  # the field of ``asked`` that says who asked
    round: str | None = None  # the field of ``asked`` and of the state that says which round it is
    told: dict[str, str] = {}  # what else is told of a moment: each name, and the field of the state

    def round_in(self, said: Any) -> int | None:
        """Return the round of an event or a state, ``None`` where there are none."""
        number: int | None = None if self.round is None else getattr(said, self.round)
        return number


Lift: TypeAlias = Callable[[dict[str, Any]], dict[str, Any]]
"""Makes the fields of a stored event or state into those of the next version of its shape (``upcasting.py``)."""

C = TypeVar("C", bound=Command)
E = TypeVar("E", bound=Event)
S = TypeVar("S")
M = TypeVar("M", bound=msgspec.Struct)


def _as_it_is(state: Any) -> Any:
    return state


class Kind(msgspec.Struct, Generic[C, E, S], frozen=True, kw_only=True):
    """A catalog entry: all that is known of one structure. What is generic asks here, and knows no structure by name.

    ``commands`` and ``events`` are the unions that ``decide`` and ``evolve`` take, read from their annotations: nobody
    lists them again. What is not among the commands cannot be asked for from another process; an event is stored under
    ``name`` and its class's name (``counter.incremented``), or under the name that its class says (``stored_as``).

    ``replies`` are what is replied besides plain values, by the letter that it travels under. A ``keyed`` structure is
    no entity: each of its keys is. ``usual_shards`` is the number that its handles have when their caller gives none.
    ``columns`` are what its view for auditors shows of the payloads of its events: each
    member's name and form (``journal/view_sql.py``).

    ``to_snapshot`` and ``from_snapshot`` turn a state into a plain struct of type ``snapshot`` and back, for structures
    whose state is made of persistent maps. ``claims``, ``standings``, ``effects`` and ``expire`` are there for
    structures on which one can hold something or wait: they name the requests that need a lease, what is known of them
    (``requests.py``), and the command that ends some, because their process died or else because their leases ran out.
    ``fate`` tells what an event means for a command that stood in line when it happened: the command's reply, an
    exception, or ``None`` when it is none of its business; ``story``, what events tell of requests.

    A ``foreign`` kind was made by a program (``structures.py``), in the module of that name: its commands are bounded
    as a whole, in bytes.

    ``upcasters`` (by event name) and ``state_lifts`` have, for every change of a shape, the function that lifts what
    was stored before it; ``None`` stands for a state that is not lifted but folded anew from its events.
    """

    name: str
    initial: S
    decide: Callable[[S, C], tuple[E, ...]]
    evolve: Callable[[S, E | Upkeep], S]
    reply: Callable[[C, tuple[E, ...]], Any]
    answer: Callable[[S, C], Any]
    exists: Callable[[S], bool] = attrgetter("exists")
    commands: tuple[type[C], ...] = ()
    events: dict[str, type[E]] = {}
    snapshot: Any = None
    to_snapshot: Callable[[S], Any] = _as_it_is
    from_snapshot: Callable[[Any], S] = _as_it_is
    replies: dict[str, type] = {}
    keyed: bool = False
    usual_shards: int = 100
    columns: tuple[tuple[str, str], ...] = ()
    upcasters: dict[str, tuple[Lift, ...]] = {}
    state_lifts: tuple[Lift | None, ...] = ()
    claims: Callable[[S], Iterable[str]] | None = None
    effects: Callable[[S, E | Upkeep], Effects] | None = None
    standings: Callable[[S], Mapping[str, Any]] | None = None
    expire: Callable[[tuple[str, ...], bool], C] | None = None
    renewed: Callable[[C], tuple[str, ...]] | None = None
    fate: Callable[[C, E | Upkeep], object] | None = None
    story: Story | None = None
    foreign: str = ""

    def __post_init__(self) -> None:
        settle = msgspec.structs.force_setattr
        if not self.commands:
            settle(self, "commands", taken_by(self.name, self.decide, "a union of commands", Command))
        if not self.events:
            events = taken_by(self.name, self.evolve, "a union of events", Event)
            settle(self, "events", self.named(self.name, events))
        if self.snapshot is None:
            settle(self, "snapshot", type(self.initial))

    @staticmethod
    def named(kind: str, events: Iterable[type[Event]]) -> dict[str, type[Any]]:
        """Return events by the names that they are stored under."""
        names: dict[str, type[Any]] = {}
        for event in events:
            name = event.stored_as or f"{kind}.{_INSIDE_A_NAME.sub('_', event.__name__).lower()}"
            if name in names:
                raise ConfigurationError(f"Two events of the kind {kind!r} are called {name!r}. Nothing was made.")
            names[name] = event
        return names

    @property
    def state_version(self) -> int:
        """The version of the states that this code writes: 1, and one more for every change of their shape."""
        return 1 + len(self.state_lifts)


_INSIDE_A_NAME: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def taken_by(kind: str, function: Callable[..., Any], what: str, base: type[M]) -> tuple[type[M], ...]:
    """Return the classes of the union that a function takes as its second argument, but for what every kind takes."""
    called = f"{getattr(function, '__name__', function)!s} of the kind {kind!r}"
    try:
        union = get_type_hints(function)[list(signature(function).parameters)[1]]
    except (NameError, TypeError, ValueError, LookupError) as error:
        raise ConfigurationError(
            f"{called} does not say what it takes ({error}). Nothing was registered. Annotate its second argument with "
            f"{what}, which like the function itself is defined in a module, and not inside of a function."
        ) from error
    classes = get_args(union) or (union,)
    wrong = [cls for cls in classes if not (isinstance(cls, type) and issubclass(cls, base))]
    if wrong:
        raise ConfigurationError(
            f"{called} takes {', '.join(map(str, wrong))}, which is no class derived from {base.__name__}. Nothing was "
            f"registered. Annotate its second argument with {what}."
        )
    return tuple(cls for cls in classes if cls is not Upkeep)
