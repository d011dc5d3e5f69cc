"""Where an entity's log says what a snapshot must hold, the same for both databases.

It is searched and not looked up: what says it is written behind the snapshot, and a role that may insert one may change
none. The first events behind the snapshot are read for it, and of an honest one it is among the very first.
"""

from __future__ import annotations

from typing import Final, NamedTuple

_LARGEST: Final = 2**63 - 1

BINDING_WITHIN: Final = 10_000
"""Among how many events behind a snapshot is looked for the one that binds it."""


def speaks_of(sequence: int | str) -> str:
    """Return how the member of an event's metadata begins that binds the snapshot at a sequence.

    Nothing that a caller says holds it: in a text of JSON each quotation mark has a backslash before it.

    Examples
    --------
    >>> speaks_of(1000)
    '"snapshot":{"sequence":1000,'
    """
    return f'"snapshot":{{"sequence":{sequence},'


def seals(sequence: int | str) -> str:
    """Return how the payload of a seal begins that covers the events up to a sequence."""
    return f'{{"through":{sequence},'


class Dialect(NamedTuple):
    """How a database calls what finds a text in another, and what gives the least of two numbers."""

    find: str
    least: str


POSTGRES: Final = Dialect("strpos", "least")
SQLITE: Final = Dialect("instr", "min")


def binding_of(sql: Dialect, entity: str, sequence: str, columns: str = "b.type, b.payload, b.metadata") -> str:
    """Return the query, with what stands for its two parameters."""
    said, sealed = (f"'{text('').removesuffix(',')}' || {sequence} || ','" for text in (speaks_of, seals))
    # A snapshot may have been put at any number, and the largest one has none behind it.
    until = f"{sql.least}({sequence}, {_LARGEST - BINDING_WITHIN}) + {BINDING_WITHIN}"
    return f"""
        SELECT {columns} FROM casty_events b
        WHERE b.entity = {entity} AND b.sequence BETWEEN {sequence} AND {until} AND (
            {sql.find}(b.metadata, {said}) > 0
            OR (b.type = 'entity.sealed' AND {sql.find}(b.payload, {sealed}) = 1)
            OR (b.type = 'entity.redacted' AND b.sequence = {sequence})
        ) ORDER BY b.sequence LIMIT 1"""  # noqa: S608 - of our own words only
