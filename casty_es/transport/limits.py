"""How much a connection may hold and how long it may be silent. Every number carries its unit and its reason."""

from __future__ import annotations

import math
from typing import Final

import msgspec

from casty_es.errors import ConfigurationError

# Below it a frame could not hold a handshake, or one ordinary command.
MIN_FRAME_BYTES: Final = 65_536
# Frame lengths travel as 32 bits.
MAX_FRAME_BYTES: Final = 2**31


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """The bounds of a connection. Each side tells the other its own where both have to keep them.

    Examples
    --------
    >>> Limits(credits=64).max_frame_bytes
    8388608
    """

    # The longest frame that is taken in; its length is looked at before anything is allocated.
    max_frame_bytes: int = 8_388_608
    # How many bytes of messages share a frame, unless one message is longer: the other end starts on the first
    # frame while the next is on its way.
    batch_bytes: int = 262_144
    # An answer longer than this travels in parts of this size, between which other answers pass.
    part_bytes: int = 1_048_576
    max_answer_bytes: int = 268_435_456  # the longest answer that is put together from parts
    credits: int = 1_024  # how many requests with credit one connection may have open at a listener
    # How many requests without credit a connection may have open at a listener; further ones are told to come again.
    max_open: int = 20_000
    # How many requests may wait at a dialer to be sent; further ones get an ``OverloadedError``.
    max_waiting: int = 100_000
    max_waiting_bytes: int = 268_435_456  # how many bytes such requests may have together
    # A listener takes no further request of a connection into work, and then reads nothing more from it, while it
    # holds so many bytes for it: of requests that are not answered, of answers that are being made or unsent.
    max_unsent_bytes: int = 16_777_216
    ping_seconds: float = 1.0  # a connection on which nothing was heard for this long is asked for a sign of life
    silence_seconds: float = 2.5  # a connection without a sign of life for this long is closed
    handshake_seconds: float = 2.0  # how long a connection may take until it is authenticated
    # How many connections may be in their handshake at once at a listener; for a further one the oldest has to go,
    # of the address that has most of them.
    max_unauthenticated: int = 64
    # How many of them may come from one address, or from one network of IPv6 (/64).
    max_unauthenticated_per_address: int = 32
    # How many authenticated connections a listener serves, and at most as many as half of the descriptors that the
    # process may open. A further one is refused; nobody has to go for it.
    max_connections: int = 2_048
    max_per_address: int = 512  # how many of them may come from one address or network
    connect_seconds: float = 2.0  # how long a dialer tries to reach an address
    # How long an address is left alone after a failed attempt: doubled with each failure, up to the maximum.
    backoff_seconds: float = 0.05
    max_backoff_seconds: float = 2.0
    close_seconds: float = 1.0  # how long a connection that is closed may take to send what was written to it

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            kinds = int | float if name.endswith("_seconds") else int
            if isinstance(value, bool) or not isinstance(value, kinds) or not math.isfinite(value) or value <= 0:
                raise ConfigurationError(f"The limit {name} is {value!r}; it must be a positive, finite number.")
        if not MIN_FRAME_BYTES <= self.max_frame_bytes <= MAX_FRAME_BYTES:
            raise ConfigurationError(
                f"The limit max_frame_bytes is {self.max_frame_bytes}; it must be from {MIN_FRAME_BYTES} to "
                f"{MAX_FRAME_BYTES}."
            )
        if self.silence_seconds <= self.ping_seconds:
            raise ConfigurationError(
                f"The limit silence_seconds is {self.silence_seconds} and ping_seconds is {self.ping_seconds}; "
                "a peer needs the time to answer a ping, so silence_seconds must be the longer one."
            )
