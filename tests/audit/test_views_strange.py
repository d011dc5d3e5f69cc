"""No record can make a view fail: what cannot be read is NULL, on both databases alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from casty_es.journal.urls import is_sqlite
from casty_es.journal.views import VIEWS

Sql = Callable[..., list[tuple[Any, ...]]]

HUGE = "9" * 4_000
DIGEST = "0123456789abcdef" * 4

# What stands in the journal, and the columns that are read from it: for a map, its value and its previous value.
VALUES = [
    ('{"value":1}', "1", None),
    ('{"value":null}', "null", None),
    ('{"value":"a\\u0000b"}', '"a\\u0000b"', None),
    ('{"value":"a\\u0000b","previous":"\\u0000"}', '"a\\u0000b"', '"\\u0000"'),
    ('{"value":"\\\\u0000 is text"}', '"\\\\u0000 is text"', None),
    ('{"value":"\\ud83d"}', '"\\ud83d"', None),
    ('{"value":"\\ud83d\\ude00","previous":"é😀"}', '"\\ud83d\\ude00"', '"é😀"'),
    (f'{{"value":{HUGE},"previous":-{HUGE}}}', HUGE, f"-{HUGE}"),
    ('{"value":1.50e+3}', "1.50e+3", None),
    ('{"value":{"previous":[1,{"value":2}]},"previous":3}', '{"previous":[1,{"value":2}]}', "3"),
    ('{"value":{"a":1,"a":2}}', '{"a":1,"a":2}', None),
    (f'{{"value":{"[" * 200}{"]" * 200}}}', f"{'[' * 200}{']' * 200}", None),
    ('{"value":1,"value":2}', None, None),
    ('{"value":1,"previous":2,"previous":3}', "1", None),
    ('{"value":1,"\\u0076alue":2}', None, None),
    ('{"value":NaN}', None, None),
    ('{"value":1', None, None),
    ('{"value":1} {"value":2}', None, None),
    ("", None, None),
    ("null", None, None),
    ("[1]", None, None),
    ('"value"', None, None),
    ("'; DROP TABLE casty_events; --", None, None),
    (f'{{"redacted":"{DIGEST}"}}', None, None),
    (f'{{"redacted":"{DIGEST.upper()}"}}', None, None),
    (f'{{"redacted":"{DIGEST}","value":1}}', "1", None),
]

# For a lock: its owner and its token.
TEXTS = [
    ('{"owner":"a","request":"r","token":7}', "a", 7),
    ('{"owner":"a\\n\\"\\\\\\u0001é\\u00e9","request":"r","token":0}', 'a\n"\\\x01éé', 0),
    ('{"owner":"C:\\\\udata \\\\u0000","request":"r","token":1}', "C:\\udata \\u0000", 1),
    ('{"owner":"\\u0000","request":"r","token":1}', None, 1),
    ('{"owner":"\\udc00","request":"r","token":1}', None, 1),
    ('{"owner":"\\ud83d\\ude00","request":"r","token":1}', None, 1),
    ('{"owner":7,"request":"r","token":"7"}', None, None),
    ('{"owner":null,"request":"r","token":null}', None, None),
    ('{"owner":["a"],"request":"r","token":1.0}', None, None),
    (f'{{"owner":"a","request":"r","token":{10**18 - 1}}}', "a", 10**18 - 1),
    (f'{{"owner":"a","request":"r","token":{10**18}}}', "a", None),
    (f'{{"owner":"a","request":"r","token":{2**63}}}', "a", None),
    (f'{{"owner":"a","request":"r","token":{HUGE}}}', "a", None),
    ('{"owner":"a","request":"r","token":-1}', "a", None),
]

# For a counter: its amount and its value.
NUMBERS = [
    (f'{{"amount":{HUGE},"value":-{HUGE}}}', HUGE, f"-{HUGE}"),
    ('{"amount":0,"value":1.5}', "0", None),
    ('{"amount":"1","value":1e3}', None, None),
    ('{"amount":true,"value":null}', None, None),
]


def stored(url: str, sql: Sql, kind: str, payloads: list[str]) -> None:
    """Put payloads behind the library's back, as events of one structure."""
    zeros = "zeroblob(32)" if is_sqlite(url) else "decode(repeat('00', 32), 'hex')"
    alive = "1" if is_sqlite(url) else "true"
    rows = ", ".join(
        f"(0, {n}, 1, 1, {n}, '{kind}.strange', 1, '{quoted(payload)}', '{quoted(payload)}', {n}, {zeros})"
        for n, payload in enumerate(payloads, 1)
    )
    columns = "slot, position, epoch, entity, sequence, type, version, payload, metadata, recorded_at, hash"
    key = "s:k" if kind == "map" else ""
    sql(
        url,
        "INSERT INTO casty_entities (id, slot, kind, name, key, alive) "
        f"VALUES (1, 0, '{kind}', 'strange', '{key}', {alive})",
        f"INSERT INTO casty_events ({columns}) VALUES {rows}",
    )


def unguarded(url: str) -> str:
    """Return the statement that lets a session change events."""
    return "UPDATE casty_meta SET maintenance = 1" if is_sqlite(url) else "SET casty_es.maintenance = 'on'"


def quoted(text: str) -> str:
    """Return a text as it stands between quotes in SQL."""
    return text.replace("'", "''")


@pytest.mark.parametrize(
    ("kind", "columns", "cases"),
    [("map", "value, previous", VALUES), ("lock", "owner, token", TEXTS), ("counter", "amount, value", NUMBERS)],
)
def test_strange_payloads(kind: str, columns: str, cases: list[Any], journal_url: str, sql: Sql) -> None:
    """Given payloads of every strange form, when a view is read, then each gives what can be read, and else NULL."""
    stored(journal_url, sql, kind, [payload for payload, *_ in cases])
    rows = sql(journal_url, f"SELECT payload, {columns} FROM casty_{kind}_history ORDER BY sequence")
    assert rows == cases


def test_redacted_is_only_what_a_redaction_left(journal_url: str, sql: Sql) -> None:
    """Given payloads like a redacted one, when the history is read, then only a redaction's own is said to be one."""
    stored(journal_url, sql, "map", [payload for payload, *_ in VALUES])
    rows = sql(journal_url, "SELECT payload FROM casty_history WHERE redacted")
    assert rows == [(f'{{"redacted":"{DIGEST}"}}',)]


@pytest.mark.parametrize("time", [-(2**63), -1, 0, 253_402_300_799_999_999, 253_402_300_800_000_000, 2**63 - 1])
def test_impossible_times(time: int, journal_url: str, sql: Sql) -> None:
    """Given a time that no calendar has, when the view is read, then it is NULL, and the number is there as it is."""
    stored(journal_url, sql, "counter", ['{"amount":1,"value":1}'])
    sql(journal_url, unguarded(journal_url), f"UPDATE casty_events SET recorded_at = {time}")
    rows = sql(journal_url, "SELECT recorded_at IS NULL, recorded_at_us FROM casty_history")
    assert [(bool(missing), number) for missing, number in rows] == [(not 0 <= time < 253_402_300_800_000_000, time)]


def test_every_view_reads_every_strange_record(journal_url: str, sql: Sql) -> None:
    """Given strange payloads under the types that views look for, when each is read whole, then none fails."""
    payloads = [payload for payload, *_ in (*VALUES, *TEXTS, *NUMBERS)]
    stored(journal_url, sql, "lock", payloads)
    for type_ in ("lock.requested", "lock.granted", "lock.released", "entity.redacted", "entity.sealed"):
        sql(journal_url, unguarded(journal_url), f"UPDATE casty_events SET type = '{type_}'")
        sql(journal_url, "UPDATE casty_entities SET salted_from = 1")
        for view in VIEWS:
            sql(journal_url, f"SELECT * FROM {view}")
    assert sql(journal_url, "SELECT count(*) FROM casty_history") == [(len(payloads),)]
    assert sql(journal_url, "SELECT count(*) FROM casty_lock_history") == [(len(payloads),)]
