"""Whether the installed code makes of every stored log what it was: the check before a release."""

from __future__ import annotations

from casty_es.audit.check_replay.differences import Difference, Problem, ReplayReport, SlotReplay
from casty_es.audit.check_replay.replay_check import check_replay

__all__ = ["Difference", "Problem", "ReplayReport", "SlotReplay", "check_replay"]
