"""The way from a handle to the owner of its entity and back: locate, route, repeat, in time."""

from casty_es.gateway.port import (
    CARRIED,
    CommandContext,
    EntityGateway,
    RegionRef,
    ShardEnvelope,
    StructureFactory,
    Undo,
    region_ref,
)

__all__ = [
    "CARRIED",
    "CommandContext",
    "EntityGateway",
    "RegionRef",
    "ShardEnvelope",
    "StructureFactory",
    "Undo",
    "region_ref",
]
