"""The cluster's secrets and the tokens as they stand in the database.

The row ``cluster`` of ``casty_secrets`` is the secret. While it is replaced the row ``cluster-next`` holds the new one,
and both are valid. Of a token ``casty_tokens`` keeps digests and what it allows; a row goes never, so that what stands
in the journal can be told from whom it came.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from casty_es.access import Grant, check_secrets, check_token_name
from casty_es.errors import CastyError, ConfigurationError, InvalidArgumentError, JournalUnavailableError
from casty_es.journal.damaged import in_calendar
from casty_es.journal.sql import SqlJournal
from casty_es.journal.sql_inspector import DENIED
from casty_es.printing import log_of

_LOG: Final = log_of("casty_es.access")

_SECRET_BYTES: Final = 32
_DIGEST_BYTES: Final = 32
_NEXT: Final = "cluster-next"

_SECRETS: Final = "SELECT name, value FROM casty_secrets WHERE name IN ('cluster', 'cluster-next') ORDER BY name DESC"
_COLUMNS: Final = "id, name, scopes, stored_key, server_key, created_at, ends_at, revoked_at"
_ID: Final = re.compile("[0-9a-f]{12}")
_TOKENS: Final = f"SELECT {_COLUMNS} FROM casty_tokens ORDER BY created_at, id"


class AccessTables:
    """Reads and changes them, in an open journal."""

    def __init__(self, journal: SqlJournal) -> None:
        self._journal = journal
        self._sign = "$" if journal.file is None else "?"

    async def secrets(self) -> tuple[bytes, ...]:
        """Return the secrets that are valid, the newest first.

        Raises ``ConfigurationError`` if there is none, it is none, this role may not read it, or it can be
        guessed.
        """
        rows = {name: _secret(name, value) for name, value in await self._read(_SECRETS, "the cluster's secret")}
        if "cluster" not in rows:
            raise ConfigurationError(
                "The journal has no cluster secret: casty_secrets has no row named 'cluster'. Nothing was started. "
                "Insert one of 32 random bytes, or give the secret with secret=."
            )
        return check_secrets(tuple(rows[name] for name in (_NEXT, "cluster") if name in rows), "casty_secrets")

    async def grants(self) -> list[Grant]:
        """Return every token that was ever made, the oldest first. What is none of ours is left out, and logged."""
        grants, wrong = await self.rows()
        for row in wrong:
            _LOG.warning("%s", row)
        return grants

    async def rows(self) -> tuple[list[Grant], list[str]]:
        """Return every token that was ever made, the oldest first, and what is said of rows that are none of ours."""
        found, wrong = [], []
        for row in await self._read(_TOKENS, "the tokens"):
            try:
                found.append(_grant(row))
            except (CastyError, msgspec.MsgspecError, RecursionError, ValueError, TypeError) as error:
                wrong.append(f"The row {ascii(row[0])[:80]} of casty_tokens is no token and lets nobody in: {error}")
        return found, wrong

    async def add(self, grant: Grant) -> None:
        """Write a token down."""
        fields = (
            grant.id,
            grant.name,
            msgspec.json.encode(grant.scopes).decode(),
            grant.stored_key,
            grant.server_key,
            grant.created_at,
            grant.ends_at,
        )
        signs = ", ".join(f"{self._sign}{number}" for number in range(1, len(fields) + 1))
        await self._journal.maintain([(f"INSERT INTO casty_tokens ({_COLUMNS}) VALUES ({signs}, NULL)", fields)])

    async def revoke(self, which: str, now: int) -> list[Grant]:
        """Revoke every valid token of a name, or the one of an id; return what was revoked, which is at least one."""
        meant = [grant for grant in await self.grants() if which in (grant.id, grant.name)]
        valid = [grant for grant in meant if grant.revoked_at is None]
        if not valid:
            what = "is revoked already" if meant else "is not there"
            raise InvalidArgumentError(f"The token {which[:80]!a} {what}. Nothing was done. See `casty-es token list`.")
        s = self._sign
        update = f"UPDATE casty_tokens SET revoked_at = {s}2 WHERE id = {s}1 AND revoked_at IS NULL"
        await self._journal.maintain([(update, (grant.id, now)) for grant in valid])
        return valid

    async def begin_rotation(self) -> bytes:
        """Let a new secret be valid beside the old one, and return it; twice gives the same one."""
        s = self._sign
        insert = (
            f"INSERT INTO casty_secrets (name, value) VALUES ({s}1, {s}2) ON CONFLICT (name) DO NOTHING",
            (_NEXT, secrets.token_bytes(_SECRET_BYTES)),
        )
        select = (f"SELECT value FROM casty_secrets WHERE name = {s}1", (_NEXT,))
        return _secret(_NEXT, (await self._journal.maintain([insert, select]))[1][0][0])

    async def end_rotation(self, *, keep_new: bool) -> None:
        """Let one secret of a rotation go: the old one, or the new one if that was not wanted after all."""
        s = self._sign
        new = f"SELECT value FROM casty_secrets WHERE name = {s}1"
        replace = f"UPDATE casty_secrets SET value = ({new}) WHERE name = 'cluster' AND EXISTS ({new})"
        delete = (f"DELETE FROM casty_secrets WHERE name = {s}1 RETURNING name", (_NEXT,))
        rows = await self._journal.maintain([(replace, (_NEXT,)), delete] if keep_new else [delete])
        if not rows[-1]:
            raise ConfigurationError(
                "No new secret is valid beside the old one. Nothing was done. Begin with `casty-es secret rotate`."
            )

    async def _read(self, statement: str, what: str) -> Sequence[Sequence[Any]]:
        try:
            return await self._journal.query(statement)
        except JournalUnavailableError as error:
            if getattr(error.__cause__, "sqlstate", None) != DENIED:
                raise
            raise ConfigurationError(
                f"This role may not read {what}. Nothing was done. Grant it what `casty-es db grants` prints, or give "
                f"the secret with secret=."
            ) from error


def _secret(name: str, value: object) -> bytes:
    if type(value) is not bytes:
        raise ConfigurationError(
            f"The secret {name!r} in casty_secrets is not bytes. Nothing was done. Replace it by 32 random bytes while "
            f"no node runs, or give the secret with secret=."
        )
    return value


def _grant(row: Sequence[Any]) -> Grant:
    """Return what a row says, if every field of it is what it must be."""
    fields = dict(zip(Grant.__struct_fields__, row, strict=True))
    fields["scopes"] = msgspec.json.decode(fields["scopes"])
    grant = msgspec.convert(fields, Grant, builtin_types=(bytes,))
    check_token_name(grant.name)
    if _ID.fullmatch(grant.id) is None:
        raise ValueError("its id is not of 12 hexadecimal digits")
    if {len(key) for key in (grant.stored_key, grant.server_key)} != {_DIGEST_BYTES}:
        raise ValueError("its digests do not have 32 bytes")
    if not all(time is None or in_calendar(time) for time in (grant.created_at, grant.ends_at, grant.revoked_at)):
        raise ValueError("no calendar has its times")
    return grant
