"""The handshake as bytes: who gets in, and that nobody does with another's words."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from casty_es.access import EVERYTHING, Grant, Scopes, Token
from casty_es.errors import ConfigurationError, PeerRefusedError
from casty_es.transport.handshake import (
    MAX_HANDSHAKE_BYTES,
    DialerHandshake,
    ListenerHandshake,
    NotKnownError,
    RefusingError,
    Session,
)
from casty_es.transport.identity import Identity
from casty_es.transport.keyring import Keyring
from casty_es.transport.limits import Limits
from tests.transport.peers import SECRET, identity

OTHER = b"the secret of another cluster..."
TOKEN = Token("0123456789ab", bytes(range(32)))
GRANT = TOKEN.grant("dashboard", Scopes(read=(EVERYTHING,)), created_at=1, ends_at=1_000)


def dialer(
    secret: bytes | Token | Keyring = SECRET, system: str = "shop", versions: tuple[int, int] = (1, 1)
) -> DialerHandshake:
    """Make a dialing side."""
    return DialerHandshake(identity("a", system, role="client"), secret, Limits(), versions)


def listener(
    secret: bytes | Keyring = SECRET, system: str = "shop", versions: tuple[int, int] = (1, 1)
) -> ListenerHandshake:
    """Make a listening side."""
    return ListenerHandshake(identity("b", system), secret, Limits(), versions)


def knowing(grant: Grant = GRANT, now: int = 500) -> Keyring:
    """Make what a node knows that has read of a token."""
    keys = Keyring((SECRET,), lambda: now)
    keys.grants = {grant.id: grant}
    return keys


def proven(dialing: DialerHandshake, listening: ListenerHandshake) -> bytes:
    """Let both talk up to the dialer's proof, and return that."""
    challenge, _ = listening.receive(dialing.start())
    proof, _ = dialing.receive(challenge)
    assert proof is not None
    return proof


def meet(dialing: DialerHandshake, listening: ListenerHandshake) -> tuple[Session, Session]:
    """Let both talk to the end."""
    proof = proven(dialing, listening)
    welcome, listening_session = listening.receive(proof)
    _, dialing_session = dialing.receive(welcome)
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
        pytest.param({"secret": OTHER}, {}, ("cluster secret", "secret="), id="secret"),
        pytest.param({"system": "bank"}, {}, ("'bank'", "'shop'", "same name"), id="system"),
        pytest.param({"secret": TOKEN}, {}, ("not one of this cluster", "token list"), id="token"),
        pytest.param({"versions": (1, 1)}, {"versions": (2, 4)}, ("version 1", "versions 2 to 4"), id="older dialer"),
        pytest.param({"versions": (3, 3)}, {"versions": (1, 2)}, ("version 3", "versions 1 to 2"), id="newer dialer"),
    ],
)
def test_both_sides_say_why(dialing: dict[str, Any], listening: dict[str, Any], texts: tuple[str, ...]) -> None:
    """Given a difference, when two meet, then both are told it, and with it what to set."""
    near, far = dialer(**dialing), listener(**listening)

    with pytest.raises(RefusingError) as refusing:
        meet(near, far)
    with pytest.raises(PeerRefusedError) as refused:
        near.receive(refusing.value.refusal)

    for text in texts:
        assert text in str(refusing.value)
        assert text in str(refused.value)


def test_a_stranger_learns_nothing() -> None:
    """Given a stranger, when it says what it can, then the answers have no name, no id and no proof."""
    there = identity("the-node", "the-system")
    told = []
    for _ in range(2):
        listening = ListenerHandshake(there, SECRET, Limits())
        stranger = DialerHandshake(identity(), OTHER, Limits())
        challenge, _ = listening.receive(stranger.start())
        proof, _ = stranger.receive(challenge)
        assert proof is not None
        with pytest.raises(RefusingError) as refusing:
            listening.receive(proof)
        told.append((challenge, refusing.value.refusal))
        with pytest.raises(RefusingError) as version:
            ListenerHandshake(there, SECRET, Limits()).receive(b"cast\x01\x00\x01\x00\x01" + bytes(32))
        told.append((version.value.refusal, b""))

    for words in told:
        for name in (b"the-node", b"the-system", bytes.fromhex(there.process_id)):
            assert name not in b"".join(words)
    first, second = told[0], told[2]
    assert len(first[0]) == 9 + 32  # the prefix and a nonce
    assert first[0] != second[0]
    assert first[1] == second[1]  # whatever was drawn or proven, the refusal is the same


@pytest.mark.parametrize(
    ("dialing", "listening", "by"),
    [
        ((SECRET,), (SECRET, OTHER), SECRET),
        ((OTHER, SECRET), (SECRET,), SECRET),
        ((SECRET, OTHER), (OTHER, SECRET), OTHER),
    ],
)
def test_one_secret_in_common_is_enough(dialing: tuple[bytes, ...], listening: tuple[bytes, ...], by: bytes) -> None:
    """Given a secret that is being replaced, when two meet of whom one knows of it, then they come together."""
    near, far = meet(dialer(Keyring(dialing)), listener(Keyring(listening)))

    assert far.credential == by
    assert near.opener.open(far.sealer.seal(b"to a")) == b"to a"


def test_no_secret_in_common_is_refused() -> None:
    """Given two secrets each and none in common, when two meet, then the dialer is not known."""
    with pytest.raises(NotKnownError, match="secret"):
        meet(dialer(Keyring((SECRET, OTHER))), listener(Keyring((b"x" * 32, b"y" * 32))))


@pytest.mark.parametrize("secrets", [(), (b"fifteen bytes..",), (SECRET, b""), (SECRET, OTHER, b"z" * 32)])
def test_what_is_no_secret_is_refused(secrets: tuple[bytes, ...]) -> None:
    """Given no secret, a short one or too many, when they are to be used, then that is an error."""
    with pytest.raises(ConfigurationError, match="at least 16 bytes"):
        Keyring(secrets)


def test_a_token_is_as_good_as_a_secret() -> None:
    """Given a token, when its holder meets a node that has its digests, then each knows the other."""
    near, far = meet(dialer(TOKEN), listener(knowing()))

    assert far.credential == GRANT
    assert near.peer.node_id == "b"
    assert far.opener.open(near.sealer.seal(b"to b")) == b"to b"
    assert near.opener.open(far.sealer.seal(b"to a")) == b"to a"


@pytest.mark.parametrize(
    ("grant", "now", "why"),
    [
        (GRANT, 1_000, "has ended"),
        (msgspec.structs.replace(GRANT, revoked_at=400), 500, "was revoked"),
    ],
)
def test_a_token_that_is_over_is_refused(grant: Grant, now: int, why: str) -> None:
    """Given a token that was revoked or has ended, when its holder dials, then both are told so."""
    near = dialer(TOKEN)
    with pytest.raises(RefusingError, match=why) as refusing:
        meet(near, listener(knowing(grant, now)))
    with pytest.raises(PeerRefusedError, match="revoked or has ended"):
        near.receive(refusing.value.refusal)


def test_a_digest_is_no_token() -> None:
    """Given all that the database has of a token, when somebody dials with that in its place, then it is refused."""

    class Thief(Token, frozen=True):
        @property
        def client_key(self) -> bytes:
            return GRANT.server_key

        @property
        def stored_key(self) -> bytes:
            return GRANT.stored_key

        @property
        def server_key(self) -> bytes:
            return GRANT.server_key

    with pytest.raises(RefusingError, match="not one of this cluster"):
        meet(dialer(Thief(TOKEN.id, b"")), listener(knowing()))


def test_a_node_that_does_not_know_the_token_is_not_believed() -> None:
    """Given a false node, when it welcomes the holder of a token, then the holder goes."""
    false = knowing(msgspec.structs.replace(GRANT, server_key=bytes(32)))
    with pytest.raises(RefusingError, match="not one of this cluster"):
        meet(dialer(TOKEN), listener(false))


def test_a_token_makes_no_node() -> None:
    """Given a token, when its holder says that it is a node, then it is refused."""
    dialing = DialerHandshake(identity("a"), TOKEN, Limits(), (1, 1))
    with pytest.raises(PeerRefusedError, match="Nodes need the cluster's secret"):
        meet(dialing, listener(knowing()))


def test_a_reflected_greeting_is_no_greeting() -> None:
    """Given a dialer, when it gets its own words back, then it refuses them."""
    dialing = dialer()

    with pytest.raises(PeerRefusedError, match="step 1"):
        dialing.receive(dialing.start())


@pytest.mark.parametrize(("secret", "keys"), [(SECRET, Keyring((SECRET,))), (TOKEN, knowing())])
def test_a_recorded_conversation_is_worth_nothing(secret: bytes | Token, keys: Keyring) -> None:
    """Given every word of an honest dialer, when they are said again, then the listener's new nonce spoils them."""
    dialing, again = dialer(secret), listener(keys)
    proof = proven(dialing, listener(keys))

    again.receive(dialing.start())
    with pytest.raises(RefusingError, match=r"secret|not one of this cluster"):
        again.receive(proof)


@pytest.mark.parametrize(("secret", "keys"), [(SECRET, Keyring((SECRET,))), (TOKEN, knowing())])
def test_a_listener_cannot_be_played_from_a_record(secret: bytes | Token, keys: Keyring) -> None:
    """Given every word of an honest listener, when they are said again, then the dialer's new nonce spoils them."""
    listening = listener(keys)
    dialing, again = dialer(secret), dialer(secret)
    challenge, _ = listening.receive(dialing.start())
    proof, _ = dialing.receive(challenge)
    welcome, _ = listening.receive(proof or b"")

    again.start()
    again.receive(challenge)
    with pytest.raises(RefusingError, match=r"secret|not one of this cluster"):
        again.receive(welcome)


@pytest.mark.parametrize(("secret", "keys"), [(SECRET, Keyring((SECRET,))), (TOKEN, knowing())])
@pytest.mark.parametrize("step", ["hello", "challenge", "proof", "welcome"])
def test_no_byte_can_be_changed(secret: bytes | Token, keys: Keyring, step: str) -> None:
    """Given somebody in the middle, when any byte of any message is changed, then the two do not come together."""

    def spoiled(place: int) -> int:
        dialing, listening = dialer(secret), listener(keys)
        length = 0

        def through(name: str, message: bytes | None) -> bytes:
            nonlocal length
            data = bytearray(message or b"")
            if name == step:
                length = len(data)
                data[place] ^= 1
            return bytes(data)

        def talk() -> None:
            challenge, _ = listening.receive(through("hello", dialing.start()))
            proof, _ = dialing.receive(through("challenge", challenge))
            welcome, _ = listening.receive(through("proof", proof))
            dialing.receive(through("welcome", welcome))

        with pytest.raises(PeerRefusedError):
            talk()
        return length

    assert [spoiled(place) for place in range(1, spoiled(0))]


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
    """Given the longest allowed names, when two greet, then every message stays within its bound."""
    who = Identity(system="s" * 400, node_id="ü" * 200)
    keys = Keyring((SECRET, OTHER))
    dialing, listening = DialerHandshake(who, keys, Limits()), ListenerHandshake(who, keys, Limits())
    proof = proven(dialing, listening)
    welcome, _ = listening.receive(proof)

    assert max(len(proof), len(welcome)) <= MAX_HANDSHAKE_BYTES


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


def test_a_proof_is_checked_again_after_something_new_was_read() -> None:
    """Given a proof by what is not known yet, when the node has learned of it, then the same proof is right."""
    keys = Keyring((OTHER,))
    dialing, listening = dialer(), listener(keys)
    proof = proven(dialing, listening)
    with pytest.raises(NotKnownError):
        listening.receive(proof)
    keys.replace((OTHER, SECRET))

    assert listening.receive(proof)[1] is not None
