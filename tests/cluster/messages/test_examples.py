"""Single messages that did harm once: each is refused, and commands that only maintenance may give need its warrant."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from msgspec import Raw, structs

from casty_es import SqlJournal
from casty_es.audit.redaction import redact
from casty_es.audit.retention import run_retention, set_retention
from casty_es.audit.verify import verify
from casty_es.commands import warranted
from casty_es.domain.upkeep import Redact, Seal
from casty_es.errors import InvalidArgumentError
from casty_es.gateway import ShardEnvelope, StructureFactory
from casty_es.journal.port import EntityName
from casty_es.names import encode_key
from casty_es.transport.wire import Failed, Outcome, Refused
from tests.cluster.nodes import slot

from .conftest import Member, Victim, member
from .limits import HEX, MEBIBYTE
from .making import ask_of, body_of

# By what is wrong with it: the kind, the command, its fields, the fields of the message, and the refusal.
EXAMPLES: dict[str, tuple[str, str, dict[str, Any], dict[int, Any], str]] = {
    "a map's key without its tag": ("map", "Put", {}, {5: "alice"}, "InvalidArgumentError"),
    "5,000 digits": ("counter", "Increment", {"amount": Raw(b"9" * 5_000)}, {}, "InvalidValueError"),
    "4,200 digits": ("counter", "Increment", {"amount": Raw(b"9" * 4_200)}, {}, "BoundsError"),
    "a command id of 15 bytes": ("counter", "Increment", {}, {9: b"x" * 15}, "InvalidArgumentError"),
    "a command id of 17 bytes": ("counter", "Increment", {}, {9: b"x" * 17}, "InvalidArgumentError"),
    "no command id": ("counter", "Increment", {}, {9: b""}, "InvalidArgumentError"),
    "no shards": ("counter", "Increment", {}, {6: 0}, "InvalidArgumentError"),
    "2**40 shards": ("counter", "Increment", {}, {6: 2**40}, "InvalidArgumentError"),
    "an empty name": ("counter", "Increment", {}, {4: ""}, "InvalidArgumentError"),
    "a name of 1 MiB": ("counter", "Increment", {}, {4: "x" * MEBIBYTE}, "InvalidArgumentError"),
    "a name with NUL": ("counter", "Increment", {}, {4: "a\0b"}, "InvalidArgumentError"),
    "a value of 7 MiB": ("map", "Put", {"value": "x" * 7 * MEBIBYTE}, {}, "InvalidValueError"),
    "an item of 7 MiB": ("queue", "Enqueue", {"value": "x" * 7 * MEBIBYTE}, {}, "InvalidValueError"),
    "2**70 permits": ("semaphore", "TryAcquire", {"permits": 2**70}, {}, "InvalidValueError"),
    "a member that is not canonical": ("set", "Add", {"value": Raw(b'{"a": 1}')}, {}, "InvalidValueError"),
    "an item that nobody can read": ("queue", "Enqueue", {"value": Raw(b"1e999")}, {}, "InvalidValueError"),
    "a seal": ("map", "Seal", {}, {}, "InvalidArgumentError"),
    "a seal under a false warrant": ("counter", "Seal", {"warrant": HEX}, {}, "InvalidArgumentError"),
    "a seal of what is not there": ("set", "Seal", {"warrant": HEX}, {}, "Refused"),
    "a redaction": ("map", "Redact", {}, {}, "InvalidArgumentError"),
    "an expiry": ("lock", "Expire", {}, {}, "InvalidTypeError"),
    "a request of another's name": ("lock", "Acquire", {"request": str(uuid4())}, {}, "InvalidArgumentError"),
    "another command's key": ("counter", "Increment", {}, {12: "order-1"}, "InvalidArgumentError"),
    "no time": ("counter", "Increment", {}, {10: 0.0}, "NotDoneError"),
}
QUESTIONS: dict[str, list[Any]] = {
    "an id of 3 bytes": [5, "counter", 0, 0, 1, b"abc"],
    "no id": [5, "counter", 0, 0, 1, b""],
    "an outcome in no slot": [5, "counter", 256, 0, 1, bytes(16)],
    "an outcome of no kind": [5, "os", 0, 0, 1, bytes(16)],
    "an outcome behind nothing": [5, "counter", 0, -1, 1, bytes(16)],
    "a history of no kind": [6, "os", "x", "", 0, None, 10],
    "a history of a key without its tag": [6, "map", "x", "alice", 0, None, 10],
    "a history behind nothing": [6, "counter", "x", "", -1, None, 10],
    "a history of a huge sequence": [6, "counter", "x", "", 2**63, None, 10],
    "a history of nothing": [6, "counter", "x", "", 0, None, 0],
}


async def first(bad: Member, message: list[Any]) -> Any:
    """Ask one thing."""
    [answer] = [answer async for _, answer in bad.ask([message])]
    return answer


async def test_messages_that_did_harm(
    victim: Victim, journal_url: str, sql: Callable[..., list[tuple[Any, ...]]]
) -> None:
    """Given a member with the secret, when it sends what did harm once, then each is refused and nothing is stored."""
    counts = [f"SELECT count(*) FROM casty_{table}" for table in ("events", "entities", "structures")]

    async def stored() -> list[Any]:
        return [await asyncio.to_thread(sql, journal_url, count) for count in counts]

    told: dict[str, object] = {}
    async with victim.client() as client, member(victim) as bad:
        await client.distributed().map[str, int]("victim").put("k", 1)
        await client.distributed().counter("victim").increment()
        places = await bad.places()
        before = await stored()
        for what, (kind, command, fields, others, _) in EXAMPLES.items():
            known = "lock" if command == "Expire" else kind
            body = b'{"requests":[]}' if command == "Expire" else body_of(known, command, **fields)
            message = ask_of(kind, "Destroy" if command == "Expire" else command, body, places)
            message[7] = command
            for number, value in others.items():
                message[number] = value
            answer = await first(bad, message)
            told[what] = answer.error if isinstance(answer, Failed) else type(answer).__name__
        for what, question in QUESTIONS.items():
            answer = await first(bad, question)
            told[what] = answer.error if isinstance(answer, Failed) else answer
        assert await stored() == before
        assert await client.distributed().map[str, int]("victim").get("k") == 1
    expected = {what: refusal for what, (*_, refusal) in EXAMPLES.items()}
    assert told == expected | dict.fromkeys(QUESTIONS, "InvalidArgumentError")
    assert await victim.problems() == []


async def test_a_wrong_term_is_refused(victim: Victim) -> None:
    """Given a slot that a node holds, when a command is for another term, then this is not its owner."""
    async with member(victim) as bad:
        places = await bad.places()
        number, term = places["counter"]
        for wrong in (0, term + 1, 2**63 - 1):
            message = ask_of("counter", "Increment", b'{"amount":1}', {"counter": (number, wrong)})
            assert isinstance(await first(bad, message), Refused)


async def test_the_outcome_of_another_kinds_command(victim: Victim) -> None:
    """Given a command that was done, when its outcome is asked as another kind's, then that is refused."""
    async with victim.client() as client, member(victim) as bad:
        lock = client.distributed().lock("victim")
        await lock.acquire(idempotency_key="held")
        places = await bad.places()
        command_id = UUID(next(iter(lock._holdings.requests()))).bytes
        number, term = places["lock"]
        assert isinstance(await first(bad, [5, "lock", number, 0, term, command_id]), Outcome)
        answer = await first(bad, [5, "counter", number, 0, term, command_id])
        assert (type(answer), answer.error) == (Failed, "InvalidArgumentError")


async def test_maintenance_goes_through_a_client(victim: Victim, journal_url: str, tmp_path: Path) -> None:
    """Given maintenance that reaches the owner as a client, when it cuts and redacts, then it is done and verifies."""
    journal = SqlJournal(journal_url)
    await journal.open()
    try:
        async with victim.client() as client:
            d = client.distributed()
            for number in range(5):
                await d.map[str, int]("people").put("ann", number)
            await set_retention(journal, "map", "people", 2)
            cut = await run_retention(client, journal, tmp_path)
            archives = [tmp_path / file for file in cut.archives]
            name = EntityName("map", "people", encode_key("ann"))
            done = await redact(client, journal, name, reason="asked for it", archives=archives)
            assert (cut.events, await d.map[str, int]("people").get("ann")) == (3, None)
            assert done.events > 0
        assert (await verify(journal)).ok
    finally:
        await journal.close()


@pytest.mark.parametrize("command", [Redact("so"), Seal(1, 1, HEX, HEX, "a.gz", HEX)], ids=["redact", "seal"])
async def test_a_warrant_is_of_one_command(victim: Victim, journal_url: str, command: Redact | Seal) -> None:
    """Given a warrant, when the salt, the entity, the command or its id is another one, then it is worth nothing."""
    journal = SqlJournal(journal_url)
    await journal.open()
    name = EntityName("map", "people", encode_key("ann"))
    try:
        async with victim.client() as client:
            people = client.distributed().map[str, int]("people")
            await people.put("ann", 1)
            [stored] = await journal.entities([name])
            assert stored is not None
            assert stored.salt is not None
            salt = stored.salt
            other = {"reason": "other"} if isinstance(command, Redact) else {"archive": "other"}
            ref = client.region_ref("people", StructureFactory("map"), num_shards=100)

            async def give(make: Callable[[bytes], Redact | Seal]) -> object:
                return await client.entity_ask(
                    ref, lambda context: ShardEnvelope(name.key, make(context.command_id)), timeout=5.0
                )

            for forged in (
                lambda id_: warranted(command, b"x" * 16, name, id_),
                lambda id_: warranted(command, salt, name._replace(key="s:bob"), id_),
                lambda _: warranted(command, salt, name, uuid4().bytes),
                lambda id_: structs.replace(warranted(command, salt, name, id_), **other),
                lambda _: command,
            ):
                with pytest.raises(InvalidArgumentError, match=r"Nothing was done\."):
                    await give(forged)
            assert await people.get("ann") == 1
            assert len(await journal.records(slot("map", "people", name.key), after=0, limit=10)) == 2
            await give(lambda id_: warranted(command, salt, name, id_))
    finally:
        await journal.close()
