"""The way from a handle to the owner of its entity and back: locate, route, repeat, in time."""

from casty_es.gateway.port import (
    CommandContext,
    EntityGateway,
    RegionRef,
    ShardEnvelope,
    StructureFactory,
    region_ref,
)

__all__ = ["CommandContext", "EntityGateway", "RegionRef", "ShardEnvelope", "StructureFactory", "region_ref"]
