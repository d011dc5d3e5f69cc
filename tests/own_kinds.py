"""Kinds of one's own for as long as a test lasts: what is registered stays, and other tests know the seven."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from casty_es import commands
from casty_es.audit import redaction
from casty_es.cluster import service
from casty_es.domain import catalog
from casty_es.format import codec, upcasting

__all__ = ["EXAMPLES", "own_kinds"]

EXAMPLES: Final = Path(__file__).parents[1] / "docs" / "examples"
"""Where the worked examples are, which import as modules."""

_TABLES: Final[tuple[Any, ...]] = (
    catalog.CATALOG,
    catalog.KEYED,
    upcasting.CLASSES,
    upcasting.UPCASTERS,
    upcasting.VERSIONS,
    codec._NAMES,
    codec._DECODERS,
    codec._STATES,
    commands.SENDABLE,
    commands._TAKERS,
    service._WITHOUT_CREDIT,
)


@contextlib.contextmanager
def own_kinds() -> Iterator[None]:
    """Let kinds be registered, and the worked examples be imported; afterwards none of it is there."""
    tables, redactable = [table.copy() for table in _TABLES], list(redaction.REDACTABLE)
    sys.path.insert(0, str(EXAMPLES))
    try:
        yield
    finally:
        sys.path.remove(str(EXAMPLES))
        for path in EXAMPLES.glob("*.py"):
            sys.modules.pop(path.stem, None)
        for table, before in zip(_TABLES, tables, strict=True):
            table.clear()
            table.update(before)
        redaction.REDACTABLE[:] = redactable
