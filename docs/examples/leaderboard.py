"""A leaderboard: each player's best score, and who leads."""

from __future__ import annotations

from typing import assert_never

import msgspec

import casty_es
from casty_es.structures import Command, Event, Query, kind


class Submit(Command[bool], frozen=True):
    """Hand in a score; the caller is told whether it is the player's best."""

    player: str
    score: int


class Leave(Command[bool], frozen=True):
    """Take a player off the board; the caller is told whether there was one."""

    player: str


class Top(Query[list[tuple[str, int]]], frozen=True):
    """Ask for the best players and their scores."""

    count: int = 10


class Improved(Event, frozen=True):
    player: str
    score: int


class Left(Event, frozen=True):
    player: str


class Board(msgspec.Struct, frozen=True):
    best: dict[str, int] = {}


def decide(board: Board, command: Submit | Leave | Top) -> tuple[Improved | Left, ...]:
    match command:
        case Submit(player=player, score=score):
            known = board.best.get(player)
            return (Improved(player, score),) if known is None or score > known else ()
        case Leave(player=player):
            return (Left(player),) if player in board.best else ()
        case Top():
            return ()
        case _:
            assert_never(command)


def evolve(board: Board, event: Improved | Left) -> Board:
    others = {player: score for player, score in board.best.items() if player != event.player}
    return Board({**others, event.player: event.score} if isinstance(event, Improved) else others)


def reply(_command: Submit | Leave | Top, _events: tuple[Improved | Left, ...]) -> bool:
    return True


def answer(board: Board, command: Submit | Leave | Top) -> bool | list[tuple[str, int]]:
    if not isinstance(command, Top):
        return False
    return sorted(board.best.items(), key=lambda entry: (-entry[1], entry[0]))[: command.count]


LEADERBOARD = kind("leaderboard", initial=Board(), decide=decide, evolve=evolve, reply=reply, answer=answer)
casty_es.register(LEADERBOARD)
