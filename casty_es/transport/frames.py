"""What an authenticated frame contains: a msgpack array of ``[number, message]`` pairs, and nothing else.

A request's number is its caller's and only grows; its lowest bit says whether the request holds a credit. An answer
carries the number of its request. Both directions are closed unions: what is not one of their messages is an error.
A long answer travels as ``Part`` messages, whose data together is the answer's own encoding.

A frame that is not made so ends its connection. One message in it that cannot be read does not: whoever sent the
request is refused, whoever asked for the answer is told, and the messages beside it are taken.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, Any, Final, NamedTuple, TypeAlias, TypeVar

import msgspec

from casty_es.bounds import TAGS
from casty_es.transport.wire import Answer, Request

# The lowest bit of a request's number.
CREDIT: Final = 1
# The MAC and the array's header in front of the messages.
FRAME_OVERHEAD: Final = 16 + 5
_ARRAY_32: Final = struct.Struct(">BI").pack
_ARRAY_32_TAG: Final = 0xDD
# More do not fit into what a sender puts into one frame; decoded, each is many times as long as in the frame.
MAX_MESSAGES: Final = 32_768


class Part(msgspec.Struct, frozen=True, array_like=True, tag=TAGS.__getitem__, gc=False):
    """A piece of a long answer; the last one says so, and all of them how long the whole is."""

    data: bytes
    total: int
    last: bool = False


Number: TypeAlias = Annotated[int, msgspec.Meta(ge=0, lt=2**62)]

encode = msgspec.msgpack.Encoder().encode
_decode_requests: Final = msgspec.msgpack.Decoder(list[tuple[Number, Request]]).decode
_decode_request: Final = msgspec.msgpack.Decoder(Request).decode
_decode_answers: Final = msgspec.msgpack.Decoder(list[tuple[Number, Answer | Part]]).decode
_decode_answer: Final = msgspec.msgpack.Decoder(Answer | Part).decode
_decode_whole: Final = msgspec.msgpack.Decoder(Answer).decode
_decode_apart: Final = msgspec.msgpack.Decoder(list[tuple[Number, msgspec.Raw]]).decode

Frame: TypeAlias = bytes | bytearray | memoryview
M = TypeVar("M")


class Unreadable(NamedTuple):
    """A message that is not one, and why."""

    why: str


def read_requests(content: Frame) -> Sequence[tuple[int, Request | Unreadable]]:
    """Return the requests of a frame.

    Raises ``msgspec.MsgspecError`` if it is not an array of numbered messages, or announces more than a sender of
    ours would put into one frame.
    """
    if len(content) and content[0] == _ARRAY_32_TAG and int.from_bytes(content[1:5]) > MAX_MESSAGES:
        raise msgspec.ValidationError(f"more than {MAX_MESSAGES} requests in one frame")
    return _read(content, _decode_requests, _decode_request)


def read_answers(content: Frame) -> Sequence[tuple[int, Answer | Part | Unreadable]]:
    """Return the answers of a frame; ``msgspec.MsgspecError`` if it is not an array of numbered messages."""
    return _read(content, _decode_answers, _decode_answer)


def read_whole(whole: Frame) -> Answer | Unreadable:
    """Return the answer whose parts were put together."""
    return _one(whole, _decode_whole)


def _read(
    content: Frame, decode_all: Callable[[Frame], list[tuple[int, M]]], decode_one: Callable[[Any], M]
) -> Sequence[tuple[int, M | Unreadable]]:
    try:
        return decode_all(content)
    except (msgspec.ValidationError, UnicodeDecodeError):
        # Once more, message by message: what is wrong with one is no matter of the others.
        return [(number, _one(raw, decode_one)) for number, raw in _decode_apart(content)]


def _one(raw: Any, decode: Callable[[Any], M]) -> M | Unreadable:
    try:
        return decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        return Unreadable(str(error))


def join(messages: Iterable[bytes], count: int) -> bytes:
    """Make the array of encoded pairs.

    >>> join([encode((2, None))], 1).hex()
    'dd000000019202c0'
    """
    return _ARRAY_32(_ARRAY_32_TAG, count) + b"".join(messages)
