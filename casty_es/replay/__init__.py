"""Reading an entity's past from the journal: its events, and its state as of any sequence, position or time."""

from __future__ import annotations

from casty_es.replay.asking import Positions, Then, answer_then, read_positions, state_then
from casty_es.replay.history import events, sequence_at_position, sequence_at_time
from casty_es.replay.paging import HistoryPage, LeaseHolders, history_page
from casty_es.replay.placing import fitting_shards
from casty_es.replay.reading import place_of, placed, read_event, read_events, unfoldable
from casty_es.replay.state import base_at, committed_state, state_at

__all__ = [
    "HistoryPage",
    "LeaseHolders",
    "Positions",
    "Then",
    "answer_then",
    "base_at",
    "committed_state",
    "events",
    "fitting_shards",
    "history_page",
    "place_of",
    "placed",
    "read_event",
    "read_events",
    "read_positions",
    "sequence_at_position",
    "sequence_at_time",
    "state_at",
    "state_then",
    "unfoldable",
]
