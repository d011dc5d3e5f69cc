"""The handle of a barrier."""

from __future__ import annotations

from casty_es.domain.barrier import Arrive, Withdraw
from casty_es.gateway import EntityGateway, RegionRef
from casty_es.handles.renewals import Claims
from casty_es.handles.waiting import WaitingHandle
from casty_es.names import check_at_least_one, check_flag, check_name


class Barrier(WaitingHandle):
    """Client for a distributed barrier.

    Multiple nodes call ``arrive(expected)`` and all block until ``expected`` nodes have arrived. Then the next round
    begins.

    Parameters
    ----------
    gateway : EntityGateway
        What carries commands to the barrier's owner.
    region_ref : RegionRef
        Where the barrier is.
    name : str
        Barrier name (used as entity ID).
    node_id : str
        Identifier for this node (typically ``host:port``).
    timeout : float
        Default timeout for the barrier wait, in seconds.
    counts_once : bool
        Whether all arrivals under this ``node_id`` count as one in a round. ``d.barrier`` says so for a ``node_id``
        that was given to it; without one, every call counts.

    Examples
    --------
    >>> barrier = d.barrier("init-sync")
    >>> await barrier.arrive(expected=1)
    """

    def __init__(
        self,
        *,
        gateway: EntityGateway,
        region_ref: RegionRef,
        name: str,
        node_id: str,
        timeout: float = 60.0,
        counts_once: bool = True,
    ) -> None:
        super().__init__(gateway=gateway, region_ref=region_ref, name=name, timeout=timeout)
        self._node_id = check_name(node_id, "node_id")
        self._counts_once = check_flag(counts_once, "counts_once")

    async def arrive(self, expected: int, *, idempotency_key: str | None = None) -> None:
        """Block until ``expected`` nodes have reached this barrier.

        Parameters
        ----------
        expected : int
            Number of nodes that must arrive before all are released.
        idempotency_key : str | None
            Your own name for this operation, as :class:`~casty_es.Distributed` explains.

        Raises
        ------
        NotDoneError
            The others did not come within the handle's timeout. The arrival is withdrawn and does not count any more.
            Or the arrival of this key was withdrawn before.
        OutcomeUnknownError
            The timeout passed and the withdrawal could not be confirmed; the arrival expires with its lease.
        ConfigurationError
            Another number is expected in this round.
        DestroyedError
            The barrier was destroyed meanwhile.

        Examples
        --------
        >>> await d.barrier("alone").arrive(expected=1)
        """
        parties = check_at_least_one(expected, "expected")

        def arrive(request: str) -> Arrive:
            participant = self._node_id if self._counts_once else f"{self._node_id}/{request}"
            return Arrive(participant, request, parties)

        await self._ask_in_line(arrive, idempotency_key)

    @property
    def _claims(self) -> Claims:
        return Claims(self._region_ref, _withdraw)


def _withdraw(request: str, _keep_grant: bool) -> Withdraw:  # noqa: FBT001 - a barrier that tripped stays so
    return Withdraw(request)
