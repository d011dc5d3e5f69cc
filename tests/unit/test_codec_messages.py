"""Commands, replies and errors as they go from node to node: closed tables, and everything comes back equal."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from casty_es import errors
from casty_es.commands import decode_command
from casty_es.domain import barrier, counter, lock, map_entry, queue, semaphore, upkeep
from casty_es.domain import set as set_
from casty_es.domain.catalog import CATALOG
from casty_es.domain.decider import WAITING, Concluded, Internal
from casty_es.errors import CastyError, InvalidTypeError, InvalidValueError
from casty_es.format.codec import (
    concluded,
    decode_error,
    decode_event,
    decode_reply,
    encode_command,
    encode_error,
    encode_event,
    encode_reply,
    upkeep_reply,
)

R = "018f0c3a-0000-7000-8000-000000000001"
SHA = "ab" * 32
VALUE = Raw(b'{"a":[1,null,"\xc3\xa9"]}')

COMMANDS = [
    ("counter", counter.Increment(2**70)),
    ("counter", counter.Decrement(-(10**4000))),
    ("counter", counter.IncrementWithin(1, -(2**70), 2**70)),
    ("counter", counter.DecrementWithin(1, 0, None)),
    ("counter", counter.GetAndSet(-3)),
    ("counter", counter.CompareAndSet(2**70, 0)),
    ("counter", counter.Get()),
    ("counter", counter.Destroy()),
    ("map", map_entry.Put(VALUE)),
    ("map", map_entry.Put(Raw(b"null"))),
    ("map", map_entry.PutIfAbsent(VALUE)),
    ("map", map_entry.Replace("ab" * 32, Raw(b"null"))),
    ("map", map_entry.Pop()),
    ("map", map_entry.Get()),
    ("map", map_entry.Delete()),
    ("map", map_entry.Contains()),
    ("map", upkeep.Redact("é", warrant=SHA)),
    ("counter", upkeep.Seal(9, 5, SHA, SHA, "a.jsonl.gz", SHA, warrant=SHA)),
    ("set", set_.Add(VALUE)),
    ("set", set_.Remove(VALUE)),
    ("set", set_.Contains(VALUE)),
    ("set", set_.Size()),
    ("set", set_.Destroy()),
    ("queue", queue.Enqueue(VALUE)),
    ("queue", queue.Dequeue()),
    ("queue", queue.GiveBack(VALUE, R)),
    ("queue", queue.Peek()),
    ("queue", queue.Size()),
    ("queue", queue.Destroy()),
    ("lock", lock.Acquire("o", R)),
    ("lock", lock.TryAcquire("o", R)),
    ("lock", lock.Release("o")),
    ("lock", lock.Release("o", R)),
    ("lock", lock.Withdraw(R, True)),
    ("lock", lock.Renew((R, R))),
    ("lock", lock.GetHolder()),
    ("lock", lock.Destroy()),
    ("semaphore", semaphore.Acquire("o", R, 3)),
    ("semaphore", semaphore.TryAcquire("o", R, 3)),
    ("semaphore", semaphore.Release("o", R)),
    ("semaphore", semaphore.Withdraw(R, False)),
    ("semaphore", semaphore.Renew(())),
    ("semaphore", semaphore.GetUsage()),
    ("semaphore", semaphore.Destroy()),
    ("barrier", barrier.Arrive("p", R, 2)),
    ("barrier", barrier.Withdraw(R)),
    ("barrier", barrier.Renew((R,))),
    ("barrier", barrier.GetRound()),
    ("barrier", barrier.Destroy()),
]

# What any caller is ever told, as it is written down: part of the data format, because of `command.concluded`.
REPLIES: list[tuple[object, bytes]] = [
    (0, b"i0"),
    (-(2**63), b"i-9223372036854775808"),
    (2**70, b"i1180591620717411303424"),
    (10**4000, b"i1" + b"0" * 4000),
    (True, b"btrue"),
    (False, b"bfalse"),
    (None, b"nnull"),
    ("é\n", b's"\xc3\xa9\\n"'),
    (Raw(b"null"), b"vnull"),
    (Raw(b"1"), b"v1"),
    (VALUE, b'v{"a":[1,null,"\xc3\xa9"]}'),
    ((), b"t[]"),
    (("r1", "r2"), b't["r1","r2"]'),
    (lock.Holder("o", "r", 7), b'h{"owner":"o","request":"r","token":7}'),
    (semaphore.Usage(3, 2, 1), b'u{"permits":3,"held":2,"waiting":1}'),
    (barrier.Round(4, 2, ("a",)), b'r{"generation":4,"expected":2,"arrived":["a"]}'),
    ({"a": [1.5, None]}, b'j{"a":[1.5,null]}'),
]


@pytest.mark.parametrize(
    ("kind", "command"),
    COMMANDS,
    ids=[f"{kind}-{number}-{type(command).__name__}" for number, (kind, command) in enumerate(COMMANDS)],
)
def test_a_command_comes_back_equal(kind: str, command: Any) -> None:
    """Given a command, when it is written for a peer and read there, then it is the same."""
    name, body = encode_command(command)
    read = decode_command(kind, name, body, UUID(R).bytes)
    assert (type(read), read) == (type(command), command)


def test_every_command_that_may_be_sent_is_among_these() -> None:
    """Given the catalog, when its commands are counted, then each but the owner's own is tested above."""
    known = {cls for kind in CATALOG.values() for cls in kind.commands if not issubclass(cls, Internal)}
    assert known | {upkeep.Seal} == {type(command) for _, command in COMMANDS}


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("lock", "Expire"),
        ("semaphore", "Expire"),
        ("barrier", "Expire"),
        ("counter", "Put"),
        ("map", "Destroy"),
        ("counter", ""),
        ("counter", "Incremented"),
        ("counter", "__class__"),
        ("os", "system"),
        ("", "Get"),
        ("x" * 10_000, "y" * 10_000),
    ],
)
def test_what_is_no_command_for_others_is_refused(kind: str, name: str) -> None:
    """Given a name outside of the structure's table, when it is sent, then the error names it, shortened."""
    with pytest.raises(InvalidTypeError, match="There is no command") as caught:
        decode_command(kind, name, b"{}")
    assert repr(name[:80]) in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("Increment", b""),
        ("Increment", b"{"),
        ("Increment", b"null"),
        ("Increment", b"[1]"),
        ("Increment", b"{}"),
        ("Increment", b'{"amount":"1"}'),
        ("Increment", b'{"amount":1.5}'),
        ("Increment", b'{"amount":true}'),
        ("Increment", b'{"amount":1,"by":2}'),
        ("Increment", b'{"amount":1' + b"0" * 5_000 + b"}"),
        ("Increment", b'{"amount":1}{}'),
        ("Increment", b"\xff\xfe"),
        ("Get", b'{"amount":1}'),
    ],
)
def test_a_command_of_a_wrong_shape_is_refused(name: str, body: bytes) -> None:
    """Given bytes that are not the command, when they are read, then the error names the command."""
    with pytest.raises(InvalidValueError, match=f"command '{name}' of a counter does not have that command's shape"):
        decode_command("counter", name, body)


@pytest.mark.parametrize(
    "body", [b'{"value":' + b"[" * 100_000 + b"]" * 100_000 + b"}", b'{"value":"\xff"}', b'{"value":}']
)
def test_a_value_that_is_no_json_is_refused(body: bytes) -> None:
    """Given a user's value nested too deep or broken, when the command is read, then it is refused."""
    with pytest.raises(InvalidValueError):
        decode_command("map", "Put", body)


@pytest.mark.parametrize(("reply", "body"), REPLIES, ids=[repr(body)[:40] for _, body in REPLIES])
def test_a_reply_comes_back_equal(reply: object, body: bytes) -> None:
    """Given a reply, when it is written and read, then the bytes are the golden ones, and value and type the same."""
    assert encode_reply(reply) == body
    read = decode_reply(body)
    assert (type(read), read) == (type(reply), reply)


@given(st.one_of(st.integers(-(10**4000), 10**4000), st.text(st.characters(exclude_categories=["Cs"])), st.booleans()))
def test_any_plain_reply_comes_back_equal(reply: object) -> None:
    """Given any int, text or bool, when it is written and read as a reply, then it is equal and of the same type."""
    read = decode_reply(encode_reply(reply))
    assert (type(read), read) == (type(reply), reply)


@pytest.mark.parametrize(("reply", "body"), REPLIES, ids=[repr(body)[:40] for _, body in REPLIES])
def test_a_conclusion_keeps_its_reply(reply: object, body: bytes) -> None:
    """Given a reply, when its conclusion is stored and read, then the event is equal and the reply is the same."""
    event = concluded(reply)
    read = decode_event(*encode_event(event))
    assert read == event
    assert isinstance(read, Concluded)
    assert encode_reply(upkeep_reply(read)) == body


def test_waiting_is_no_reply() -> None:
    """Given a caller who stands in line, when its reply is to be written, then that is refused: there is none yet."""
    with pytest.raises(InvalidTypeError, match="Waiting"):
        encode_reply(WAITING)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"i",
        b"x1",
        b"ix",
        b"i1.5",
        b"itrue",
        b"b1",
        b"n0",
        b"t[1]",
        b"h{}",
        b"v",
        b'v"\xff"',
        b"v{",
        b"i1 1",
        b"s\xff",
        b"\x80",
    ],
)
def test_bytes_that_are_no_reply_are_refused(body: bytes) -> None:
    """Given bytes without a known tag, or JSON of another type, when they are read, then the error shows them."""
    with pytest.raises(InvalidValueError, match="is not a reply"):
        decode_reply(body)


ERRORS: list[CastyError] = [
    *(
        cls("what happened")
        for name in errors.__all__
        if isinstance(cls := getattr(errors, name), type)
        and issubclass(cls, CastyError)
        and cls not in (errors.ConflictError, errors.PeerLostError, errors.NotOwnerError)
    ),
    errors.OutcomeUnknownError("it may have happened", command_id=UUID(int=7)),
    errors.ConflictError("the head moved", constraint="predecessor"),
    errors.PeerLostError("the connection broke", sent=True),
    errors.PeerLostError("nobody answered", sent=False),
    errors.NotOwnerError("not here", slot=7, node_id="n1", address="h:1", epoch=9, shards=3),
    errors.NotOwnerError("not here", slot=7),
]


@pytest.mark.parametrize("error", ERRORS, ids=[type(error).__name__ for error in ERRORS])
def test_an_error_comes_back_as_what_it_was(error: CastyError) -> None:
    """Given any error of the tree, when it is written for a peer and read there, then type, text and details agree."""
    read = decode_error(*encode_error(error))
    assert (type(read), str(read), vars(read)) == (type(error), str(error), vars(error))


def test_every_error_is_among_these() -> None:
    """Given the error tree, when its classes are counted, then each is tested above."""
    tree = {getattr(errors, name) for name in errors.__all__}
    assert {cls for cls in tree if issubclass(cls, CastyError)} == {type(error) for error in ERRORS}


@pytest.mark.parametrize(
    "name", ["ValueError", "OSError", "SystemExit", "Sent", "annotations", "__builtins__", "", "x" * 10_000]
)
def test_an_unknown_error_says_so(name: str) -> None:
    """Given a name that is no error of ours, when it is read, then it is a ``CastyError`` that says what was sent."""
    error = decode_error(name, "boom", "detail")
    assert type(error) is CastyError
    assert f"{name[:80]!a}, which this version does not know: boom" in str(error)


@pytest.mark.parametrize(
    ("name", "detail"),
    [
        ("OutcomeUnknownError", "no id"),
        ("NotOwnerError", ""),
        ("NotOwnerError", "[1]"),
        ("NotOwnerError", '["1",2,3,4,5]'),
    ],
)
def test_details_that_cannot_be_read(name: str, detail: str) -> None:
    """Given details of a wrong shape, when the error is read, then it is a ``CastyError`` that says so."""
    error = decode_error(name, "boom", detail)
    assert type(error) is CastyError
    assert f"failed with {name} and details that cannot be read: boom" in str(error)


def test_an_error_of_a_subclass_goes_by_its_parent() -> None:
    """Given an error of a class that peers do not have, when it is written, then its parent stands for it."""

    class LocalError(errors.JournalUnavailableError):
        """Known to nobody else."""

    assert encode_error(LocalError("gone")) == ("JournalUnavailableError", "gone", "")


@pytest.mark.parametrize("error", [RuntimeError("boom"), KeyError("k"), msgspec.ValidationError("bad")])
def test_an_error_of_nobodys_is_told_as_a_failure_of_the_node(error: Exception) -> None:
    """Given an error that is not of the library, when it is written, then a ``CastyError`` shows it."""
    name, message, detail = encode_error(error)
    assert (name, detail) == ("CastyError", "")
    assert repr(error) in message
