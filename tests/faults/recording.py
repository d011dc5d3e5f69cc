"""What callers asked for and what they were told, in order of time: one half of every audit; the journal is the other.

A ``Recorder`` stands between the handles and a system. It sees each command with its id, and each reply or error.
Times are CLOCK_MONOTONIC, which all processes of a machine share.
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

import msgspec

from casty_es.domain.catalog import CATALOG
from casty_es.domain.decider import Command
from casty_es.journal.port import EntityName

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from casty_es.gateway import CommandContext, EntityGateway, RegionRef, ShardEnvelope


class Operation(msgspec.Struct, kw_only=True):
    """One command: when it was called, and how it ended.

    ``returned`` is ``None`` while the caller was told nothing. ``reply`` is JSON; ``error`` is the exception's class.
    """

    id: bytes
    name: EntityName
    command: Command
    called: int
    returned: int | None = None
    reply: bytes | None = None
    error: str | None = None
    said: str = ""
    local: bool = False

    def __str__(self) -> str:
        told = self.error or ("nothing" if self.reply is None else self.reply.decode())
        return f"{self.command} on {tuple(self.name)} ({self.id.hex()}), told {told} {self.said}"


class Recorder:
    """A gateway that writes down what passes through it.

    ``note`` gets each operation twice: before it is sent, and after its caller's answer is there.
    """

    def __init__(
        self,
        gateway: EntityGateway,
        note: Callable[[Operation], None] | None = None,
        *,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._gateway = gateway
        self._note = note
        self._clock = clock
        self.operations: list[Operation] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._gateway, name)

    def region_ref(self, key: str, factory: Any, *, num_shards: int) -> RegionRef:
        """Return the gateway's ref."""
        return self._gateway.region_ref(key, factory, num_shards=num_shards)

    async def entity_ask(
        self,
        ref: RegionRef,
        msg_factory: Callable[[CommandContext], ShardEnvelope],
        *,
        timeout: float,  # noqa: ASYNC109 - the name of the protocol
    ) -> Any:
        """Send a command and write down what became of it."""
        sent: list[Operation] = []

        def factory(context: CommandContext) -> ShardEnvelope:
            envelope = msg_factory(context)
            name = EntityName(ref.kind, ref.name, envelope.entity_id if ref.kind == "map" else "")
            operation = Operation(
                id=context.command_id,
                name=name,
                command=envelope.command,
                called=self._clock(),
                local=envelope.local,
            )
            if sent:  # a command with an idempotency key is made twice, and has its own id the second time
                self.operations.remove(sent.pop())
            sent.append(operation)
            self.operations.append(operation)
            if self._note is not None:
                self._note(operation)
            return envelope

        try:
            reply = await self._gateway.entity_ask(ref, factory, timeout=timeout)
        except BaseException as error:
            self._end(sent, error=type(error).__name__, said=str(error))
            raise
        self._end(sent, reply=msgspec.json.encode(reply))
        return reply

    def _end(
        self, sent: list[Operation], *, reply: bytes | None = None, error: str | None = None, said: str = ""
    ) -> None:
        for operation in sent:
            operation.reply, operation.error, operation.said = reply, error, said
            operation.returned = self._clock()
            if self._note is not None:
                self._note(operation)


def to_line(operation: Operation) -> bytes:
    """Return an operation as one line, for a pipe between processes."""
    fields = msgspec.structs.asdict(operation)
    fields["type"] = type(operation.command).__name__
    fields["command"] = msgspec.json.encode(operation.command).decode()
    return msgspec.json.encode(fields) + b"\n"


def from_lines(lines: Iterable[bytes]) -> list[Operation]:
    """Return the operations of such lines, the last word on each; a line that was cut off is left out."""
    operations: dict[bytes, Operation] = {}
    for line in lines:
        if not line.endswith(b"\n"):
            continue
        fields = msgspec.json.decode(line)
        module = sys.modules[CATALOG[fields["name"][0]].decide.__module__]
        command = msgspec.json.decode(fields.pop("command"), type=getattr(module, fields.pop("type")))
        operation = msgspec.convert({**fields, "command": None}, _Wire)
        operations[operation.id] = Operation(
            **{**msgspec.structs.asdict(operation), "command": command, "name": EntityName(*operation.name)}
        )
    return list(operations.values())


class _Wire(msgspec.Struct):
    id: bytes
    name: tuple[str, str, str]
    command: None
    called: int
    returned: int | None
    reply: bytes | None
    error: str | None
    said: str
    local: bool
