"""A process that forks while it is part of a cluster."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import warnings
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import pytest

from casty_es import ClusteredActorSystem, UsageError
from casty_es.client import ClusterClient

from .nodes import PATIENT, client, named_for, settled, slot, structures

Rows: TypeAlias = Callable[..., Awaitable[list[tuple[Any, ...]]]]


async def forked(task: Callable[[], None]) -> int:
    """Run a task in a fork of this process, and return its exit code: 0 when it did not raise."""
    sys.stdout.flush()
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", DeprecationWarning
        )  # later Pythons warn of a fork beside threads, as they should
        pid = os.fork()
    if pid == 0:
        try:
            task()
        except BaseException:  # noqa: BLE001 - pytest must not see it twice
            sys.excepthook(*sys.exc_info())
            os._exit(1)
        os._exit(0)
    _, status = await asyncio.to_thread(os.waitpid, pid, 0)
    return os.waitstatus_to_exitcode(status)


async def test_a_forked_child_cannot_use_a_node_and_takes_nothing_from_it(
    two: list[ClusteredActorSystem], rows: Rows
) -> None:
    """In the child every use is an error; the parent's nodes keep their slots under the same epochs, and go on."""
    owner, other = two
    name = named_for(owner, two)
    hits, far = (d.counter(name, timeout=PATIENT) for d in structures(two))
    assert await hits.increment() == 1
    await settled(two, [slot("counter", name)])
    held = await rows("SELECT slot, node_id, epoch FROM casty_slots")

    def in_the_child() -> None:
        for use in (hits.increment, hits.get, far.increment):
            with pytest.raises(UsageError, match="fork"):
                asyncio.run(use())
        with pytest.raises(UsageError, match="fork"):
            asyncio.run(other.wait_for(1))
        gc.collect()

    assert await forked(in_the_child) == 0

    assert await far.increment() == 2
    assert await hits.increment() == 3
    await other.wait_for(2)
    assert await rows("SELECT slot, node_id, epoch FROM casty_slots") == held


async def test_a_forked_child_cannot_use_a_client(two: list[ClusteredActorSystem]) -> None:
    """A client that was inherited is an error in the child; the parent's goes on."""
    connected: ClusterClient
    async with client(two[0]) as connected:
        hits = connected.distributed().counter("c", timeout=PATIENT)
        assert await hits.increment() == 1

        def in_the_child() -> None:
            with pytest.raises(UsageError):
                asyncio.run(hits.increment())

        assert await forked(in_the_child) == 0

        assert await hits.increment() == 2
