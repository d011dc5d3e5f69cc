"""Who held a structure, who waited for it, and where a job was: read from the journal, program running or stopped."""

from __future__ import annotations

from casty_es.audit.forensics.holders import Moment, timeline, who_held
from casty_es.audit.forensics.joblines import Job
from casty_es.audit.forensics.jobs import find_job, find_job_by_sequence, queue_timeline
from casty_es.audit.forensics.tracker import CLAIM_KINDS, Caller, Claim

__all__ = [
    "CLAIM_KINDS",
    "Caller",
    "Claim",
    "Job",
    "Moment",
    "find_job",
    "find_job_by_sequence",
    "queue_timeline",
    "timeline",
    "who_held",
]
