"""Random histories of a structure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import strategies as st

from .history import POOL, AnyKind

if TYPE_CHECKING:
    from casty_es.domain.decider import Command


def commands_of(kind: AnyKind) -> st.SearchStrategy[list[Command]]:
    """Return lists of commands, with the rare ones as often as the common ones."""
    return st.lists(st.one_of([st.sampled_from(group) for group in POOL[kind.name]]), max_size=40)
