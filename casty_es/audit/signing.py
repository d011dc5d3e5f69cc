"""Ed25519 keys and signatures (RFC 8032), by the package ``cryptography``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from casty_es.errors import ConfigurationError, InvalidValueError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_MISSING = (
    "The package cryptography is not installed, and signatures need it. Nothing was done. Install it with "
    "`pip install 'casty-es[anchor]'`."
)


def new_key() -> bytes:
    """Make a private key, as PEM. Keep it where nobody who writes the journal can read it."""
    try:
        from cryptography.hazmat.primitives import serialization  # noqa: PLC0415 - an extra
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415 - likewise
    except ImportError as error:
        raise ConfigurationError(_MISSING) from error
    return Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def public_key_of(key: bytes) -> bytes:
    """Return the public key of a private Ed25519 key in PEM, 32 bytes."""
    return _private(key).public_key().public_bytes_raw()


def public_key_pem(public_key: bytes) -> str:
    """Return a public key as PEM."""
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415 - an extra
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # noqa: PLC0415 - likewise

    made = Ed25519PublicKey.from_public_bytes(public_key)
    return made.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()


def read_public_key(pem: bytes) -> bytes:
    """Return a public Ed25519 key, 32 bytes, from its PEM."""
    try:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # noqa: PLC0415 - an extra
        from cryptography.hazmat.primitives.serialization import load_pem_public_key  # noqa: PLC0415 - likewise
    except ImportError as error:
        raise ConfigurationError(_MISSING) from error
    try:
        key = load_pem_public_key(pem)
    except ValueError as error:
        raise InvalidValueError(f"This is no public key in PEM: {error}. Nothing was done.") from error
    if not isinstance(key, Ed25519PublicKey):
        raise InvalidValueError("This public key is not an Ed25519 key. Nothing was done.")
    return key.public_bytes_raw()


def sign(key: bytes, message: bytes) -> bytes:
    """Return the signature of a message, 64 bytes."""
    return _private(key).sign(message)


def signed_by(public_key: bytes, signature: bytes, message: bytes) -> bool:
    """Return whether a signature is that key's over that message."""
    try:
        from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 - an extra
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # noqa: PLC0415 - likewise
    except ImportError as error:
        raise ConfigurationError(_MISSING) from error
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def _private(key: bytes) -> Ed25519PrivateKey:
    try:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415 - an extra
        from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415 - likewise
    except ImportError as error:
        raise ConfigurationError(_MISSING) from error
    try:
        loaded = load_pem_private_key(key, password=None)
    except (ValueError, TypeError) as error:
        raise InvalidValueError(
            f"This is no private key in PEM without a password: {error}. Nothing was done."
        ) from error
    if not isinstance(loaded, Ed25519PrivateKey):
        raise InvalidValueError("This private key is not an Ed25519 key. Nothing was done.")
    return loaded
