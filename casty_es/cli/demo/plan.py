"""What the demo is to do, and what happened."""

from __future__ import annotations

from pathlib import Path

import msgspec

__all__ = ["Drive", "NodeFigures", "Plan"]


class Plan(msgspec.Struct, frozen=True):
    """What is to be done.

    Attributes
    ----------
    url : str
        The journal, ready to be used.
    folder : Path
        Where the ledger and what the processes say go.
    run : str
        What tells this run from others, in the names of nodes.
    prefix : str
        What the names of structures begin with.
    seconds : float
        How long the load lasts, in seconds.
    """

    url: str
    folder: Path
    run: str
    prefix: str
    callers: int
    seconds: float


class NodeFigures(msgspec.Struct, frozen=True):
    """A node: where it was, how many operations its callers were told are done, and how its process ended."""

    node_id: str
    address: str
    pid: int
    acknowledged: int
    exit_code: int


class Drive(msgspec.Struct, frozen=True):
    """What happened.

    Attributes
    ----------
    killed_after, killed_at : float
        Seconds since the load began, and the time by the clock of the ledger.
    acknowledged_by_then : int
        Operations of all nodes.
    slot : int
        Where the counter is.
    owner_before, owner_after : str
        The nodes that owned it at the kill and at the end.
    seconds : float
        How long the load lasted.
    acknowledged_in_time : int
        Operations of all nodes in these seconds; some end a little later.
    """

    nodes: list[NodeFigures]
    killed_after: float
    killed_at: float
    acknowledged_by_then: int
    slot: int
    owner_before: str
    owner_after: str
    seconds: float
    acknowledged_in_time: int

    @property
    def acknowledged(self) -> int:
        """Operations of all nodes that were acknowledged."""
        return sum(node.acknowledged for node in self.nodes)

    @property
    def per_second(self) -> float:
        """The measured rate, in operations a second."""
        return self.acknowledged_in_time / self.seconds
