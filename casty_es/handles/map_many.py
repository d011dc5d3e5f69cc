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

_AT_ONCE: Final = 1_000  # each has the handle's timeout from when it is sent

_SHOWN: Final = 3
_ABSENT: Final = object()


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
        return await self._ask_keys(
            dict.fromkeys(self._listed(keys), Get()), "read", self._found, local=check_flag(local, "local")
        )

    async def put_many(self, items: Mapping[K, V] | Iterable[tuple[K, V]]) -> None:
        """Store many values, each for its key. They are not stored at one moment: others may see some of them first.

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
        pairs = _pairs(items)
        self._listed([key for key, _ in pairs])
        await self._ask_keys({key: Put(self._raw(value)) for key, value in pairs}, "stored", _nothing)

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
        told = await self._ask_keys(dict.fromkeys(self._listed(keys), Delete()), "deleted", _as_told)
        return sum(told.values())

    def _listed(self, keys: Iterable[K]) -> list[K]:
        """Return keys, each of which is one, before anything is sent."""
        if isinstance(keys, str | bytes):
            raise InvalidTypeError(
                f"Many keys are a list or the like, and not one {type(keys).__name__}. Nothing was sent."
            )
        few = _few(keys, "keys")
        for key in few:
            self._encoded(key)
        return few

    async def _ask_keys(
        self, commands: Mapping[K, Command[R]], what: str, told_as: Callable[[K, R], Any], *, local: bool = False
    ) -> dict[K, Any]:
        """Ask for some of them at a time; return what was told of each, without those that have nothing to tell."""
        asked, done, failed = list(commands.items()), dict[K, Any](), dict[K, CastyError]()
        while asked:
            some, asked, before = asked[:_AT_ONCE], asked[_AT_ONCE:], len(done)
            ended = await asyncio.gather(
                *(self._ask_key(key, command, local=local) for key, command in some), return_exceptions=True
            )
            for (key, _), told in zip(some, ended, strict=True):
                try:
                    done[key] = told_as(key, _raised(told))
                except CastyError as error:
                    failed[key] = error
            if len(done) == before:  # the others would fare no better, and may take as long as their timeout
                failed |= {key: NotDoneError("It was not sent, as all before it failed.") for key, _ in asked}
                break
        if failed:
            raise self._failed(what, len(commands), failed, done)
        return {key: told for key, told in done.items() if told is not _ABSENT}

    def _failed(self, what: str, number: int, failed: dict[K, CastyError], done: dict[K, Any]) -> BatchError:
        some = "; ".join(f"{key!r}: {error}" for key, error in list(failed.items())[:_SHOWN])
        return BatchError(
            f"{len(failed):,} of {number:,} keys of the map {self._name!r} were not {what}, or may not have been. All "
            f"others were. {some}{' …' if len(failed) > _SHOWN else ''}",
            failed=failed,
            done={key: told for key, told in done.items() if told is not _ABSENT},
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


def _raised(told: R | BaseException) -> R:
    if isinstance(told, BaseException):
        raise told
    return told


def _as_told(_key: object, told: R) -> R:
    return told


def _nothing(_key: object, _told: object) -> None:
    return None
