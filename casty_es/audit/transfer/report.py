"""What an export, an import or a copy did."""

from __future__ import annotations

import msgspec


class TransferReport(msgspec.Struct):
    """What was done.

    Attributes
    ----------
    slots, records, entities, snapshots, seals : int
        How many there are, what an earlier, interrupted run did included.
    seconds : float
        How long this run took.
    resumed : bool
        Whether it went on where another one had ended.
    damaged : int
        How many rows an export could not write down, because they are none that any program writes. Each has a line
        that says so, and such an export cannot be imported.
    """

    slots: int = 0
    records: int = 0
    entities: int = 0
    snapshots: int = 0
    seals: int = 0
    seconds: float = 0.0
    resumed: bool = False
    damaged: int = 0
