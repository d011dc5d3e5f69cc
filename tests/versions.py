"""A code in which events and states have had other shapes, for as long as a test lasts."""

from __future__ import annotations

import msgspec
import pytest

from casty_es.audit.verify import entities
from casty_es.domain.catalog import CATALOG
from casty_es.domain.decider import Lift
from casty_es.format import codec, upcasting

__all__ = ["with_state_lifts", "with_upcasters"]


def with_upcasters(monkeypatch: pytest.MonkeyPatch, name: str, *lifts: Lift) -> None:
    """Let an event's class be what these functions lift to, one version after the other."""
    cls, version = upcasting.CLASSES[name], 1 + len(lifts)
    monkeypatch.setitem(upcasting.UPCASTERS, name, lifts)
    decoder = codec._DECODERS[name, upcasting.VERSIONS[name]]
    monkeypatch.delitem(codec._DECODERS, (name, upcasting.VERSIONS[name]))
    monkeypatch.setitem(codec._DECODERS, (name, version), decoder)
    monkeypatch.setitem(upcasting.VERSIONS, name, version)
    monkeypatch.setitem(codec._NAMES, cls, (name, version))
    monkeypatch.setattr(entities, "_types", entities._types.__wrapped__)  # what it remembers is of the real code


def with_state_lifts(monkeypatch: pytest.MonkeyPatch, kind: str, *lifts: Lift | None) -> None:
    """Let a kind's state be what these functions lift to, one version after the other."""
    monkeypatch.setitem(CATALOG, kind, msgspec.structs.replace(CATALOG[kind], state_lifts=lifts))
