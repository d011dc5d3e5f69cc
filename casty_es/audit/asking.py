"""Sending an entity a command of upkeep, through whichever gateway reaches its owner."""

from __future__ import annotations

from typing import Any

from casty_es.domain.decider import Command
from casty_es.gateway.port import EntityGateway, RegionRef, ShardEnvelope, StructureFactory
from casty_es.journal.port import EntityName, EventJournal

__all__ = ["ask_entity"]


async def ask_entity(
    gateway: EntityGateway,
    journal: EventJournal,
    name: EntityName,
    command: Command,
    *,
    timeout: float,  # noqa: ASYNC109 - the gateway's name for it
) -> Any:
    """Have the owner of an entity that is in the journal decide a command, and give its reply."""
    [shards] = await journal.structures([(name.kind, name.name)])
    # A handle of the kind gives its options; what is asked for here needs none of them.
    ref: RegionRef = gateway.region_ref(name.name, StructureFactory(name.kind), num_shards=shards or 1)
    entity_id = name.key if name.kind == "map" else name.name
    return await gateway.entity_ask(ref, lambda _: ShardEnvelope(entity_id, command), timeout=timeout)
