"""Carrying work to its end while the task that asked for it is being cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, TypeVar

__all__ = ["finished", "known_to_caller"]

T = TypeVar("T")


async def finished(work: Awaitable[T]) -> T:
    """Carry a piece of work to its end, even while this task is being cancelled; then let the cancellation go on."""
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        known_to_caller(task)  # nobody is left to be told; what was not undone expires with its lease
        raise cancelled
    return task.result()


def known_to_caller(future: asyncio.Future[Any]) -> None:
    """Note that whoever wanted to know how a future ends has been told, or has gone away: nothing is to be logged."""
    if future.done() and not future.cancelled():
        future.exception()
