"""The code in front of a frame."""

from __future__ import annotations

import pytest

from casty_es.transport.sealing import ForgedFrameError, Opener, Sealer

KEY = b"k" * 32


def test_no_byte_of_a_frame_can_be_changed() -> None:
    """Given a sealed frame, when any byte of it is changed, then it is not opened."""
    frame = Sealer(KEY).seal(b"some content")
    for place in range(len(frame)):
        changed = bytearray(frame)
        changed[place] ^= 0x80
        with pytest.raises(ForgedFrameError):
            Opener(KEY).open(changed)


@pytest.mark.parametrize("length", range(17))
def test_a_frame_that_is_cut_is_not_opened(length: int) -> None:
    """Given a sealed frame, when it is cut short, then it is not opened."""
    with pytest.raises(ForgedFrameError):
        Opener(KEY).open(Sealer(KEY).seal(b"some content")[:length])


def test_frames_open_in_their_order_only() -> None:
    """Given three sealed frames, when one is repeated, skipped or comes early, then it is not opened."""
    sealer = Sealer(KEY)
    first, second, third = (sealer.seal(b"same") for _ in range(3))
    for order in ([first, first], [second], [first, third]):
        opener = Opener(KEY)
        with pytest.raises(ForgedFrameError):
            [opener.open(frame) for frame in order]
    opener = Opener(KEY)
    assert [bytes(opener.open(frame)) for frame in (first, second, third)] == [b"same"] * 3


def test_another_key_opens_nothing() -> None:
    """Given a frame of the other direction, when it is sent back, then it is not opened."""
    with pytest.raises(ForgedFrameError):
        Opener(b"l" * 32).open(Sealer(KEY).seal(b"content"))
