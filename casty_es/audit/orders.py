"""Sending an entity a command of upkeep, through whichever gateway reaches its owner."""

from __future__ import annotations

from typing import Any

from casty_es.commands import warranted
from casty_es.domain.catalog import KEYED
from casty_es.domain.decider import Warranted
from casty_es.gateway.port import CommandContext, EntityGateway, RegionRef, ShardEnvelope, StructureFactory
from casty_es.journal.port import EntityName, EventJournal


async def ask_entity(
    gateway: EntityGateway,
    journal: EventJournal,
    name: EntityName,
    command: Warranted,
    salt: bytes,
    *,
    timeout: float,  # noqa: ASYNC109 - the gateway's name for it
) -> Any:
    """Have the owner of an entity that is in the journal decide a command, and return its reply.

    The salt, out of the journal, shows the owner that maintenance asks.
    """
    [shards] = await journal.structures([(name.kind, name.name)])
    # A handle of the kind gives its options; what is asked for here needs none of them.
    ref: RegionRef = gateway.region_ref(name.name, StructureFactory(name.kind), num_shards=shards or 1)
    entity_id = name.key if name.kind in KEYED else name.name

    def envelope(context: CommandContext) -> ShardEnvelope:
        return ShardEnvelope(entity_id, warranted(command, salt, name, context.command_id))

    return await gateway.entity_ask(ref, envelope, timeout=timeout)
