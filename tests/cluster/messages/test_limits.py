"""The table of limits: nothing is left out of it, and what is beyond is refused where it is decoded."""

from __future__ import annotations

from typing import Any, get_args
from uuid import UUID

import msgspec
import pytest

from casty_es.cluster.incoming import Incoming
from casty_es.commands import SENDABLE, checks_of, decode_command
from casty_es.context import checked
from casty_es.domain.decider import Query
from casty_es.errors import CastyError
from casty_es.replay import HistoryPage, Positions
from casty_es.transport.frames import Part, Unreadable, encode, join, read_answers, read_requests
from casty_es.transport.wire import (
    Answer,
    Answered,
    Ask,
    Failed,
    Located,
    NodeEntry,
    Outcome,
    ReadPast,
    Recalled,
    Refused,
    ShardsFound,
    SlotEntry,
    Topology,
)

from .limits import COMMANDS, FIELDS, HEX, REQUEST
from .making import REQUESTS, body_of, every, fields_of, good

NODE = NodeEntry("n", "h:1", "h", 1, 2)
OWNER = SlotEntry(1, "n", "h:1", 3, 4)
ANSWERS: list[msgspec.Struct] = [
    Answered(b"i1", 1),
    Failed("CastyError", "no"),
    Refused("not here", 1),
    Located(1, 1),
    ShardsFound(1),
    Topology(256, 1, 30.0, 1, (NODE,), (OWNER,)),
    Outcome("executed"),
    HistoryPage(),
    Positions(1, (1,)),
    Recalled({}),
    Part(b"a", 1),
]


def taken(message: object) -> list[str]:
    """Take a request in as a node does, up to where the entity decides; return what refused it."""
    [(_, request)] = read_requests(join([encode((2, message))], 1))
    if isinstance(request, Unreadable):
        return [request.why]
    incoming = Incoming(256, 2**20)
    try:
        incoming.check(request)
        if isinstance(request, Ask):
            checked(request.metadata)
        if isinstance(request, Ask | ReadPast):
            command = incoming.command(request)
            if isinstance(request, ReadPast) and not isinstance(command, Query):
                return ["answer_then takes queries only"]
    except CastyError as error:
        return [f"{type(error).__name__}: {error}"]
    return []


def test_every_field_is_in_the_table() -> None:
    """Given the messages and commands, when their fields are counted, then each has a row with its limits."""
    messages = {*REQUESTS, *get_args(Answer), Part, NodeEntry, SlotEntry}
    assert {(cls, field) for cls in messages for field in cls.__struct_fields__} == FIELDS.keys()
    fields = {
        (command, field)
        for kind, commands in SENDABLE.items()
        for command in commands
        for field in fields_of(kind, command)
    }
    assert fields == COMMANDS.keys()


@pytest.mark.parametrize("cls", [cls for cls in REQUESTS if cls.__struct_fields__], ids=lambda cls: cls.__name__)
@pytest.mark.parametrize("kind", ["map", "counter"])
def test_what_is_right_is_taken(cls: type[msgspec.Struct], kind: str) -> None:
    """Given a request in which nothing is wrong, when it comes, then it is taken: the others are wrong."""
    assert taken(good(cls, kind)) == []


@pytest.mark.parametrize(
    ("kind", "command"), [(kind, command) for kind, commands in SENDABLE.items() for command in commands]
)
def test_a_command_that_is_right_is_taken(kind: str, command: str) -> None:
    """Given a command in which nothing is wrong, when it comes, then it is taken."""
    more = {"warrant": HEX} if "warrant" in fields_of(kind, command) else {}
    assert decode_command(kind, command, body_of(kind, command, **more), UUID(REQUEST).bytes)


# A warrant of the right form is looked at by the entity, which has the salt.
WRONG = [wrong for wrong in every() if f".warrant = {HEX!r:.80}" not in wrong.what]


def test_every_wrong_field_is_refused() -> None:
    """Given every field of every request, when it holds what is beyond its limits, then the request is refused."""
    assert [wrong.what for wrong in WRONG if not taken(wrong.message)] == []
    assert len(WRONG) > 1_500


def test_refusals_are_short() -> None:
    """Given requests with fields of a megabyte, when they are refused, then what is told of it is not as long."""
    assert max(len(text) for wrong in WRONG for text in taken(wrong.message)) < 2_000


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda answer: type(answer).__name__)
def test_every_wrong_field_of_an_answer_is_refused(answer: msgspec.Struct) -> None:
    """Given every field of an answer, when it holds what is beyond its limits, then the answer is not believed."""
    cls = type(answer)
    tag = cls.__struct_config__.tag
    right = [msgspec.to_builtins(value, builtin_types=(bytes,)) for value in msgspec.structs.astuple(answer)]
    [(_, read)] = read_answers(join([encode((2, [tag, *right]))], 1))
    assert read == answer
    for number, field in enumerate(cls.__struct_fields__):
        for value in FIELDS[cls, field].wrong:
            fields = [*right[:number], value, *right[number + 1 :]]
            [(_, read)] = read_answers(join([encode((2, [tag, *fields]))], 1))
            assert isinstance(read, Unreadable), (field, value)


@pytest.mark.parametrize("entry", [NODE, OWNER], ids=["node", "owner"])
def test_every_wrong_field_of_a_topology_is_refused(entry: NodeEntry | SlotEntry) -> None:
    """Given a node or an owner in a topology, when a field of it is wrong, then the whole is not believed."""
    cls = type(entry)
    right = list(msgspec.structs.astuple(entry))
    for number, field in enumerate(cls.__struct_fields__):
        for value in FIELDS[cls, field].wrong:
            one = [*right[:number], value, *right[number + 1 :]]
            lists: tuple[list[Any], list[Any]] = ([one], []) if cls is NodeEntry else ([], [one])
            [(_, read)] = read_answers(join([encode((2, [21, 256, 1, 30.0, 1, *lists]))], 1))
            assert isinstance(read, Unreadable), (field, value)


def test_a_field_without_bounds_is_noticed() -> None:
    """Given a command with a field that nobody bounds, when its checks are looked for, then that fails."""

    class Loose(msgspec.Struct):
        text: str

    with pytest.raises(TypeError, match=r"Loose\.text has no bounds"):
        checks_of(Loose)
