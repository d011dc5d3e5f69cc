"""When a silence counts, as a pure function of time."""

from __future__ import annotations

import pytest

from casty_es.transport.pulse import Pulse, Verdict

ALIVE, ASK, DEAD = Verdict


@pytest.fixture
def pulse() -> Pulse:
    """Asks after a second at the latest, gives up after 2.5; the first look is due at half a second."""
    return Pulse(1.0, 2.5, 0.0)


def looks(pulse: Pulse, *times: float, reading: bool = True) -> list[Verdict]:
    """Look at these times."""
    return [pulse.look(time, reading=reading, drained=0) for time in times]


def test_a_silent_peer_is_asked_and_then_given_up(pulse: Pulse) -> None:
    """Given a peer that says nothing, when time passes, then it is asked again and again, and given up after 2.5 s."""
    assert looks(pulse, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0) == [ASK] * 5 + [DEAD]


def test_a_talking_peer_is_left_in_peace(pulse: Pulse) -> None:
    """Given a peer that talks, when it is looked at, then there is no need to ask."""
    for number in range(1, 20):
        pulse.heard(number / 2 - 0.1)
        assert looks(pulse, number / 2) == [ALIVE]


def test_own_standstill_does_not_count(pulse: Pulse) -> None:
    """Given a process that stood still for a minute, when it looks, then the peer still has the rest of its time."""
    assert looks(pulse, 0.5, 1.0, 61.0, 61.5) == [ASK, ASK, ASK, ASK]
    assert looks(pulse, 62.0, 62.5) == [ASK, DEAD]


def test_a_process_that_is_always_late_notices_too(pulse: Pulse) -> None:
    """Given looks that come two seconds late every time, when a peer is silent, then it is given up in the end."""
    assert DEAD in looks(pulse, *(2.5 * number for number in range(1, 10)))


def test_who_is_not_read_is_judged_by_what_it_takes(pulse: Pulse) -> None:
    """Given a peer that is not read, when it takes bytes, then it lives; when it takes none any more, then not."""
    taking = [pulse.look(number / 2, reading=False, drained=number) for number in range(1, 20)]

    assert taking == [ALIVE] * 19
    assert [pulse.look(9.5 + number / 2, reading=False, drained=19) for number in range(1, 7)] == [ASK] * 5 + [DEAD]
