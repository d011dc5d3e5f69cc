"""The handshake as bytes: who gets in, and that nobody does with another's words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from casty_es.errors import ConfigurationError, PeerRefusedError
from casty_es.transport.handshake import (
    MAX_HANDSHAKE_BYTES,
    DialerHandshake,
    ListenerHandshake,
    RefusingError,
    Session,
)
from casty_es.transport.identity import Identity
from casty_es.transport.limits import Limits
from tests.transport.peers import SECRET, identity


def dialer(secret: bytes = SECRET, system: str = "shop", versions: tuple[int, int] = (1, 1)) -> DialerHandshake:
    """Make a dialing side."""
    return DialerHandshake(identity("a", system), secret, Limits(), versions)


def listener(secret: bytes = SECRET, system: str = "shop", versions: tuple[int, int] = (1, 1)) -> ListenerHandshake:
    """Make a listening side."""
    return ListenerHandshake(identity("b", system), secret, Limits(), versions)


def meet(dialing: DialerHandshake, listening: ListenerHandshake) -> tuple[Session, Session]:
    """Let both talk to the end."""
    welcome, _ = listening.receive(dialing.start())
    proof, _ = dialing.receive(welcome)
    assert proof is not None
    ready, listening_session = listening.receive(proof)
    _, dialing_session = dialing.receive(ready)
    assert dialing_session is not None
    assert listening_session is not None
    return dialing_session, listening_session


def test_two_that_know_the_secret_can_talk() -> None:
    """Given one secret, when two processes meet, then each knows the other and opens what the other seals."""
    near, far = meet(dialer(), listener())

    assert (near.peer.node_id, far.peer.node_id) == ("b", "a")
    assert near.peer.bound == Limits().credits
    assert far.opener.open(near.sealer.seal(b"to b")) == b"to b"
    assert near.opener.open(far.sealer.seal(b"to a")) == b"to a"


def test_the_highest_common_version_is_spoken() -> None:
    """Given overlapping ranges of versions, when two meet, then both speak the highest one of the overlap."""
    near, far = meet(dialer(versions=(1, 3)), listener(versions=(2, 7)))

    assert (near.version, far.version) == (3, 3)


@pytest.mark.parametrize(
    ("dialing", "listening", "texts"),
    [
        pytest.param({"secret": b"another"}, {}, ("cluster secret", "secret="), id="secret"),
        pytest.param({"system": "bank"}, {}, ("'bank'", "'shop'", "same name"), id="system"),
        pytest.param({"versions": (1, 1)}, {"versions": (2, 4)}, ("version 1", "versions 2 to 4"), id="older dialer"),
        pytest.param({"versions": (3, 3)}, {"versions": (1, 2)}, ("version 3", "versions 1 to 2"), id="newer dialer"),
    ],
)
def test_both_sides_say_why(dialing: dict[str, object], listening: dict[str, object], texts: tuple[str, ...]) -> None:
    """Given a difference, when two meet, then both are told it, and with it what to set."""
    near, far = dialer(**dialing), listener(**listening)  # type: ignore[arg-type]

    with pytest.raises(RefusingError) as refusing:
        meet(near, far)
    other = far if dialing.get("secret") else near
    with pytest.raises(PeerRefusedError) as refused:
        other.receive(refusing.value.refusal)

    for text in texts:
        assert text in str(refusing.value)
        assert text in str(refused.value)


def test_a_reflected_proof_is_no_proof() -> None:
    """Given a stranger, when it sends the listener's own proof back, then it is refused."""
    listening = listener()
    welcome, _ = listening.receive(dialer(secret=b"unknown to the stranger").start())

    with pytest.raises(PeerRefusedError, match="secret"):
        listening.receive(b"cast\x03\x00\x01\x00\x01" + welcome[-32:])


def test_a_reflected_greeting_is_no_greeting() -> None:
    """Given a dialer, when it gets its own words back, then it refuses them."""
    dialing = dialer()

    with pytest.raises(PeerRefusedError, match="step 1"):
        dialing.receive(dialing.start())


def test_a_recorded_conversation_is_worth_nothing() -> None:
    """Given every word of an honest dialer, when they are said again, then the listener's new nonce spoils them."""
    dialing, listening, again = dialer(), listener(), listener()
    welcome, _ = listening.receive(dialing.start())
    proof, _ = dialing.receive(welcome)
    assert proof is not None
    listening.receive(proof)

    again.receive(dialing.start())
    with pytest.raises(PeerRefusedError, match="secret"):
        again.receive(proof)


def test_a_listener_cannot_be_played_from_a_record() -> None:
    """Given every word of an honest listener, when they are said again, then the dialer's new nonce spoils them."""
    welcome, _ = listener().receive(dialer().start())

    with pytest.raises(PeerRefusedError, match="secret"):
        dialer().receive(welcome)


def test_no_byte_of_the_greetings_can_be_changed() -> None:
    """Given somebody in the middle, when any byte of either greeting is changed, then the two do not come together."""
    length = len(dialer().start())
    for place in range(length):
        dialing, listening = dialer(), listener()
        hello = bytearray(dialing.start())
        hello[place] ^= 1
        with pytest.raises(PeerRefusedError):
            dialing.receive(listening.receive(bytes(hello))[0])
    for place in range(length + 32):
        dialing, listening = dialer(), listener()
        welcome = bytearray(listening.receive(dialing.start())[0])
        welcome[place] ^= 1
        with pytest.raises(PeerRefusedError):
            dialing.receive(bytes(welcome))


def test_the_last_word_is_checked_too() -> None:
    """Given somebody in the middle, when it welcomes a dialer in the listener's place, then the dialer notices."""
    dialing, listening = dialer(), listener()
    dialing.receive(listening.receive(dialing.start())[0])

    with pytest.raises(PeerRefusedError, match="secret"):
        dialing.receive(b"cast\x04\x00\x01\x00\x01" + bytes(32))


@given(data=st.binary(max_size=200) | st.binary(max_size=200).map(lambda tail: b"cast\x01\x00\x01\x00\x01" + tail))
def test_any_bytes_are_refused(data: bytes) -> None:
    """Given arbitrary bytes, when they come in place of a greeting, then they are refused and nothing else happens."""
    with pytest.raises(PeerRefusedError):
        listener().receive(data)
    with pytest.raises(PeerRefusedError):
        dialer().receive(data)


def test_a_truncated_greeting_is_refused() -> None:
    """Given a greeting, when it ends early at any byte, or goes on, then it is refused."""
    hello = dialer().start()
    for length in range(len(hello)):
        with pytest.raises(PeerRefusedError):
            listener().receive(hello[:length])
    with pytest.raises(PeerRefusedError):
        listener().receive(hello + b"\0")


def test_the_longest_names_fit() -> None:
    """Given the longest allowed names, when their owner greets, then the message stays within its bound."""
    who = Identity(system="s" * 400, node_id="ü" * 200)
    handshake = ListenerHandshake(who, SECRET, Limits())
    welcome, _ = handshake.receive(DialerHandshake(who, SECRET, Limits()).start())

    assert len(welcome) <= MAX_HANDSHAKE_BYTES


@pytest.mark.parametrize(
    "wrong", [{"system": ""}, {"node_id": "x" * 401}, {"process_id": "me"}, {"system": "\ud800"}], ids=str
)
def test_an_impossible_identity_is_refused(wrong: dict[str, str]) -> None:
    """Given a name that cannot be greeted with, when an identity is made of it, then that says so."""
    with pytest.raises(ConfigurationError):
        Identity(**{"system": "shop", "node_id": "a", **wrong})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "wrong",
    [{"credits": 0}, {"credits": 1.5}, {"ping_seconds": float("nan")}, {"max_frame_bytes": 10}, {"ping_seconds": 9.0}],
    ids=str,
)
def test_impossible_limits_are_refused(wrong: dict[str, float]) -> None:
    """Given a bound that no connection could live with, when limits are made of it, then that says so."""
    with pytest.raises(ConfigurationError):
        Limits(**wrong)  # type: ignore[arg-type]


def test_later_steps_do_not_choose_the_version_again() -> None:
    """Given two that agreed on version 3, when somebody changes the versions in front of a proof, then it stays 3."""
    dialing, listening = dialer(versions=(1, 3)), listener(versions=(1, 3))
    proof, _ = dialing.receive(listening.receive(dialing.start())[0])
    assert proof is not None
    _, session = listening.receive(proof[:5] + b"\0\1\0\1" + proof[9:])

    assert session is not None
    assert session.version == 3
