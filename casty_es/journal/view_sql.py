"""How the views read a payload: the same rules on both databases, and no row that can make a query fail.

1. A payload is somebody's text until it is read: what is no JSON object, or has a member twice, gives NULL.
2. A text with an escape that is no character (NUL, half of a surrogate pair) anywhere in its payload gives NULL:
   Postgres can hold neither, and SQLite would cut the one and hand out the other as broken UTF-8. A user's value is
   never unescaped: it is given as the JSON text that was stored, so any value can be read.
3. A counter has up to 4,000 digits, and no number type holds that on both databases: it is given as text.
4. A time out of the range of years that both databases can write gives NULL.

Postgres knows no test for JSON before its version 16, and its functions refuse the escape for NUL: the function
``casty_member`` catches what they raise. SQLite can ask ``json_valid`` first, so there it is an expression.
"""

from __future__ import annotations

from typing import Final, Protocol

_LAST_TIME: Final = 253_402_300_799_999_999  # the end of the year 9999, in microseconds
_EPOCH: Final = "to_timestamp(0)"

# `->` takes the last of two members of one name and says nothing. `json_each` shows both and takes three times as long,
# so it is asked only where the name may stand twice. A payload with escapes that Postgres cannot turn into text is read
# with others of the same length in their place, and what is found there is cut out of the original: only users' values
# have such escapes, and they stand first in their payload or last.
POSTGRES_FUNCTION: Final = r"""
CREATE FUNCTION casty_member(payload text, name text, form text) RETURNS text
LANGUAGE plpgsql IMMUTABLE STRICT SET search_path = pg_catalog AS $body$
DECLARE
    strange boolean := replace(payload, '\\', '') ~ '\\u(0000|[dD][89a-fA-F])';
    readable text := payload;
    quoted text := '"' || name || '"';
    members bigint := 1;
    found text;
BEGIN
    IF strange THEN
        readable := regexp_replace(payload, '\\u(0000|[dD][89a-fA-F][0-9a-fA-F]{2})', '\\u0001', 'g');
    END IF;
    found := readable::json -> name;
    IF found IS NULL THEN
        RETURN NULL;
    END IF;
    IF strpos(readable, '\u') > 0
        OR strpos(substr(readable, strpos(readable, quoted) + length(quoted)), quoted) > 0
    THEN
        SELECT count(*) INTO members FROM json_each(readable::json) AS m WHERE m.key = name;
    END IF;
    IF members <> 1 THEN
        RETURN NULL;
    ELSIF form = 'text' THEN
        RETURN CASE WHEN NOT strange AND left(found, 1) = '"' THEN found::json #>> '{}' END;
    ELSIF form = 'number' THEN
        RETURN substring(found from '^[0-9]{1,18}$');
    ELSIF form = 'digits' THEN
        RETURN substring(found from '^-?[0-9]+$');
    ELSIF NOT strange THEN
        RETURN found;
    ELSIF starts_with(readable, '{"' || name || '":' || found) THEN
        RETURN substr(payload, length(name) + 5, length(found));
    ELSIF right(readable, length(found) + 1) = found || '}' THEN
        RETURN substr(payload, length(payload) - length(found), length(found));
    END IF;
    RETURN NULL;
EXCEPTION WHEN OTHERS THEN
    RETURN NULL;
END
$body$""".strip()


class Dialect(Protocol):
    """The expressions of one database. ``text`` is the column that holds JSON, ``name`` the member that is meant."""

    def json(self, text: str, name: str) -> str:
        """Return a member as the JSON text that was stored."""

    def text(self, text: str, name: str) -> str:
        """Return a string as text."""

    def number(self, text: str, name: str) -> str:
        """Return a whole number from 0 to 10**18 - 1."""

    def digits(self, text: str, name: str) -> str:
        """Return a whole number of any size, as text."""

    def redacted(self, text: str) -> str:
        """Return whether a redaction put a digest there."""

    def time(self, column: str) -> str:
        """Return microseconds since 1970 as a time."""

    def uuid(self, column: str) -> str:
        """Return 16 bytes as people write a UUID."""


class Postgres:
    """Postgres 14 and later."""

    def json(self, text: str, name: str) -> str:
        return f"casty_member({text}, '{name}', 'json')"

    def text(self, text: str, name: str) -> str:
        return f"casty_member({text}, '{name}', 'text')"

    def number(self, text: str, name: str) -> str:
        return f"casty_member({text}, '{name}', 'number')::bigint"

    def digits(self, text: str, name: str) -> str:
        return f"casty_member({text}, '{name}', 'digits')"

    def redacted(self, text: str) -> str:
        return f"""{text} ~ '^\\{{"redacted":"[0-9a-f]{{64}}"\\}}$'"""

    def time(self, column: str) -> str:
        since = f"{_EPOCH} + {column} * interval '1 microsecond'"
        return f"CASE WHEN {column} BETWEEN 0 AND {_LAST_TIME} THEN {since} END"

    def uuid(self, column: str) -> str:
        groups = "'^(.{8})(.{4})(.{4})(.{4})(.{12})$', '\\1-\\2-\\3-\\4-\\5'"
        return f"regexp_replace(encode({column}, 'hex'), {groups})"


class Sqlite:
    """SQLite 3.37 and later; its operator ``->`` is younger."""

    def json(self, text: str, name: str) -> str:
        return _once(text, name, _stored(text, name))

    def text(self, text: str, name: str) -> str:
        plain = f"replace({text}, '\\\\', '')"
        readable = f"{plain} NOT GLOB '*\\u0000*' AND {plain} NOT GLOB '*\\u[dD][89a-fA-F]*'"
        return _once(
            text,
            name,
            f"CASE WHEN json_type({text}, '$.{name}') = 'text' AND {readable} "
            f"THEN json_extract({text}, '$.{name}') END",
        )

    def number(self, text: str, name: str) -> str:
        value = f"json_extract({text}, '$.{name}')"
        # A number beyond 64 bits comes as a float, and is larger than this.
        whole = f"json_type({text}, '$.{name}') = 'integer' AND {value} BETWEEN 0 AND {10**18 - 1}"
        return _once(text, name, f"CASE WHEN {whole} THEN {value} END")

    def digits(self, text: str, name: str) -> str:
        whole = f"json_type({text}, '$.{name}') = 'integer'"
        return _once(text, name, f"CASE WHEN {whole} THEN {_stored(text, name)} END")

    def redacted(self, text: str) -> str:
        frame = f"""{text} GLOB '{{"redacted":"*"}}' AND length({text}) = 79"""
        return f"({frame} AND substr({text}, 14, 64) NOT GLOB '*[^0-9a-f]*')"

    def time(self, column: str) -> str:
        seconds = f"strftime('%Y-%m-%dT%H:%M:%S', {column} / 1000000, 'unixepoch')"
        within = f"CASE WHEN {column} BETWEEN 0 AND {_LAST_TIME}"
        return f"{within} THEN {seconds} || printf('.%06dZ', {column} % 1000000) END"

    def uuid(self, column: str) -> str:
        parts = ((1, 8), (9, 4), (13, 4), (17, 4), (21, 12))
        groups = " || '-' || ".join(f"substr(lower(hex({column})), {start}, {size})" for start, size in parts)
        return f"CASE WHEN {column} IS NOT NULL THEN {groups} END"


def _stored(text: str, name: str) -> str:
    """Return a member's own text: of two paths SQLite makes an array of texts; of one, a value that may lose digits."""
    both = f"json_extract({text}, '$.{name}', '$.{name}')"
    return f"substr({both}, 2, (length({both}) - 3) / 2)"


def _once(text: str, name: str, value: str) -> str:
    """Return an expression where the text is JSON that has the member once, else NULL."""
    once = f"(SELECT count(*) FROM json_each({text}) j WHERE j.key = '{name}') = 1"
    return f"CASE WHEN json_valid({text}) THEN CASE WHEN {once} THEN {value} END END"
