"""How two processes find out that both know the cluster's secret, before either decodes anything of the other.

::

    dialer                                                   listener
      | --- HELLO    versions, name, nonce -------------------> |  same versions? same system?
      | <-- WELCOME  versions, name, nonce, proof ------------- |
      | --- PROOF    proof -----------------------------------> |  proof right?
      | <-- READY    proof ------------------------------------ |

A proof is HMAC-SHA256 (RFC 2104), keyed by the secret, over who proves and over the whole HELLO and WELCOME. The nonces
make every conversation another one, so a recorded proof is worth nothing; the label makes each step another one, so
a reflected proof is worth nothing. Either side may send REFUSAL instead of its next message. The layout of the first
nine bytes never changes, so that any two versions can tell each other which ones they speak.
"""

from __future__ import annotations

import hmac
import secrets
import struct
from typing import Final, Literal
from uuid import UUID

import msgspec

from casty_es.errors import PeerRefusedError
from casty_es.transport.identity import Identity
from casty_es.transport.limits import Limits
from casty_es.transport.sealing import Opener, Sealer
from casty_es.transport.wire import PROTOCOL_VERSION

__all__ = ["MAX_HANDSHAKE_BYTES", "DialerHandshake", "Greeting", "ListenerHandshake", "RefusingError", "Session"]

MAX_HANDSHAKE_BYTES: Final = 1_024
OLDEST_VERSION: Final = 1

HELLO, WELCOME, PROOF, READY, REFUSAL = 1, 2, 3, 4, 5
OTHER_VERSION, OTHER_SYSTEM, OTHER_SECRET = 1, 2, 3

_MAGIC: Final = b"cast"
_PREFIX: Final = struct.Struct(">4sBHH")
_GREETING: Final = struct.Struct(">B32s16sIQ")
_LENGTH: Final = struct.Struct(">H")
_PROOF_BYTES: Final = 32
_ROLES: Final[tuple[Literal["node", "client"], ...]] = ("node", "client")


class Greeting(msgspec.Struct, frozen=True, gc=False):
    """HELLO or WELCOME, without its proof.

    ``bound`` is the longest answer that the dialer puts together, or the number of requests with credit that the
    listener lets it have open.
    """

    kind: int
    low: int
    high: int
    role: Literal["node", "client"]
    nonce: bytes
    process_id: str
    max_frame_bytes: int
    bound: int
    system: str
    node_id: str

    def encode(self) -> bytes:
        """Lay it out in bytes."""
        fixed = _GREETING.pack(
            _ROLES.index(self.role),
            self.nonce,
            UUID(hex=self.process_id).bytes,
            self.max_frame_bytes,
            min(self.bound, 2**63),
        )
        return _prefix(self.kind, self.low, self.high) + fixed + _text(self.system) + _text(self.node_id)


class Session(msgspec.Struct, frozen=True, gc=False):
    """What both sides know after a handshake."""

    peer: Greeting
    version: int
    sealer: Sealer
    opener: Opener


class RefusingError(PeerRefusedError):
    """The peer is refused, and is to be told so.

    Attributes
    ----------
    refusal : bytes
        What to send to it before closing.
    """

    def __init__(self, message: str, code: int, versions: tuple[int, int], system: str) -> None:
        super().__init__(message)
        self.refusal = _prefix(REFUSAL, *versions) + bytes([code]) + _text(system)


class _Handshake:
    def __init__(
        self, identity: Identity, secret: bytes, limits: Limits, versions: tuple[int, int], kind: int, bound: int
    ) -> None:
        self._secret = secret
        self._versions = versions
        self.mine = Greeting(
            kind,
            *versions,
            identity.role,
            secrets.token_bytes(32),
            identity.process_id,
            limits.max_frame_bytes,
            bound,
            identity.system,
            identity.node_id,
        )
        self._transcript = b""
        self._version = 0

    def _refusing(self, message: str, code: int) -> RefusingError:
        return RefusingError(message, code, self._versions, self.mine.system)

    def _expect(self, data: bytes, kind: int) -> bytes:
        """Read the prefix, and give what follows."""
        found, low, high, rest = _split(data)
        if found == REFUSAL:
            raise self._refused(low, high, rest)
        if found != kind:
            raise PeerRefusedError(f"The peer sent step {found} of the handshake where step {kind} belongs.")
        return rest

    def _meet(self, data: bytes, kind: int) -> bytes:
        """Read the prefix of a greeting, agree on a version, and give what follows."""
        rest = self._expect(data, kind)
        _, low, high, _ = _split(data)
        self._version = min(high, self._versions[1])
        if self._version < max(low, self._versions[0]):
            raise self._refusing(self._other_version(low, high), OTHER_VERSION)
        return rest

    def _refused(self, low: int, high: int, rest: bytes) -> PeerRefusedError:
        if rest[:1] == bytes([OTHER_VERSION]):
            return PeerRefusedError(self._other_version(low, high))
        if rest[:1] == bytes([OTHER_SYSTEM]):
            return PeerRefusedError(self._other_system(_take_text(rest, 1)[0]))
        if rest[:1] == bytes([OTHER_SECRET]):
            return PeerRefusedError(_DIFFER)
        return PeerRefusedError("The peer refused the handshake for a reason that this version does not know.")

    def _other_version(self, low: int, high: int) -> str:
        return (
            f"The peer speaks {_range(low, high)} of the protocol, this process speaks {_range(*self._versions)}. "
            "Install versions of casty-es that have one in common."
        )

    def _other_system(self, system: str) -> str:
        return (
            f"The peer belongs to the system {system!r}, this process to {self.mine.system!r}. Give both the same "
            "name, or dial a node of the own system."
        )

    def _proof(self, label: bytes) -> bytes:
        return hmac.digest(self._secret, b"casty-es " + label + b"\0" + self._transcript, "sha256")

    def _check(self, label: bytes, proof: bytes) -> None:
        if not hmac.compare_digest(self._proof(label), proof):
            raise self._refusing(_DIFFER, OTHER_SECRET)

    def _session(self, peer: Greeting, *, mine: bytes, theirs: bytes) -> Session:
        return Session(peer, self._version, Sealer(self._proof(mine)), Opener(self._proof(theirs)))


class DialerHandshake(_Handshake):
    """The side that connects."""

    def __init__(
        self,
        identity: Identity,
        secret: bytes,
        limits: Limits,
        versions: tuple[int, int] = (OLDEST_VERSION, PROTOCOL_VERSION),
    ) -> None:
        super().__init__(identity, secret, limits, versions, HELLO, limits.max_answer_bytes)
        self._peer: Greeting | None = None

    def start(self) -> bytes:
        """Give the first message."""
        return self.mine.encode()

    def receive(self, data: bytes) -> tuple[bytes | None, Session | None]:
        """Take the listener's next message; give what to send now, and the session once it is ready.

        Raises
        ------
        PeerRefusedError
            One of the two refuses the other; this one, if it is a ``RefusingError``.
        """
        if self._peer is None:
            rest = self._meet(data, WELCOME)
            self._peer = _greeting(WELCOME, data, rest[:-_PROOF_BYTES])
            if self._peer.system != self.mine.system:
                raise self._refusing(self._other_system(self._peer.system), OTHER_SYSTEM)
            self._transcript = self.mine.encode() + data[:-_PROOF_BYTES]
            self._check(b"listener", data[-_PROOF_BYTES:])
            return _prefix(PROOF, *self._versions) + self._proof(b"dialer"), None
        self._check(b"ready", self._expect(data, READY))
        return None, self._session(self._peer, mine=b"dialer's frames", theirs=b"listener's frames")


class ListenerHandshake(_Handshake):
    """The side that is connected to."""

    def __init__(
        self,
        identity: Identity,
        secret: bytes,
        limits: Limits,
        versions: tuple[int, int] = (OLDEST_VERSION, PROTOCOL_VERSION),
    ) -> None:
        super().__init__(identity, secret, limits, versions, WELCOME, limits.credits)
        self._peer: Greeting | None = None

    def receive(self, data: bytes) -> tuple[bytes, Session | None]:
        """Take the dialer's next message; give the answer to it, and the session once the dialer is known.

        Raises
        ------
        PeerRefusedError
            One of the two refuses the other; this one, if it is a ``RefusingError``.
        """
        if self._peer is None:
            peer = _greeting(HELLO, data, self._meet(data, HELLO))
            if peer.system != self.mine.system:
                raise self._refusing(self._other_system(peer.system), OTHER_SYSTEM)
            self._peer = peer
            welcome = self.mine.encode()
            self._transcript = data + welcome
            return welcome + self._proof(b"listener"), None
        self._check(b"dialer", self._expect(data, PROOF))
        session = self._session(self._peer, mine=b"listener's frames", theirs=b"dialer's frames")
        return _prefix(READY, *self._versions) + self._proof(b"ready"), session


_DIFFER: Final = (
    "The peer has another cluster secret than this process. Give both the same secret=, or let both read it from the "
    "journal of the system."
)
_MALFORMED: Final = (
    "What the peer sent is not a handshake of casty-es. Check the address: something else listens there."
)


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


def _greeting(kind: int, data: bytes, rest: bytes) -> Greeting:
    _, low, high, _ = _split(data)
    if len(rest) < _GREETING.size:
        raise PeerRefusedError(_MALFORMED)
    role, nonce, process_id, max_frame_bytes, bound = _GREETING.unpack_from(rest)
    system, after = _take_text(rest, _GREETING.size)
    node_id, after = _take_text(rest, after)
    if after != len(rest) or role >= len(_ROLES) or bound < 1:
        raise PeerRefusedError(_MALFORMED)
    process = UUID(bytes=process_id).hex
    return Greeting(kind, low, high, _ROLES[role], nonce, process, max_frame_bytes, bound, system, node_id)


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
