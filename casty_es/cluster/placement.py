"""Who should own a slot: rendezvous hashing over the living nodes.

Each node draws a number for each slot; the highest draw wins. When a node joins or leaves, only the slots move that it
wins or had won (Thaler and Ravishankar 1998, "Using name-based mappings to increase hit rates").
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from hashlib import blake2b


def ranking(slot: int, nodes: Iterable[str]) -> list[str]:
    """Return the nodes in the order in which they should own a slot, the best first, however they are given.

    Examples
    --------
    >>> ranking(7, ["a", "b", "c"]) == ranking(7, ["c", "b", "a"])
    True
    """
    return sorted(nodes, key=lambda node: (_draw(slot, node), node), reverse=True)


@lru_cache(maxsize=65_536)
def _draw(slot: int, node: str) -> bytes:
    return blake2b(f"{slot}:{node}".encode(), digest_size=8).digest()
