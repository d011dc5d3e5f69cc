"""What makes a Postgres server fit for leases and the journal, one small question each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from casty_es.errors import ConfigurationError
from casty_es.leases.lease_connection import OLDEST_VERSION, lease_settings

# The lock table is shared by everybody on the server; a quarter of it leaves room for their work.
_LOCK_SHARE: Final = 4
# The journal's two, the lease session, and one to spare.
_CONNECTIONS: Final = 4
# Below this a timeout that was set for others ends the journal's own work, not only its idle connections.
_SHORT_TIMEOUT_MS: Final = 10_000
_TIMEOUTS: Final = ("idle_session_timeout", "transaction_timeout", "idle_in_transaction_session_timeout")
_CLOCK_SECONDS: Final = 5.0
_DIRECT: Final = "Set session_url to a URL that reaches Postgres itself; the journal may keep the pooler's."


class Check(msgspec.Struct, frozen=True):
    """One thing that was looked at."""

    name: str  # what was looked at, in a word or two
    ok: bool  # whether it is well
    found: str
    advice: str = ""  # what to do if it is not well
    required: bool = True  # whether a node refuses to start over it


class Facts(msgspec.Struct, frozen=True):
    """What a connection was told."""

    row: Any  # the answer to one query, by name
    settings: dict[str, str]  # settings of its session, in the server's units
    version: int  # the server's major version
    skew: float  # how far the server's clock is ahead of ours, in seconds


def refuse(checks: Sequence[Check]) -> None:
    """Refuse to start over the first required check that is not well."""
    for check in checks:
        if check.required and not check.ok:
            raise ConfigurationError(
                f"{check.found}. Nothing was started. {check.advice}" if check.advice else check.found
            )


def version(leases: Facts) -> Check:
    """Whether the server knows the settings."""
    return Check(
        "version",
        leases.version >= OLDEST_VERSION,
        f"The server is Postgres {leases.version}",
        f"Use Postgres {OLDEST_VERSION} or later.",
    )


def pooler(wrong: str | None) -> Check:
    """Whether two connections are two sessions."""
    found = "connections are sessions of their own" if wrong is None else f"A connection pooler is in between: {wrong}"
    return Check("pooler", wrong is None, found, _DIRECT)


def primary(leases: Facts, journal: Facts) -> Check:
    """Whether the server may be written."""
    if leases.row["standby"] or journal.row["standby"]:
        return Check("primary", ok=False, found="The server is a standby", advice="Use the URL of the primary.")
    if not journal.row["may_write"]:
        return Check(
            "primary",
            ok=False,
            found="This role may not write the journal's tables",
            advice="`casty-es db grants --application ROLE` prints what to grant it.",
        )
    return Check("primary", ok=True, found="the server is a primary and the tables may be written")


def same_database(leases: Facts, journal: Facts) -> Check:
    """Whether leases and journal are in one place."""
    same = all(leases.row[name] == journal.row[name] for name in ("started", "database", "events"))
    found = "leases and journal are in one database" if same else "session_url and the journal's URL lead to two places"
    advice = "Let both name the same server and database, and roles with the same search_path."
    return Check("same database", same, found, advice)


def session_settings(leases: Facts, session_seconds: float) -> Check:
    """Whether a lease session's startup parameters took effect."""
    half = str(round(session_seconds * 500))
    wanted = {**lease_settings(session_seconds), "transaction_timeout": half}
    wrong = [
        f"{name} is {leases.settings[name]} and not {wanted[name]}"
        for name in wanted
        if name in leases.settings and leases.settings[name] != wanted[name]
    ]
    if not wrong:
        return Check("session settings", ok=True, found=f"a silent session ends after {session_seconds:g} s")
    return Check(
        "session settings",
        ok=False,
        found=f"What a lease session asked for at its start did not take effect: {', '.join(wrong)}",
        advice=f"A connection pooler drops such settings. {_DIRECT}",
    )


def durability(journal: Facts, *, required: bool) -> list[Check]:
    """Whether what is acknowledged survives a crash."""
    return [
        Check(
            name,
            journal.settings[name] != "off",
            f"{name} is {journal.settings[name]}",
            f"Set {name} to on for this server, database and role, or say unsafe_durability=True if losing "
            f"acknowledged operations is fine.",
            required,
        )
        for name in ("fsync", "full_page_writes", "synchronous_commit")
    ]


def lock_table(leases: Facts, slots: int) -> Check:
    """Whether there is room for a lock per slot."""
    transactions = int(leases.settings["max_connections"]) + int(leases.settings["max_prepared_transactions"])
    room = int(leases.settings["max_locks_per_transaction"]) * transactions
    return Check(
        "lock table",
        slots <= room // _LOCK_SHARE,
        f"{slots} slots are {slots} locks, and the server's lock table has room for {room}",
        f"Set max_locks_per_transaction to {-(-slots * _LOCK_SHARE // transactions)} or more and restart the server; "
        f"the slots shall fill at most a quarter of the table.",
    )


def connections(leases: Facts) -> Check:
    """Whether there is room for a node's connections."""
    names = ("superuser_reserved_connections", "reserved_connections")
    room = int(leases.settings["max_connections"]) - sum(int(leases.settings.get(name, 0)) for name in names)
    used = leases.row["clients"] - 2  # this look's own
    return Check(
        "connections",
        room - used >= _CONNECTIONS,
        f"{used} of the server's {room} connections are in use, and a node needs {_CONNECTIONS}",
        "Raise max_connections, or close connections of others.",
    )


def encoding(journal: Facts) -> Check:
    """Whether every text can be stored."""
    found = journal.settings["server_encoding"]
    advice = "Create the journal's database with ENCODING 'UTF8'."
    return Check("encoding", found == "UTF8", f"The database's encoding is {found}", advice)


def isolation(journal: Facts) -> Check:
    """Whether the journal's connections run at the level that the append was written for."""
    found = journal.settings["default_transaction_isolation"]
    advice = "A connection pooler drops their settings: let it pass default_transaction_isolation on."
    return Check("isolation", found == "read committed", f"The journal's isolation level is {found}", advice)


def timeouts(journal: Facts) -> Check:
    """Whether the journal's connections are ended by a timeout that was set for others."""
    short = [
        f"{name} is {journal.settings[name]} ms"
        for name in _TIMEOUTS
        if 0 < int(journal.settings.get(name, 0)) < _SHORT_TIMEOUT_MS
    ]
    return Check(
        "timeouts",
        not short,
        ", ".join(short) or "no short timeout ends the journal's connections",
        "Set it to 0 for the journal's role with ALTER ROLE. Otherwise its connections are opened again and again.",
        required=False,
    )


def clock(journal: Facts) -> Check:
    """Whether the server's clock and ours agree."""
    return Check(
        "clock",
        abs(journal.skew) < _CLOCK_SECONDS,
        f"the server's clock is {journal.skew:+.3f} s from this host's",
        "Let both hosts keep their clocks by NTP. Nothing rests on it but the times that people read.",
        required=False,
    )
