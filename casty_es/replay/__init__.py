"""Reading an entity's past from the journal: its events, and its state as of any sequence, position or time."""

from __future__ import annotations

from casty_es.replay.ahead import refuse_ahead, refuse_ahead_of_here, slots_ahead, told_ahead
from casty_es.replay.binding import binding_said, is_bound, speaks_for, with_binding
from casty_es.replay.history import (
    PAGE_BYTES,
    HistoryEvent,
    events,
    history_event,
    sequence_at_position,
    sequence_at_time,
    sequence_stamped,
    to_microseconds,
)
from casty_es.replay.moments import Positions, Then, answer_then, read_positions, state_then
from casty_es.replay.pages import HistoryPage, LeaseHolders, history_page
from casty_es.replay.placing import entities_of, fitting_shards
from casty_es.replay.reading import (
    Unreadable,
    caller_in,
    place_of,
    read_event,
    read_events,
    refuse_damaged,
    told_unreadable,
    unfoldable,
    unreadable_content,
)
from casty_es.replay.state import base_at, committed_state, state_at, state_so_far

__all__ = [
    "PAGE_BYTES",
    "HistoryEvent",
    "HistoryPage",
    "LeaseHolders",
    "Positions",
    "Then",
    "Unreadable",
    "answer_then",
    "base_at",
    "binding_said",
    "caller_in",
    "committed_state",
    "entities_of",
    "events",
    "fitting_shards",
    "history_event",
    "history_page",
    "is_bound",
    "place_of",
    "read_event",
    "read_events",
    "read_positions",
    "refuse_ahead",
    "refuse_ahead_of_here",
    "refuse_damaged",
    "sequence_at_position",
    "sequence_at_time",
    "sequence_stamped",
    "slots_ahead",
    "speaks_for",
    "state_at",
    "state_so_far",
    "state_then",
    "to_microseconds",
    "told_ahead",
    "told_unreadable",
    "unfoldable",
    "unreadable_content",
    "with_binding",
]
