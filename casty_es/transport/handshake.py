"""How two processes find out that both know the cluster's secret, before either decodes anything of the other.

::

    dialer                                                   listener
      | --- HELLO      versions, nonce ---------------------> |  same versions?
      | <-- CHALLENGE  versions, nonce ---------------------- |
      | --- PROOF      name, proof -------------------------> |  proof right? same system?
      | <-- WELCOME    name, proof -------------------------- |

Whoever dials proves first: a stranger gets a nonce and nothing else, neither a name nor anything to try secrets on.

A proof is HMAC-SHA256 (RFC 2104), keyed by the secret, over who proves and over everything that was said before. The
nonces make every conversation another one, so a recorded proof is worth nothing; the label makes each step another
one, so a reflected proof is worth nothing. The holder of a token proves as SCRAM does (RFC 5802), by a key whose digest
alone is known to the node: neither what travels nor what is stored makes anybody the holder.

Either side may send REFUSAL instead of its next message. The layout of the first nine bytes never changes, so that any
two versions can tell each other which ones they speak.
"""

from __future__ import annotations

import hmac
import struct
from hashlib import sha256
from typing import Final, Literal
from uuid import UUID

import msgspec

from casty_es import runtime
from casty_es.access import Token
from casty_es.errors import PeerRefusedError
from casty_es.transport.identity import Identity
from casty_es.transport.keyring import MAX_SECRETS, Credential, Keyring, keyring
from casty_es.transport.limits import Limits
from casty_es.transport.sealing import Opener, Sealer
from casty_es.transport.wire import OLDEST_VERSION, PROTOCOL_VERSION

MAX_HANDSHAKE_BYTES: Final = 1_024

HELLO, WELCOME, PROOF, CHALLENGE, REFUSAL = 1, 2, 3, 6, 5
OTHER_VERSION, OTHER_SYSTEM, OTHER_SECRET, OTHER_TOKEN, TOKEN_OVER = 1, 2, 3, 4, 5

_MAGIC: Final = b"cast"
_PREFIX: Final = struct.Struct(">4sBHH")
_GREETING: Final = struct.Struct(">B16sIQ")
_LENGTH: Final = struct.Struct(">H")
_PROOF_BYTES: Final = 32
_NONCE_BYTES: Final = 32
_BY_TOKEN: Final = 0  # in place of a number of secrets
_ROLES: Final[tuple[Literal["node", "client"], ...]] = ("node", "client")


class Greeting(msgspec.Struct, frozen=True, gc=False):
    """What PROOF and WELCOME say of their sender.

    ``bound`` is the longest answer that the dialer puts together, or the number of requests with credit that the
    listener lets it have open.
    """

    role: Literal["node", "client"]
    process_id: str
    max_frame_bytes: int
    bound: int
    system: str
    node_id: str

    @classmethod
    def of(cls, identity: Identity, limits: Limits, bound: int) -> Greeting:
        """Return who a process is."""
        return cls(identity.role, identity.process_id, limits.max_frame_bytes, bound, identity.system, identity.node_id)

    def encode(self) -> bytes:
        """Lay it out in bytes."""
        fixed = _GREETING.pack(
            _ROLES.index(self.role), UUID(hex=self.process_id).bytes, self.max_frame_bytes, min(self.bound, 2**63)
        )
        return fixed + _text(self.system) + _text(self.node_id)


class Session(msgspec.Struct, frozen=True, gc=False):
    """What both sides know after a handshake; ``credential`` is what the dialer has proven itself by."""

    peer: Greeting
    version: int
    sealer: Sealer
    opener: Opener
    credential: Credential


class RefusingError(PeerRefusedError):
    """The peer is refused, and is to be told so: ``refusal`` is what to send to it before closing."""

    def __init__(self, message: str, code: int, versions: tuple[int, int], system: str = "") -> None:
        super().__init__(message)
        self.refusal = _prefix(REFUSAL, *versions) + bytes([code]) + _text(system)


class NotKnownError(RefusingError):
    """What the peer proved itself by is not known here. It may be newer than what was read of the journal."""


class _Handshake:
    def __init__(self, identity: Identity, limits: Limits, versions: tuple[int, int], bound: int) -> None:
        self._versions = versions
        self._system = identity.system
        self._nonce = runtime.unpredictable(_NONCE_BYTES)
        self.mine = Greeting.of(identity, limits, bound)
        self._transcript = b""
        self._version = 0

    def _refusing(self, message: str, code: int) -> RefusingError:
        return RefusingError(message, code, self._versions)

    def _expect(self, data: bytes, kind: int) -> bytes:
        """Read the prefix, and return what follows."""
        found, low, high, rest = _split(data)
        if found == REFUSAL:
            raise self._refused(low, high, rest)
        if found != kind:
            raise PeerRefusedError(f"The peer sent step {found} of the handshake where step {kind} belongs.")
        return rest

    def _meet(self, data: bytes, kind: int) -> None:
        """Read a message that has a nonce and nothing else, and agree on a version."""
        rest = self._expect(data, kind)
        _, low, high, _ = _split(data)
        self._version = min(high, self._versions[1])
        if self._version < max(low, self._versions[0]):
            raise self._refusing(self._other_version(low, high), OTHER_VERSION)
        if len(rest) != _NONCE_BYTES:
            raise PeerRefusedError(_MALFORMED)

    def _refused(self, low: int, high: int, rest: bytes) -> PeerRefusedError:
        if rest[:1] == bytes([OTHER_VERSION]):
            return PeerRefusedError(self._other_version(low, high))
        if rest[:1] == bytes([OTHER_SYSTEM]):
            return PeerRefusedError(self._other_system(_take_text(rest, 1)[0]))
        if rest[:1] in _REFUSALS:
            return PeerRefusedError(_REFUSALS[rest[:1]])
        return PeerRefusedError("The peer refused the handshake for a reason that this version does not know.")

    def _other_version(self, low: int, high: int) -> str:
        return (
            f"The peer speaks {_range(low, high)} of the protocol, this process speaks {_range(*self._versions)}. "
            "Install versions of casty-es that have one in common."
        )

    def _other_system(self, system: str) -> str:
        return (
            f"The peer belongs to the system {system!r}, this process to {self._system!r}. Give both the same "
            "name, or dial a node of the own system."
        )


class DialerHandshake(_Handshake):
    """The side that connects. It proves itself by every secret that it knows, or by a token."""

    def __init__(
        self,
        identity: Identity,
        secret: bytes | Token | Keyring,
        limits: Limits,
        versions: tuple[int, int] = (OLDEST_VERSION, PROTOCOL_VERSION),
    ) -> None:
        super().__init__(identity, limits, versions, limits.max_answer_bytes)
        keys = keyring(secret)
        self._keys: Token | tuple[bytes, ...] = keys if isinstance(keys, Token) else keys.secrets
        self._proven = False

    def start(self) -> bytes:
        """Return the first message."""
        return _prefix(HELLO, *self._versions) + self._nonce

    def receive(self, data: bytes) -> tuple[bytes | None, Session | None]:
        """Take the listener's next message; return what to send now, and the session once it is ready.

        Raises ``PeerRefusedError`` if one refuses the other; if it is this one, as a ``RefusingError``.
        """
        if not self._proven:
            self._meet(data, CHALLENGE)
            self._proven = True
            return self._proof(data), None
        rest = self._expect(data, WELCOME)
        peer, after = _take_greeting(rest, 0)
        if after + _PROOF_BYTES != len(rest):
            raise PeerRefusedError(_MALFORMED)
        transcript, proof = self._transcript + data[:-_PROOF_BYTES], data[-_PROOF_BYTES:]
        if isinstance(self._keys, Token):
            if not hmac.compare_digest(_code(self._keys.server_key, b"listener", transcript), proof):
                raise self._refusing(_FOREIGN, OTHER_TOKEN)
            shared, credential = self._keys.client_key + self._keys.server_key, b""
        else:
            shared = credential = _knowing(self._keys, b"listener", transcript, [proof]) or b""
            if not credential:
                raise self._refusing(_DIFFER, OTHER_SECRET)
        if peer.system != self._system:
            raise self._refusing(self._other_system(peer.system), OTHER_SYSTEM)
        mine, theirs = _code(shared, b"dialer's frames", transcript), _code(shared, b"listener's frames", transcript)
        return None, Session(peer, self._version, Sealer(mine), Opener(theirs), credential)

    def _proof(self, challenge: bytes) -> bytes:
        opening = _prefix(PROOF, *self._versions) + self.mine.encode()
        if isinstance(self._keys, Token):
            said = opening + bytes([_BY_TOKEN]) + _text(self._keys.id)
            self._transcript = self.start() + challenge + said
            mask = _code(self._keys.stored_key, b"dialer", self._transcript)
            return said + _xor(self._keys.client_key, mask)
        said = opening + bytes([len(self._keys)])
        self._transcript = self.start() + challenge + said
        return said + b"".join(_code(secret, b"dialer", self._transcript) for secret in self._keys)


class ListenerHandshake(_Handshake):
    """The side that is connected to."""

    def __init__(
        self,
        identity: Identity,
        secret: bytes | Keyring,
        limits: Limits,
        versions: tuple[int, int] = (OLDEST_VERSION, PROTOCOL_VERSION),
    ) -> None:
        super().__init__(identity, limits, versions, limits.credits)
        self._keyring = Keyring((secret,)) if isinstance(secret, bytes) else secret
        self._said = b""

    def receive(self, data: bytes) -> tuple[bytes, Session | None]:
        """Take the dialer's next message; return the answer to it, and the session once the dialer is known.

        Raises ``NotKnownError`` if the dialer's proof is wrong as far as is known here: the same message may be
        tried again after the journal was asked for what is new. Otherwise as :meth:`DialerHandshake.receive`.
        """
        if not self._said:
            self._meet(data, HELLO)
            challenge = _prefix(CHALLENGE, *self._versions) + self._nonce
            self._said = data + challenge
            return challenge, None
        rest = self._expect(data, PROOF)
        peer, after = _take_greeting(rest, 0)
        if after >= len(rest):
            raise PeerRefusedError(_MALFORMED)
        check = self._by_token if rest[after] == _BY_TOKEN else self._by_secret
        transcript, credential, shared, key = check(data, rest, after + 1)
        if peer.system != self._system:
            raise RefusingError(self._other_system(peer.system), OTHER_SYSTEM, self._versions, self._system)
        if not isinstance(credential, bytes) and peer.role != "client":
            raise PeerRefusedError("The peer has a token and wants to be a node. Nodes need the cluster's secret.")
        welcome = _prefix(WELCOME, *self._versions) + self.mine.encode()
        transcript += welcome
        mine, theirs = _code(shared, b"listener's frames", transcript), _code(shared, b"dialer's frames", transcript)
        session = Session(peer, self._version, Sealer(mine), Opener(theirs), credential)
        return welcome + _code(key, b"listener", transcript), session

    def _by_secret(self, data: bytes, rest: bytes, after: int) -> tuple[bytes, Credential, bytes, bytes]:
        number, proofs = rest[after - 1], rest[after:]
        if number > MAX_SECRETS or len(proofs) != number * _PROOF_BYTES:
            raise PeerRefusedError(_MALFORMED)
        transcript = self._said + data[: -len(proofs)]
        given = [proofs[start : start + _PROOF_BYTES] for start in range(0, len(proofs), _PROOF_BYTES)]
        secret = _knowing(self._keyring.secrets, b"dialer", transcript, given)
        if secret is None:
            raise NotKnownError(_DIFFER, OTHER_SECRET, self._versions)
        return transcript, secret, secret, secret

    def _by_token(self, data: bytes, rest: bytes, after: int) -> tuple[bytes, Credential, bytes, bytes]:
        id_, after = _take_text(rest, after)
        if len(rest) - after != _PROOF_BYTES:
            raise PeerRefusedError(_MALFORMED)
        transcript, proof = self._said + data[:-_PROOF_BYTES], data[-_PROOF_BYTES:]
        grant = self._keyring.grants.get(id_)
        if grant is None:
            raise NotKnownError(_FOREIGN, OTHER_TOKEN, self._versions)
        client_key = _xor(proof, _code(grant.stored_key, b"dialer", transcript))
        if not hmac.compare_digest(sha256(client_key).digest(), grant.stored_key):
            raise self._refusing(_FOREIGN, OTHER_TOKEN)
        why = self._keyring.over(grant)
        if why is not None:
            raise self._refusing(f"The peer {why}.", TOKEN_OVER)
        return transcript, grant, client_key + grant.server_key, grant.server_key


_DIFFER: Final = (
    "The peer has another cluster secret than this process. Give both the same secret=, or let both read it from the "
    "journal of the system."
)
_FOREIGN: Final = (
    "The token is not one of this cluster. Check that it was copied whole, and that it is for this journal: `casty-es "
    "token list` shows those that there are."
)
_OVER: Final = (
    "The token was revoked or has ended. `casty-es token list` shows when, `casty-es token create` makes another one."
)
_REFUSALS: Final = {bytes([OTHER_SECRET]): _DIFFER, bytes([OTHER_TOKEN]): _FOREIGN, bytes([TOKEN_OVER]): _OVER}
_MALFORMED: Final = (
    "What the peer sent is not a handshake of casty-es. Check the address: something else listens there."
)


def _code(key: bytes, label: bytes, transcript: bytes) -> bytes:
    return hmac.digest(key, b"casty-es " + label + b"\0" + transcript, "sha256")


def _knowing(known: tuple[bytes, ...], label: bytes, transcript: bytes, proofs: list[bytes]) -> bytes | None:
    """Return the first secret that one of these proofs is made with."""
    for secret in known:
        expected = _code(secret, label, transcript)
        if any(hmac.compare_digest(expected, proof) for proof in proofs):
            return secret
    return None


def _xor(one: bytes, other: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(one, other, strict=True))


def _prefix(kind: int, low: int, high: int) -> bytes:
    return _PREFIX.pack(_MAGIC, kind, low, high)


def _range(low: int, high: int) -> str:
    return f"version {low}" if low == high else f"versions {low} to {high}"


def _split(data: bytes) -> tuple[int, int, int, bytes]:
    if not _PREFIX.size <= len(data) <= MAX_HANDSHAKE_BYTES:
        raise PeerRefusedError(_MALFORMED)
    magic, kind, low, high = _PREFIX.unpack_from(data)
    if magic != _MAGIC or low > high:
        raise PeerRefusedError(_MALFORMED)
    return kind, low, high, data[_PREFIX.size :]


def _take_greeting(rest: bytes, start: int) -> tuple[Greeting, int]:
    if len(rest) < start + _GREETING.size:
        raise PeerRefusedError(_MALFORMED)
    role, process_id, max_frame_bytes, bound = _GREETING.unpack_from(rest, start)
    system, after = _take_text(rest, start + _GREETING.size)
    node_id, after = _take_text(rest, after)
    if role >= len(_ROLES) or bound < 1:
        raise PeerRefusedError(_MALFORMED)
    return Greeting(_ROLES[role], UUID(bytes=process_id).hex, max_frame_bytes, bound, system, node_id), after


def _text(text: str) -> bytes:
    data = text.encode()
    return _LENGTH.pack(len(data)) + data


def _take_text(data: bytes, start: int) -> tuple[str, int]:
    begin = start + _LENGTH.size
    if begin > len(data):
        raise PeerRefusedError(_MALFORMED)
    end = begin + int(_LENGTH.unpack_from(data, start)[0])
    if end > len(data):
        raise PeerRefusedError(_MALFORMED)
    try:
        return data[begin:end].decode(), end
    except UnicodeDecodeError as error:
        raise PeerRefusedError(_MALFORMED) from error
