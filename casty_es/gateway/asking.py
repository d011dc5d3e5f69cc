"""The gateway of one process: the short way to an entity in memory here, and the start of every longer journey."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from casty_es.actors.owner import Owner
from casty_es.context import said
from casty_es.errors import CastyError
from casty_es.gateway.directory import Directory
from casty_es.gateway.journey import Journey
from casty_es.gateway.port import CommandContext, RegionRef, ShardEnvelope
from casty_es.gateway.routing import Routes
from casty_es.hashes import keyed_command_id
from casty_es.journal.port import EntityName
from casty_es.runtime import Runtime

__all__ = ["Gateway"]


class Gateway:
    """The way of one process to every structure.

    Parameters
    ----------
    directory : Directory
        Where structures and nodes are looked up.
    routes : Routes
        Where owners are found.
    owner : Owner | None
        This process's own slots, unless it is a client.
    """

    def __init__(self, directory: Directory, routes: Routes, owner: Owner | None, runtime: Runtime) -> None:
        self.directory = directory
        self.routes = routes
        self.owner = owner
        self.runtime = runtime
        self.loop = asyncio.get_running_loop()
        self.shards: dict[tuple[str, str], int] = {}
        self.reads: dict[int, int] = {}
        self.closed = False

    async def ask(
        self,
        ref: RegionRef,
        msg_factory: Callable[[CommandContext], ShardEnvelope],
        *,
        timeout: float,  # noqa: ASYNC109 - the seed's name
    ) -> Any:
        """Send a command and wait for its reply, at most ``timeout`` seconds.

        Raises
        ------
        NotDoneError
            The time was up; the command certainly did not happen.
        OutcomeUnknownError
            The time was up; the command may have happened.
        """
        command_id = self.runtime.new_id()
        deadline = self.loop.time() + timeout
        envelope = msg_factory(CommandContext(command_id, deadline))
        # A map's entities are its keys; every other structure is one entity.
        name = EntityName(ref.kind, ref.name, envelope.entity_id if ref.kind == "map" else "")
        key, words = envelope.idempotency_key, said()
        if key is not None:
            command_id = keyed_command_id(*name, key)
            envelope = msg_factory(CommandContext(command_id, deadline))
        owner = self.owner
        here = None if owner is None else owner.in_memory(name)
        if owner is None or here is None:
            return await Journey(self, name, ref.shards, envelope, command_id, deadline, words).run()
        # The short way: no search, nothing to wait for but the reply.
        term, after = here.term, here.head.position
        timer: asyncio.TimerHandle | None = None
        try:
            pending = owner.submit(
                name,
                ref.shards,
                envelope.command,
                command_id,
                slot=here,
                term=term,
                local=envelope.local,
                idempotency_key=key,
                said=words,
            )
            timer = self.loop.call_at(deadline, pending.time_out)
            return await pending.future
        except CastyError as error:
            failed = error
        finally:
            if timer is not None:
                timer.cancel()
        journey = Journey(self, name, ref.shards, envelope, command_id, deadline, words)
        journey.slot, journey.after, journey.sent_under = here.number, after, term
        journey.judge(failed)
        return await journey.run()
