"""What Postgres warns of while an append runs: which warnings leave its outcome open, and what is said of the others.

A commit whose wait for a synchronous standby is cancelled is reported as a success, with a warning. The server names
the function of its source that warned, whatever language it speaks and however little it logs: ``SyncRepWaitForLSN``,
in Postgres 15 and 18 alike. Every other warning is about something else, such as a trigger of the operator's, or
transaction ids that run short: the append ended as the server says it did.

A warning without a function came from something that is not Postgres, and counts as doubt.
"""

from __future__ import annotations

import re
import time
from typing import Final

import asyncpg

from casty_es.printing import log_of

_LOG: Final = log_of("casty_es.journal")

_WAIT_FOR_STANDBY: Final = "SyncRepWaitForLSN"

_QUIET_SECONDS: Final = 60.0
# Different texts that are remembered; a trigger may make up one for every row.
_TEXTS: Final = 100
_NUMBER: Final = re.compile(r"\d+")


class Warned:
    """Hears the warnings of the connection that appends.

    ``doubt`` is the one that leaves the outcome of the append that runs open.
    """

    def __init__(self) -> None:
        self.doubt: str | None = None
        self._said: dict[str, float] = {}

    def __call__(self, _connection: object, message: asyncpg.PostgresLogMessage) -> None:
        """Take what the driver hands on."""
        if message.severity_en != "WARNING":
            return
        if message.server_source_function in {None, _WAIT_FOR_STANDBY}:
            self.doubt = str(message)
        else:
            self._say(message)

    def _say(self, message: asyncpg.PostgresLogMessage) -> None:
        """Log a warning, each text once a minute; those that differ in a number are one text."""
        now = time.monotonic()
        text = _NUMBER.sub("0", str(message.message))
        if now - self._said.get(text, -_QUIET_SECONDS) < _QUIET_SECONDS:
            return
        self._said = {text: at for text, at in self._said.items() if now - at < _QUIET_SECONDS}
        if len(self._said) < _TEXTS:
            self._said[text] = now
            _LOG.warning(
                "Postgres warns during appends, which are committed all the same: %s (%s, %s). The same is not said "
                "again for a minute.",
                message.message,
                message.sqlstate,
                message.server_source_function,
            )
