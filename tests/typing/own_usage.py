"""A program with a structure of its own, as a type checker reads it; a line that is refused ends in a comment."""

from __future__ import annotations

from typing import assert_type

import msgspec

from casty_es import Distributed, Structure, register
from casty_es.structures import Command, Event, Query, kind
from casty_es.testing import given


class Deposit(Command[int], frozen=True):
    """Put money in."""

    amount: int


class Owners(Query[tuple[str, ...]], frozen=True):
    """Ask who it belongs to."""


class Deposited(Event, frozen=True):
    """It was put in."""

    amount: int


class Account(msgspec.Struct, frozen=True):
    """What an account is."""

    balance: int = 0


def decide(_account: Account, command: Deposit | Owners) -> list[Deposited]:
    """Decide."""
    return [Deposited(command.amount)] if isinstance(command, Deposit) else []


def evolve(account: Account, event: Deposited) -> Account:
    """Evolve."""
    return Account(account.balance + event.amount)


def evolve_another(account: Account, _event: Account) -> Account:
    """Evolve by something else than an event."""
    return account


ACCOUNT = kind("account", initial=Account(), decide=decide, evolve=evolve)
register(ACCOUNT)
kind("account", initial=Account(), decide=decide, evolve=evolve_another)  # wrong
kind("account", initial=3, decide=decide, evolve=evolve)  # wrong


async def use(d: Distributed) -> None:
    """Use it."""
    account = d.structure(ACCOUNT, "alice")
    assert_type(account, Structure[Account])
    assert_type(await account.ask(Deposit(5)), int)
    assert_type(await account.ask(Owners()), tuple[str, ...])
    assert_type(await account.state(), Account)
    assert_type(await account.at(sequence=3).ask(Owners(), idempotency_key="once"), tuple[str, ...])
    given(Deposited(3)).when(Deposit(5)).then(Deposited(5)).replies(None)
    await account.ask("deposit")  # wrong
    await account.ask(Deposited(5))  # wrong
    d.structure("account", "alice")  # wrong
    text: str = await account.ask(Deposit(5))  # wrong
    assert text
