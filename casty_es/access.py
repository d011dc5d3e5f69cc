"""Tokens: what a holder may do, and what is kept of it, so that nobody can become the holder who reads that.

1. A token is an id and 32 random bytes. Whoever made it is shown it once. The database keeps two digests that are
   made of it, as SCRAM does (RFC 5802, section 3; no salt and no iterations, because nobody can guess 32 random bytes):
   one by which a proof is checked, one by which a node proves itself.
2. What a token allows never changes. Whoever shall do more or less is given another one.
3. A digest of the database is no proof. Somebody who has it *and* listens to a connection without TLS can make one.
"""

from __future__ import annotations

import base64
import fnmatch
import hmac
import re
import secrets
from hashlib import sha256
from typing import Final

import msgspec

from casty_es.domain.catalog import CATALOG
from casty_es.errors import ConfigurationError, InvalidArgumentError, InvalidTypeError
from casty_es.names import check_text

MIN_SECRET_BYTES: Final = 16
"""A secret below this can be found by trying, by whoever has seen one handshake."""

MAX_TOKEN_NAME_BYTES: Final = 100

_KEY_BYTES: Final = 32
_ID_BYTES: Final = 6
_FORM: Final = re.compile(rf"ces_([0-9a-f]{{{2 * _ID_BYTES}}})_([A-Za-z0-9_-]{{43}})")
_ANY: Final = "*"


def check_secret(secret: object) -> bytes:
    """Return a cluster's secret, or refuse what is not bytes, or fewer than 16 of them."""
    if not isinstance(secret, bytes):
        hint = ""
        if isinstance(secret, str):
            hint = " Of what `casty-es secret` prints, the bytes are bytes.fromhex(text)."
        raise InvalidTypeError(f"secret must be bytes, not {type(secret).__name__}. Nothing was started.{hint}")
    if len(secret) < MIN_SECRET_BYTES:
        raise InvalidArgumentError(
            f"secret has {len(secret)} bytes; it must have at least {MIN_SECRET_BYTES}, drawn at random, because a "
            f"shorter one can be guessed. Nothing was started. Make one with secrets.token_bytes(32), or use the "
            f"journal's: `casty-es secret` prints it, and `casty-es secret rotate` replaces it."
        )
    return secret


class Pattern(msgspec.Struct, frozen=True):
    """Structures that are meant: a kind, or ``*`` for all, and a name in which ``*`` and ``?`` stand for any text.

    Examples
    --------
    >>> Pattern.parse("counter/page-*").covers("counter", "page-views")
    True
    >>> Pattern.parse("*/users").covers("map", "users-archive")
    False
    """

    kind: str
    name: str

    @classmethod
    def parse(cls, text: str) -> Pattern:
        """Read ``KIND/NAME``; refuse a kind that is not there, and no name."""
        kind, _, name = text.partition("/")
        if kind not in {_ANY, *CATALOG} or not name:
            raise InvalidArgumentError(
                f"{text[:80]!a} is not KIND/NAME, where KIND is * or one of {', '.join(CATALOG)}, and NAME may hold *. "
                f"Nothing was done."
            )
        return cls(kind, check_text(name, "the pattern", 512))

    def covers(self, kind: str, name: str | None) -> bool:
        """Return whether a structure is meant; without a name, whether any structure of the kind may be."""
        return self.kind in {_ANY, kind} and (name is None or fnmatch.fnmatchcase(name, self.name.replace("[", "[[]")))

    def __str__(self) -> str:
        """Return ``KIND/NAME``."""
        return f"{self.kind}/{self.name}"


EVERYTHING: Final = Pattern(_ANY, _ANY)


class Scopes(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """What a token allows."""

    # The structures that may be read, and those that may be changed, which implies reading them.
    read: tuple[Pattern, ...] = ()
    write: tuple[Pattern, ...] = ()
    operate: bool = False  # whether the cluster itself may be looked at: hosts, processes and owners
    maintain: bool = False  # whether retention and redaction may be carried out on any structure

    def may_read(self, kind: str, name: str | None) -> bool:
        """Return whether a structure may be read."""
        return any(one.covers(kind, name) for one in (*self.read, *self.write))

    def may_write(self, kind: str, name: str) -> bool:
        """Return whether a structure may be changed."""
        return any(one.covers(kind, name) for one in self.write)

    def __str__(self) -> str:
        """Return them as people read them."""
        words = [f"{verb} {one}" for verb in ("read", "write") for one in getattr(self, verb)]
        return ", ".join([*words, *(word for word in ("operate", "maintain") if getattr(self, word))])


class Grant(msgspec.Struct, frozen=True):
    """What is kept of a token: a row of ``casty_tokens``."""

    id: str  # what stands in the token's text, and what its holder is called in the journal
    name: str
    scopes: Scopes  # what it allows
    stored_key: bytes  # digests of 32 bytes, by which the holder's proof is checked and the node's is made
    server_key: bytes
    created_at: int  # microseconds since 1970
    ends_at: int | None = None
    revoked_at: int | None = None

    def over(self, now: int) -> str | None:
        """Return why it is not valid at a time in microseconds, ``None`` if it is."""
        if self.revoked_at is not None:
            return "was revoked"
        return "has ended" if self.ends_at is not None and self.ends_at <= now else None


class Token(msgspec.Struct, frozen=True):
    """A token as its holder has it."""

    id: str
    key: bytes

    @classmethod
    def make(cls) -> Token:
        """Draw a new one."""
        return cls(secrets.token_hex(_ID_BYTES), secrets.token_bytes(_KEY_BYTES))

    @property
    def text(self) -> str:
        """The text that is given to the holder."""
        return f"ces_{self.id}_{base64.urlsafe_b64encode(self.key).decode().rstrip('=')}"

    @property
    def client_key(self) -> bytes:
        """What only the holder has, and shows to a node that has proven to know its digest already."""
        return hmac.digest(self.key, b"casty-es token holder", "sha256")

    @property
    def stored_key(self) -> bytes:
        """The digest by which a proof is checked."""
        return sha256(self.client_key).digest()

    @property
    def server_key(self) -> bytes:
        """What a node proves itself with."""
        return hmac.digest(self.key, b"casty-es token node", "sha256")

    def grant(self, name: str, scopes: Scopes, *, created_at: int, ends_at: int | None = None) -> Grant:
        """Return what is to be kept of it."""
        return Grant(self.id, name, scopes, self.stored_key, self.server_key, created_at, ends_at)

    def __repr__(self) -> str:
        """Return its id alone: this text may come into a log."""
        return f"Token({self.id!r})"


def parse_token(text: object) -> Token:
    """Return the token that a text is; what refuses one that is none says nothing of it.

    Examples
    --------
    >>> token = Token.make()
    >>> parse_token(token.text) == token
    True
    """
    if not isinstance(text, str):
        raise InvalidTypeError(
            f"token must be the text that `casty-es token create` printed, not {type(text).__name__}. Nothing was "
            f"started."
        )
    form = _FORM.fullmatch(text)
    if form is None:
        raise InvalidArgumentError(
            "token is not a text such as ces_0123456789ab_… with 43 letters, digits, - or _ in the end, as `casty-es "
            "token create` prints it. Nothing was started. Check that all of it was copied."
        )
    return Token(form[1], base64.urlsafe_b64decode(f"{form[2]}="))


def check_token_name(name: object) -> str:
    """Return the name of a token: it is read in logs, so it is printable and has no colon or blank."""
    plain = check_text(name, "the token's name", MAX_TOKEN_NAME_BYTES)
    if not plain.isprintable() or ":" in plain or " " in plain:
        raise InvalidArgumentError(
            "The token's name holds a blank, a colon or a control character. Nothing was made. Leave them out."
        )
    return plain


def check_secrets(secrets_: tuple[bytes, ...], where: str) -> tuple[bytes, ...]:
    """Return secrets that were read from somewhere; ``ConfigurationError`` for one of fewer than 16 bytes."""
    for secret in secrets_:
        if len(secret) < MIN_SECRET_BYTES:
            raise ConfigurationError(
                f"The cluster secret in {where} has {len(secret)} bytes; it must have at least {MIN_SECRET_BYTES}, "
                f"because a shorter one can be guessed from one handshake. Nothing was started. Replace it: `casty-es "
                f"secret rotate`, then `casty-es secret rotate --finish`."
            )
    return secrets_
