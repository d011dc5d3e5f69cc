"""A bank account that refuses to be overdrawn."""

from __future__ import annotations

from typing import assert_never

import msgspec

import casty_es
from casty_es.structures import Command, Event, Query, RefusedError, kind


class Deposit(Command[int], frozen=True):
    """Put an amount in, in cents; the caller is told the new balance."""

    amount: int


class Withdraw(Command[int], frozen=True):
    """Take an amount out, in cents; the caller is told the new balance."""

    amount: int


class GetBalance(Query[int], frozen=True):
    """Ask for the balance."""


class Deposited(Event, frozen=True):
    amount: int
    balance: int


class Withdrawn(Event, frozen=True):
    amount: int
    balance: int


class Account(msgspec.Struct, frozen=True):
    balance: int = 0


def decide(account: Account, command: Deposit | Withdraw | GetBalance) -> list[Deposited | Withdrawn]:
    match command:
        case Deposit(amount=amount) | Withdraw(amount=amount) if amount <= 0:
            raise RefusedError(f"The amount is {amount}, and must be positive.")
        case Deposit(amount=amount):
            return [Deposited(amount, account.balance + amount)]
        case Withdraw(amount=amount) if amount > account.balance:
            raise RefusedError(f"The account has {account.balance}, which is less than {amount}.")
        case Withdraw(amount=amount):
            return [Withdrawn(amount, account.balance - amount)]
        case GetBalance():
            return []
        case _:
            assert_never(command)


def evolve(account: Account, event: Deposited | Withdrawn) -> Account:
    return Account(event.balance)


def reply(_command: Deposit | Withdraw | GetBalance, events: tuple[Deposited | Withdrawn, ...]) -> int:
    return events[-1].balance


def answer(account: Account, _query: Deposit | Withdraw | GetBalance) -> int:
    return account.balance


ACCOUNT = kind("account", initial=Account(), decide=decide, evolve=evolve, reply=reply, answer=answer)
casty_es.register(ACCOUNT)
