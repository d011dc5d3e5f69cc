"""Whether anybody touched the rows: a walk through every slot's chain, its snapshots, its directory, and anchors."""

from __future__ import annotations

from casty_es.audit.verify.findings import NOT_SHOWN, Finding, Report, SlotResult, Wrong
from casty_es.audit.verify.looked_at import LookedAt
from casty_es.audit.verify.verification import verify

__all__ = ["NOT_SHOWN", "Finding", "LookedAt", "Report", "SlotResult", "Wrong", "verify"]
