"""The handle of a structure of one's own."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Generic, TypeVar, get_args

from casty_es.domain.catalog import CATALOG
from casty_es.domain.decider import Command, Destroy, Kind, Query
from casty_es.errors import ConfigurationError, InvalidTypeError
from casty_es.gateway import EntityGateway, RegionRef
from casty_es.handles.handle import EntityHandle, codec_for, decode_stored, settings_of
from casty_es.structures import GetState, check_command

R = TypeVar("R")
S = TypeVar("S")


class Structure(EntityHandle, Generic[S]):
    """Client for a structure that a program wrote itself and registered (``casty_es.structures``).

    Parameters
    ----------
    kind : Kind
        What it is.
    gateway : EntityGateway
        What carries commands to the structure's owner.
    region_ref : RegionRef
        Where the structure is.
    name : str
        The structure's name.
    timeout : float
        Default timeout for each operation, in seconds.

    Examples
    --------
    >>> from bank_account import ACCOUNT, Deposit
    >>> account = d.structure(ACCOUNT, "bob")
    >>> await account.ask(Deposit(50))
    50
    """

    def __init__(
        self,
        *,
        kind: Kind[Any, Any, S],
        gateway: EntityGateway,
        region_ref: RegionRef,
        name: str,
        timeout: float = 5.0,
    ) -> None:
        super().__init__(gateway=gateway, region_ref=region_ref, name=name, timeout=timeout)
        self._kind = kind
        self._max_bytes = settings_of(gateway).max_value_bytes

    async def ask(self, command: Command[R], *, idempotency_key: str | None = None) -> R:
        """Send a command, or a query, and return what its caller is told.

        Parameters
        ----------
        command : Command[R]
            One of the structure's.
        idempotency_key : str | None
            Your own name for this operation, as :class:`~casty_es.Distributed` explains. A command with what differs
            between two attempts, such as a time, leaves that out in its ``essence``.

        Returns
        -------
        R
            The reply, as the command's class says: a ``Command[int]`` is told an ``int``.

        Raises
        ------
        RefusedError
            The structure refused it. Nothing was done.
        InvalidTypeError, InvalidValueError
            It is no command of this structure, or would not arrive as it is. Nothing was sent.
        StoredValueError
            It was done, and the reply is not of the type that the command's class says.
        NotDoneError, OutcomeUnknownError
            The timeout passed: it did not happen, or may have happened.
        IdempotencyConflictError
            The key was used on this structure before, for another operation. Nothing was done.

        Examples
        --------
        >>> from bank_account import ACCOUNT, Deposit
        >>> await d.structure(ACCOUNT, "carol").ask(Deposit(20), idempotency_key="salary-may")
        20
        """
        if type(command) not in self._kind.commands:
            raise InvalidTypeError(
                f"{type(command).__name__} is no command of a {self._kind.name}. Nothing was sent. It has "
                f"{', '.join(cls.__name__ for cls in self._kind.commands)}."
            )
        check_command(command, self._max_bytes)
        raw: Any = await self._ask(command, idempotency_key)
        what = f"{self._kind.name} {self._name!r}, the reply to {type(command).__name__}"
        happened = "" if isinstance(command, Query) else "The command was carried out."
        reply: R = decode_stored(codec_for(_told(type(command)), self._gateway), raw, what, happened)
        return reply

    async def state(self) -> S:
        """Return the structure's state as a whole.

        Returns
        -------
        S
            What ``evolve`` makes of all its events.

        Examples
        --------
        >>> from bank_account import ACCOUNT
        >>> (await d.structure(ACCOUNT, "nobody").state()).balance
        0
        """
        codec = codec_for(self._kind.snapshot, self._gateway)
        state: S = decode_stored(codec, await self._ask(GetState()), f"{self._kind.name} {self._name!r}", "")
        return state

    async def destroy(self, *, idempotency_key: str | None = None) -> bool:
        """Destroy the structure, if ``casty_es.structures.Destroy`` is among its commands; see :meth:`ask`.

        Returns
        -------
        bool
            ``True`` if destroyed, ``False`` if there was nothing to destroy.
        """
        return await self.ask(Destroy(), idempotency_key=idempotency_key)


def check_registered(kind: object) -> None:
    """Refuse what is no kind, or none that this process knows."""
    if not isinstance(kind, Kind):
        raise InvalidTypeError(f"d.structure takes a kind and a name, not {type(kind).__name__}. Nothing was made.")
    if CATALOG.get(kind.name) is not kind or not kind.foreign:
        raise ConfigurationError(
            f"The kind {kind.name!r} is not registered here, or has a handle of its own. Nothing was made. Register it "
            f"first: casty_es.register(…)."
        )


@lru_cache(maxsize=1_024)
def _told(command: type[Command[Any]]) -> Any:
    """Return what a command's class says that its caller is told; any JSON for one that does not say."""
    for cls in command.__mro__:
        for base in getattr(cls, "__orig_bases__", ()) if "__orig_bases__" in vars(cls) else ():
            origin = getattr(base, "__origin__", None)
            if isinstance(origin, type) and issubclass(origin, Command) and not isinstance(get_args(base)[0], TypeVar):
                return get_args(base)[0]
    return Any
