"""The statement that reads an entity's events up to a number of bytes, the same for both databases."""

from __future__ import annotations

__all__ = ["history_within"]


def history_within(event: str, size: str, entity: str, after: str, limit: str, most_bytes: str) -> str:
    """Return the statement, with the columns of an event and what stands for its size and for each parameter.

    It goes from event to event, so what does not fit is not read either: of long values, a page that was looked through
    up to its limit would be read in vain for the most part.
    """
    return f"""
        WITH RECURSIVE page (sequence, bytes, number) AS (
            SELECT * FROM (
                SELECT e.sequence, {size}, 1 FROM casty_events e
                WHERE e.entity = {entity} AND e.sequence > {after} ORDER BY e.sequence LIMIT 1
            ) AS oldest
            UNION ALL
            SELECT e.sequence, p.bytes + {size}, p.number + 1 FROM page p
            JOIN casty_events e ON e.entity = {entity} AND e.sequence = p.sequence + 1
            WHERE p.bytes < {most_bytes} AND p.number < {limit}
        )
        SELECT {event} FROM page p JOIN casty_events e ON e.entity = {entity} AND e.sequence = p.sequence
        ORDER BY p.sequence"""  # noqa: S608 - of our own words only
