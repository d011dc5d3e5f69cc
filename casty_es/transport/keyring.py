"""What a process knows to prove itself, and to check others by: one secret or two, and the grants of tokens.

While a secret is replaced two are valid. A dialer proves that it knows each of its own, and a listener takes the first
of its own that was proven: two processes come together as long as they have one in common.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from casty_es import runtime
from casty_es.access import MIN_SECRET_BYTES, Grant, Token
from casty_es.errors import ConfigurationError

MAX_SECRETS: Final = 2

Credential = bytes | Grant
"""What the process at the other end has proven itself by: a secret, or a token."""


class Keyring:
    """The secrets and grants that are valid now.

    While the cluster's secret is replaced it has the new one and the old one. ``now`` is the clock by which tokens
    end, in microseconds since 1970; ``reread`` looks whether there is something new, and is called when a proof is
    wrong.
    """

    def __init__(self, secrets: tuple[bytes, ...], now: Callable[[], int] | None = None) -> None:
        self.grants: Mapping[str, Grant] = {}  # by id
        self.reread: Callable[[], Awaitable[None]] | None = None
        self._now = now or runtime.wall_clock
        self.secrets = secrets
        self.replace(secrets)

    def replace(self, secrets: tuple[bytes, ...]) -> None:
        """Let these secrets be valid, and no other.

        If there are none, too many, or one is too short, those that were valid stay so.
        """
        if not 1 <= len(secrets) <= MAX_SECRETS or min(map(len, secrets)) < MIN_SECRET_BYTES:
            raise ConfigurationError(
                f"A cluster secret has at least {MIN_SECRET_BYTES} bytes, drawn at random, and at most {MAX_SECRETS} "
                f"are valid at once. These have {', '.join(str(len(one)) for one in secrets) or 'none'}. Nothing was "
                f"started."
            )
        self.secrets = secrets

    def over(self, credential: Credential) -> str | None:
        """Return why a credential is not valid any more, ``None`` if it is."""
        if isinstance(credential, bytes):
            return None if credential in self.secrets else "proved itself by a cluster secret that was replaced since"
        grant = self.grants.get(credential.id)
        if grant is None:
            return f"has the token {credential.name!r}, which is not among those that this node could read"
        why = grant.over(self._now())
        return None if why is None else f"has the token {grant.name!r}, which {why}"


def keyring(given: bytes | Token | Keyring) -> Token | Keyring:
    """Return what a process proves itself by, from a secret alone or as it is."""
    return Keyring((given,)) if isinstance(given, bytes) else given
