"""What an authenticated frame contains: a msgpack array of ``[number, message]`` pairs, and nothing else.

A request's number is its caller's and only grows; its lowest bit says whether the request holds a credit. An answer
carries the number of its request. Both directions are closed unions: what is not one of their messages is an error.
A long answer travels as ``Part`` messages, whose data together is the answer's own encoding.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Annotated, Final, TypeAlias

import msgspec

from casty_es.transport.wire import Answer, Request

__all__ = ["CREDIT", "FRAME_OVERHEAD", "Part", "decode_answers", "decode_requests", "decode_whole", "encode", "join"]

# The lowest bit of a request's number.
CREDIT: Final = 1
# The MAC and the array's header in front of the messages.
FRAME_OVERHEAD: Final = 16 + 5
_ARRAY_32: Final = struct.Struct(">BI").pack
_ARRAY_32_TAG: Final = 0xDD
# More do not fit into what a sender puts into one frame; decoded, each is many times as long as in the frame.
MAX_MESSAGES: Final = 32_768


class Part(msgspec.Struct, frozen=True, array_like=True, tag=32, gc=False):
    """A piece of a long answer; the last one says so, and all of them how long the whole is."""

    data: bytes
    total: int
    last: bool = False


Number: TypeAlias = Annotated[int, msgspec.Meta(ge=0, lt=2**62)]

encode = msgspec.msgpack.Encoder().encode
_decode_requests = msgspec.msgpack.Decoder(list[tuple[Number, Request]]).decode
decode_answers = msgspec.msgpack.Decoder(list[tuple[Number, Answer | Part]]).decode
decode_whole = msgspec.msgpack.Decoder(Answer).decode


def decode_requests(content: memoryview) -> list[tuple[int, Request]]:
    """Decode the requests of a frame, if it does not announce more than a sender of ours would put into one.

    Raises
    ------
    msgspec.MsgspecError
        It does, or is not what it should be.
    """
    if len(content) and content[0] == _ARRAY_32_TAG and int.from_bytes(content[1:5]) > MAX_MESSAGES:
        raise msgspec.ValidationError(f"more than {MAX_MESSAGES} requests in one frame")
    return _decode_requests(content)


def join(messages: Iterable[bytes], count: int) -> bytes:
    """Make the array of encoded pairs.

    >>> join([encode((2, None))], 1).hex()
    'dd000000019202c0'
    """
    return _ARRAY_32(_ARRAY_32_TAG, count) + b"".join(messages)
