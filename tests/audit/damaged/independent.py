"""The independent verifier of the documentation, and what of a journal it looks at."""

from __future__ import annotations

import contextlib
import importlib.util
import io
from pathlib import Path
from types import ModuleType
from typing import Any, Final

__all__ = ["FILE", "LEFT_OUT", "LOOKED_AT", "independent_findings", "run_independent"]

FILE: Final = Path(__file__).parents[3] / "docs" / "examples" / "independent_verifier.py"

LOOKED_AT: Final = {
    "casty_events": {
        *("slot", "position", "epoch", "entity", "sequence", "type", "version"),
        *("payload", "metadata", "command_id", "idempotency_key", "recorded_at", "hash"),
    },
    "casty_entities": {"id", "kind", "name", "key", "salt", "salted_from"},
    "casty_seals": {"slot", "first", "last", "entity", "previous_hash", "hash", "sealed_by"},
}
"""The columns of which it has to find whatever `casty-es verify` finds."""

_PLACES: Final = "where an entity belongs, by its name, is the directory's matter and not the records'"
_MEANING: Final = "it does not know what events mean, so it folds no state"
_MOMENT: Final = "who serves what at the moment says nothing about what happened; verify does not look either"
_SALTS: Final = "a wrong salt breaks the hashes that need it, and of one that none needs the chain says nothing"
_META: Final = "without an anchor nothing in the records says what is right"

LEFT_OUT: Final[dict[str, dict[str, str]]] = {
    "casty_entities": {"slot": _PLACES, "alive": _MEANING},
    "casty_structures": dict.fromkeys(("kind", "name", "shards", "keep"), _PLACES),
    "casty_snapshots": {
        **dict.fromkeys(("entity", "sequence", "state", "version"), f"{_MEANING}; but one behind a cut is compared"),
        "recorded_at": "nothing is made of it; verify does not look either",
    },
    "casty_retired_salts": dict.fromkeys(("entity", "through", "salt"), _SALTS),
    "casty_meta": {
        **dict.fromkeys(("id", "slots", "hash_algorithm", "incarnation", "created_at"), _META),
        "maintenance": "it is a guard, of what stands around the records",
    },
    "casty_slots": dict.fromkeys(("slot", "node_id", "address", "epoch", "since"), _MOMENT),
    "casty_nodes": dict.fromkeys(("node_id", "host", "pid", "address", "started_at", "seen_at"), _MOMENT),
    "casty_closed_slots": dict.fromkeys(
        ("slot", "incarnation", "position", "hash", "found", "node_id", "closed_at"), _MOMENT
    ),
    "casty_secrets": dict.fromkeys(("name", "value"), _MOMENT),
    "casty_tokens": dict.fromkeys(
        ("id", "name", "scopes", "stored_key", "server_key", "created_at", "ends_at", "revoked_at"), _MOMENT
    ),
}
"""The others, each with the reason why nobody can expect it; the page of the format says so at its end."""


def _load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("independent_verifier", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_MAIN: Final[Any] = _load().main


def run_independent(*arguments: Path) -> tuple[int, list[str]]:
    """Run it in this process; give its exit code and the lines that it prints."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        code: int = _MAIN(*map(str, arguments))
    return code, printed.getvalue().splitlines()


def independent_findings(journal: Path, *anchors: Path) -> list[str]:
    """Give what it finds in a journal at which it can look."""
    code, lines = run_independent(journal, *anchors)
    assert code in {0, 1}, lines
    assert (code == 0) is (lines == ["nothing was found"]), lines
    return lines if code else []
