"""Who a process says it is when it meets another one."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

import msgspec

from casty_es import runtime
from casty_es.errors import ConfigurationError
from casty_es.names import MAX_NODE_NAME_BYTES
from casty_es.processes import called


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """What a process is called."""

    system: str  # the cluster's name; only processes of one system talk to each other
    node_id: str  # the node's name, or the client's
    role: Literal["node", "client"] = "node"  # whether it may hold slots
    # A random UUID in hexadecimal: a restarted process is another one.
    process_id: str = msgspec.field(default_factory=lambda: runtime.fresh_uuid().hex)

    @property
    def process(self) -> str:
        """What the process is called in the requests that it makes."""
        return called(self.role, self.process_id, self.node_id)

    def __post_init__(self) -> None:
        for what, name in (("The name of the system", self.system), ("The node_id", self.node_id)):
            try:
                length = len(name.encode())
            except UnicodeEncodeError as error:
                raise ConfigurationError(f"{what} is not valid Unicode: {error}.") from error
            if not 0 < length <= MAX_NODE_NAME_BYTES:
                raise ConfigurationError(
                    f"{what} has {length} bytes; it must have 1 to {MAX_NODE_NAME_BYTES}. Nothing was started."
                )
        try:
            UUID(hex=self.process_id)
        except ValueError as error:
            raise ConfigurationError(
                f"The process_id {self.process_id!r} is not a UUID in hexadecimal. Leave it out to get a random one."
            ) from error
