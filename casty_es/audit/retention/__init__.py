"""How long events are kept: a policy for each structure, and runs that archive and cut what is older."""

from __future__ import annotations

from casty_es.audit.retention.archive_check import check_archive
from casty_es.audit.retention.policy import Keep, keep_text, parse_keep, policies, readable_policies, set_retention
from casty_es.audit.retention.retention_run import Retained, run_retention

__all__ = [
    "Keep",
    "Retained",
    "check_archive",
    "keep_text",
    "parse_keep",
    "policies",
    "readable_policies",
    "run_retention",
    "set_retention",
]
