"""The protocols that are modelled, each for itself."""

from __future__ import annotations

from .ownership.configurations import OWNERSHIP
from .past.configurations import PAST
from .requests.configurations import REQUESTS

__all__ = ["PARTS"]

PARTS = (OWNERSHIP, REQUESTS, PAST)
