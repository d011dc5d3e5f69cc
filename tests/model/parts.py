"""The protocols that are modelled, each for itself."""

from __future__ import annotations

from .ownership.configurations import OWNERSHIP

__all__ = ["PARTS"]

PARTS = (OWNERSHIP,)
