"""Many keys of a map in one call: each is an entity of its own and is asked for like any other, some at a time."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from typing import Any, Final, Generic, TypeVar

from msgspec import Raw

from casty_es.domain.decider import Command
from casty_es.domain.map_entry import Delete, Get, Put
from casty_es.errors import BatchError, CastyError, InvalidArgumentError, InvalidTypeError, NotDoneError
from casty_es.handles.handle import Handle
from casty_es.names import check_flag

K = TypeVar("K")
R = TypeVar("R")
T = TypeVar("T")
V = TypeVar("V")

MOST_KEYS: Final = 10_000
"""How many keys a call may have."""

_AT_ONCE: Final = 100  # as many as fill a batch; each has the handle's timeout from when it is sent
_IN_A_ROW: Final = 200  # so many failed: the others would fare no better, and may each take as long as their timeout

_SHOWN: Final = 3
_ABSENT: Final = object()


class _Round(Generic[K]):
    """What became of the keys of a call."""

    def __init__(self) -> None:
        self.told: dict[K, Any] = {}
        self.failed: dict[K, Exception] = {}
        self.in_a_row = 0  # how many have failed since one was answered
        self.foreign: Exception | None = None  # an error that is none of ours

    @property
    def useless(self) -> bool:
        """Tell whether there is no use in going on."""
        return self.foreign is not None or self.in_a_row >= _IN_A_ROW

    def ended(self, key: K, error: Exception) -> None:
        """Note that a key's owner could not be asked, or refused."""
        self.failed[key] = error
        self.in_a_row += 1
        if not isinstance(error, CastyError):
            self.foreign = error


class ManyKeys(Handle, ABC, Generic[K, V]):
    """The part of a map that takes many keys at once."""

    async def get_many(self, keys: Iterable[K], *, local: bool = False) -> dict[K, V]:
        """Get the values of many keys, each as it is when its owner answers.

        Parameters
        ----------
        keys : Iterable[K]
            The keys, up to 10,000; one that comes twice is asked for once.
        local : bool
            As for :meth:`get`.

        Returns
        -------
        dict[K, V]
            The values of those keys that have one, in the order of ``keys``.

        Raises
        ------
        BatchError
            Some could not be read. ``failed`` has the error of each, ``done`` the values of the others.

        Examples
        --------
        >>> users = d.map[str, int]("ages")
        >>> await users.put_many({"ann": 30, "bob": 31})
        >>> await users.get_many(["bob", "eve", "ann"])
        {'bob': 31, 'ann': 30}
        """
        flag = check_flag(local, "local")
        gets = {text: (key, Get()) for text, key in self._listed(keys)}
        return await self._ask_keys(gets, "read", self._found, local=flag)

    async def put_many(self, items: Mapping[K, V] | Iterable[tuple[K, V]]) -> None:
        """Store many values, each for its key. They are not stored at one moment: others may see some of them first.

        A hundred are under way at a time, and each has the handle's timeout from when it is sent. There is no
        idempotency key: to store them again stores the same.

        Parameters
        ----------
        items : Mapping[K, V] | Iterable[tuple[K, V]]
            Up to 10,000 keys and their values. If one cannot be stored, nothing is sent.

        Raises
        ------
        BatchError
            Some were not stored, or may not have been. ``failed`` has the error of each; all others are stored.
        InvalidTypeError, InvalidArgumentError, InvalidValueError
            As for :meth:`put`. Nothing was stored.

        Examples
        --------
        >>> await d.map[str, int]("prices").put_many({"tea": 3, "coffee": 4})
        """
        puts = {self._encoded(key): (key, Put(self._raw(value))) for key, value in _pairs(items)}
        await self._ask_keys(puts, "stored", _nothing)

    async def delete_many(self, keys: Iterable[K]) -> int:
        """Delete many keys.

        Parameters
        ----------
        keys : Iterable[K]
            The keys, up to 10,000; one that comes twice is deleted once.

        Returns
        -------
        int
            How many of them existed.

        Raises
        ------
        BatchError
            Some were not deleted, or may not have been. ``failed`` has the error of each; all others are deleted.

        Examples
        --------
        >>> await d.map[str, int]("prices").delete_many(["nothing", "like this"])
        0
        """
        deletes = {text: (key, Delete()) for text, key in self._listed(keys)}
        return sum((await self._ask_keys(deletes, "deleted", _as_told)).values())

    def _listed(self, keys: Iterable[K]) -> list[tuple[str, K]]:
        """Return keys by their text, by which they are told apart, before anything is sent."""
        if isinstance(keys, str | bytes):
            raise InvalidTypeError(f"Many keys are a list, say, and not one {type(keys).__name__}. Nothing was sent.")
        return [(self._encoded(key), key) for key in _few(keys, "keys")]

    async def _ask_keys(
        self,
        commands: Mapping[str, tuple[K, Command[R]]],
        what: str,
        told_as: Callable[[K, R], Any],
        *,
        local: bool = False,
    ) -> dict[K, Any]:
        """Ask for all of them, some at a time; return what was told of each, if there is anything to tell."""
        round_ = _Round[K]()
        waiting = iter(commands.values())

        async def ask_on() -> None:
            for key, command in waiting:
                if round_.useless:
                    round_.failed[key] = NotDoneError(f"It was not sent, as {_IN_A_ROW} in a row had failed.")
                    continue
                try:
                    told = await self._ask_key(key, command, local=local)
                except Exception as error:  # noqa: BLE001 - each is raised, when all have ended
                    round_.ended(key, error)
                    continue
                round_.in_a_row = 0
                try:
                    round_.told[key] = told_as(key, told)
                except CastyError as error:  # of this one value
                    round_.failed[key] = error

        await asyncio.gather(*(ask_on() for _ in range(min(_AT_ONCE, len(commands)))))
        done = {key: round_.told[key] for key, _ in commands.values() if round_.told.get(key, _ABSENT) is not _ABSENT}
        if not round_.failed:
            return done
        error = self._failed(what, len(commands), round_.failed, done)
        if round_.foreign is not None:
            raise round_.foreign from error
        raise error

    def _failed(self, what: str, number: int, failed: dict[K, Exception], done: dict[K, Any]) -> BatchError:
        some = "; ".join(f"{key!r}: {error}" for key, error in list(failed.items())[:_SHOWN])
        return BatchError(
            f"{len(failed):,} of {number:,} keys of the map {self._name!r} were not {what}, or may not have been. All "
            f"others were. {some}{' …' if len(failed) > _SHOWN else ''}",
            failed={key: error for key, error in failed.items() if isinstance(error, CastyError)},
            done=done,
        )

    def _found(self, key: K, raw: Raw | None) -> Any:
        return _ABSENT if raw is None else self._decoded(key, raw, "It stays as it is.")

    @abstractmethod
    def _encoded(self, key: K) -> str: ...
    @abstractmethod
    def _raw(self, value: object) -> Raw: ...
    @abstractmethod
    def _decoded(self, key: K, raw: Raw | None, happened: str) -> V | None: ...
    @abstractmethod
    async def _ask_key(self, key: K, command: Command[R], *, local: bool = False) -> R: ...


def _pairs(items: Mapping[K, V] | Iterable[tuple[K, V]]) -> list[tuple[K, V]]:
    pairs: list[Any] = _few(items.items() if isinstance(items, Mapping) else items, "pairs")
    if all(isinstance(pair, tuple) and len(pair) == 2 for pair in pairs):  # noqa: PLR2004 - a key and a value
        return pairs
    raise InvalidTypeError("Many values are a mapping, or tuples of a key and a value. Nothing was sent.")


def _few(many: Iterable[T], what: str) -> list[T]:
    try:
        some = iter(many)
    except TypeError as error:
        raise InvalidTypeError(f"The {what} cannot be iterated over: {error}. Nothing was sent.") from error
    few = list(islice(some, MOST_KEYS + 1))
    if len(few) > MOST_KEYS:
        raise InvalidArgumentError(
            f"There are more than {MOST_KEYS:,} {what}, too many for one call. Nothing was sent. Give them in parts."
        )
    return few


def _as_told(_key: object, told: R) -> R:
    return told


def _nothing(_key: object, _told: object) -> None:
    return None
