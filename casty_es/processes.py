"""What a process is called in the requests that it makes: ``node:<id>``, ``node:<id>:<name>`` or ``client:<id>``.

The id is a UUID that is fresh at every start. A node has its presence locked under it for as long as it has a lease
session, beside the one under its name: a name may be given to the next process, an id never is.
"""

from __future__ import annotations

from typing import Literal, NamedTuple
from uuid import UUID


class NodeProcess(NamedTuple):
    """A process that may hold leases: its id, and the name of its node."""

    id: str
    node_id: str


def called(role: Literal["node", "client"], process_id: str, node_id: str) -> str:
    """Return what a process is called; a node that has no name of its own is called by its process's id.

    Examples
    --------
    >>> called("node", "0f3cb64d5d0b4a438ad47b0a0b7b6b0e", "shop-1")
    'node:0f3cb64d-5d0b-4a43-8ad4-7b0a0b7b6b0e:shop-1'
    """
    id_ = str(UUID(process_id))
    return f"{role}:{id_}" if role == "client" or node_id == id_ else f"{role}:{id_}:{node_id}"


def process_of(process: str) -> NodeProcess | None:
    """Return the node's process that is called so; ``None`` for a client, and for who is not known.

    Examples
    --------
    >>> process_of("node:0f3cb64d-5d0b-4a43-8ad4-7b0a0b7b6b0e:shop-1").node_id
    'shop-1'
    >>> process_of("client:0f3cb64d-5d0b-4a43-8ad4-7b0a0b7b6b0e"), process_of("")
    (None, None)
    """
    role, _, rest = process.partition(":")
    if role != "node":
        return None
    id_, _, name = rest.partition(":")
    return NodeProcess(id_, name or id_)
