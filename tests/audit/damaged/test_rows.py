"""Rows that no program writes: read all the same, and marked."""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from pathlib import Path
from typing import Any, Final
from unittest.mock import ANY
from urllib.parse import urlsplit

import msgspec
import pytest

from casty_es import ClusterClient, ClusteredActorSystem, SqlJournal, connect
from casty_es.audit.anchor import Anchor, AnchoredSlot, take_anchor
from casty_es.audit.forensics import who_held
from casty_es.audit.search import Wanted, search
from casty_es.audit.verify import Wrong, verify
from casty_es.cli.app import run
from casty_es.errors import CastyError, ConfigurationError, EntityQuarantinedError
from casty_es.journal.access_tables import AccessTables
from casty_es.journal.damaged import BEHIND_ALL, NotUtf8, damage_of, decoded_text, event_of
from casty_es.journal.urls import sqlite_file
from tests.audit.verifying.tampering import Tamperer

from .commands import run_command
from .conftest import Journals
from .damages import Damage, do_damage

SOUND: Final = (0, 2, 1, 1, 1, "counter.incremented", 1, "{}", None, bytes(16), "key", 5, bytes(32))


def with_field(number: int, value: Any) -> tuple[Any, ...]:
    """Return the sound row with another value."""
    return (*SOUND[:number], value, *SOUND[number + 1 :])


@pytest.mark.parametrize(
    ("number", "value", "told", "instead"),
    [
        (1, "text", "its position is not a whole number", BEHIND_ALL),
        (1, 1.5, "its position is not a whole number", 2),
        (3, None, None, None),
        (5, None, "its type is missing", ""),
        (7, b"{}", "its payload is not text", ""),
        (7, decoded_text(b'{"a":"\xff"}'), "its payload is not UTF-8", '{"a":"\\xff"}'),
        (9, b"short", "its command id has 5 bytes, not 16", None),
        (11, 2**62, f"its time is {2**62} microseconds from 1970, which no calendar has", 253_402_300_799_999_999),
        (
            11,
            -(2**63),
            f"its time is {-(2**63)} microseconds from 1970, which no calendar has",
            -62_135_596_800_000_000,
        ),
        (12, b"", "its hash has 0 bytes, not 32", bytes(32)),
    ],
)
def test_each_field(number: int, value: Any, told: str | None, instead: Any) -> None:
    """A field that no program writes gets another value of its type, and is named."""
    # given a row with one wrong field, when it is read
    record = event_of(with_field(number, value))

    # then the field has its type, and the others what they had
    assert damage_of(record) == told
    assert getattr(record, record.__struct_fields__[number]) == instead
    assert record.idempotency_key == "key"


def test_a_sound_row_is_no_damaged_one() -> None:
    """A row that some program wrote is read as it is."""
    record = event_of(SOUND)
    assert damage_of(record) is None
    assert not isinstance(record.payload, NotUtf8)


async def test_shards_that_can_be_none_close_their_structure_alone(full_url: str, database_kind: str) -> None:
    """A number of shards of 0 gives a typed error for its structure, in a running node too, and nothing else."""
    await asyncio.to_thread(do_damage, full_url, Damage(database_kind, "casty_structures", "shards", "nul", "0"))
    async with connect(full_url) as d:
        with pytest.raises(CastyError, match="shards"):
            await d.map[str, dict]("users", timeout=5).get("alice")
        assert await d.counter("hits").increment() == 31

    report = await verify(full_url)
    assert Wrong.DIRECTORY in {finding.wrong for finding in report.findings}


async def test_a_running_node_closes_what_it_cannot_read_alone(full_url: str, database_kind: str) -> None:
    """A payload that is not JSON closes its entity, for nodes and clients, and nothing else."""
    await asyncio.to_thread(
        do_damage, full_url, Damage(database_kind, "casty_events", "payload", "not json", "'not json'")
    )
    journal = SqlJournal(full_url)
    secret = bytes(range(32))
    async with ClusteredActorSystem(journal=journal, port=0, secret=secret) as system:
        with pytest.raises(EntityQuarantinedError, match="sequence 2"):
            await system.distributed().map[str, dict]("users").get("alice")
        contact = system.self_node.host, system.self_node.port
        async with ClusterClient(contact_points=[contact], secret=secret) as client:
            users = client.distributed().map[str, dict]("users")
            assert await users.get("bob") == {"number": 3}
            told = [event.unreadable async for event in users.history("alice")]
    assert [text is None for text in told] == [True, False, True, True]


async def test_a_client_is_told_of_a_damaged_record(full_url: str) -> None:
    """What cannot go over the wire is told in its place."""
    await Tamperer(full_url).run(
        "UPDATE casty_events SET recorded_at = 4611686018427387904 WHERE sequence = 2 AND entity = "
        "(SELECT id FROM casty_entities WHERE key = 's:alice')"
    )
    secret = bytes(range(32))
    async with ClusteredActorSystem(journal=SqlJournal(full_url), port=0, secret=secret) as system:
        contact = system.self_node.host, system.self_node.port
        async with ClusterClient(contact_points=[contact], secret=secret) as client:
            users = client.distributed().map[str, dict]("users")
            told = [(event.sequence, event.unreadable) async for event in users.history("alice")]
    assert [sequence for sequence, _ in told] == [1, 2, 3, 4]
    assert [sequence for sequence, text in told if text is not None] == [2]


async def test_the_library_raises_or_tells(full_url: str) -> None:
    """Without a list an unreadable record is a typed error that names its place; with one it is passed over."""
    await Tamperer(full_url).run(
        "UPDATE casty_events SET payload = 'no' WHERE sequence = 1 AND entity = "
        "(SELECT id FROM casty_entities WHERE kind = 'lock')"
    )
    async with _opened(full_url) as journal:
        events = [event async for event in search(journal, Wanted(kind="lock", name="deploy"))]
        assert [event.unreadable is None for event in events] == [False, True]
        with pytest.raises(EntityQuarantinedError, match="sequence 1"):
            await who_held(journal, "lock", "deploy", at=events[1].recorded_at)
        unreadable: list[Any] = []
        moment = await who_held(journal, "lock", "deploy", at=events[1].recorded_at, unreadable=unreadable)
        assert moment is not None
        assert {one.sequence for one in unreadable} == {1}


class _opened:  # noqa: N801 - a context manager
    def __init__(self, full_url: str) -> None:
        self._journal = SqlJournal(full_url)

    async def __aenter__(self) -> SqlJournal:
        await self._journal.open()
        return self._journal

    async def __aexit__(self, *_: object) -> None:
        await self._journal.close()


@pytest.mark.parametrize("shape", ["far", "behind", "seals", "here"])
async def test_forged_seals_cost_no_minutes(shape: str, full_url: str) -> None:
    """Twenty thousand forged seals are a bounded number of findings, after a bounded time."""
    numbers = {
        "far": "i + 1, 1000000 + i, 1000000000 + i, 1",
        "behind": "1000000 + i, 1000000 + i, 5, i + 1",
        "seals": "1, 1000000 + i, 5, i + 1",
        "here": "1, 1 + i, 5, i + 1",
    }[shape]
    first, last, entity, sealed_by = numbers.split(", ")
    tamperer = Tamperer(full_url)
    zero = tamperer.bytes_as("00" * 32)
    await tamperer.run(
        "WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 19999) "
        "INSERT INTO casty_seals (slot, first, last, entity, previous_hash, hash, sealed_by) "
        f"SELECT 0, {first}, {last}, {entity}, {zero}, {zero}, {sealed_by} FROM n"
    )
    started = time.monotonic()
    report = await verify(full_url, slots=[0])
    assert time.monotonic() - started < 60
    assert Wrong.SEAL in {finding.wrong for finding in report.findings}
    assert len(report.findings) < 60
    assert any("not looked at" in finding.text for finding in report.findings)


def test_verify_says_what_it_looked_at(full_url: str, database_kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The journal that was looked at is named."""
    capsys.readouterr()
    assert run(["verify", "--processes", "1", "--json", "--url", full_url]) == 0
    looked_at = json.loads(capsys.readouterr().out)["looked_at"]
    assert run(["verify", "--processes", "1", "--url", full_url]) == 0
    assert f"Looked at {looked_at['server']}, {looked_at['database']}" in capsys.readouterr().out
    database = str(sqlite_file(full_url).resolve()) if database_kind == "sqlite" else urlsplit(full_url).path[1:]
    assert looked_at["database"] == database
    assert looked_at["schema"] == {"sqlite": "main", "postgres": "public"}[database_kind]
    assert looked_at["role"]
    assert sum(looked_at["positions"].values()) > 0


# What may stand in casty_meta, and whether a reader can see that it is wrong.
METAS: Final = {
    "emptied": (None, "", "deleted"),
    "no slots": ("slots", "0", "slots is '0'"),
    "fewer slots": ("slots", "1", "slots is '1', and must be above"),
    "more slots": ("slots", "4096", None),
    "no incarnation": ("incarnation", "0", "incarnation is '0'"),
}


@pytest.mark.parametrize("change", METAS)
def test_records_are_shown_whatever_stands_in_meta(
    change: str, database_kind: str, journals: Journals, tmp_path: Path
) -> None:
    """Readers show every record when the one row of casty_meta is gone or wrong, and say so; nobody else opens it."""
    # given what they show of a sound journal
    kept = {"anchor": journals.anchor, "archive": journals.archive, "verified": journals.verified}
    column, value, said = METAS[change]
    commands = ("log --json", "log counter/hits --json", "show map users --key alice --json", "lock status deploy")
    commands += ("log map/users --key bob", "map keys users", "semaphore status seats")
    with journals.copied(tmp_path) as url:
        sound = [run_command(command, url, tmp_path, **kept).out for command in commands]

    # when the row is changed
    with journals.copied(tmp_path) as url:
        if column is None:
            asyncio.run(Tamperer(url).run("DELETE FROM casty_meta"))
        else:
            do_damage(url, Damage(database_kind, "casty_meta", column, change, value))
        done = [run_command(command, url, tmp_path, **kept) for command in commands]
        charts = [run_command(f"{command} lock deploy", url, tmp_path, **kept) for command in ("who", "timeline")]
        verified = run_command("verify --processes 1 --json --anchor {anchor}", url, tmp_path, **kept)
        written = run_command("counter increment hits", url, tmp_path, **kept)

    # then all of it is shown, and the damage is named on stderr
    assert [one.out for one in done] == sound
    code = 0 if said is None else 1
    assert {one.code for one in done + charts} == {code}
    assert all(one.out for one in charts)
    assert all((said or "") in one.err for one in done + charts)
    # and a verification names it, and goes through all that is there
    assert verified.code == 1
    report = json.loads(verified.out)
    assert report["findings"]
    if change in {"emptied", "no slots", "no incarnation"}:
        assert {one["wrong"] for one in report["findings"]} == {"guard"}
        assert report["records"] > 50
        assert written.code == 3


def test_times_behind_an_anchor_that_are_none(full_sqlite: Journals, tmp_path: Path) -> None:
    """A record behind an anchor whose time is none has no time before it: the walk names it."""
    # given an anchor of a slot that ends before a record, and no number as that record's time
    with full_sqlite.copied(tmp_path) as url:
        earlier = asyncio.run(_anchor_before_the_damaged(url))
        do_damage(url, Damage("sqlite", "casty_events", "recorded_at", "not json", "'not json'"))

        # when it is verified with the anchor, then nothing is said of when it was written
        found = asyncio.run(verify(url, anchors=[earlier])).findings
        assert found
        assert Wrong.ANCHOR not in {one.wrong for one in found}


async def _anchor_before_the_damaged(url: str) -> Anchor:
    journal = SqlJournal(url)
    try:
        anchor = await take_anchor(journal)
        [(slot, position)] = await journal.query(
            "SELECT slot, position FROM casty_events WHERE sequence = 2 AND entity IN (SELECT id FROM casty_entities "
            "WHERE key = 's:alice')"
        )
        hashes = await journal.hashes([(slot, position - 1)])
    finally:
        await journal.close()
    before = AnchoredSlot(slot, ((position - 1, hashes[slot, position - 1].hex()),))
    chains = [one for one in anchor.chains if one.slot != slot]
    return msgspec.structs.replace(anchor, chains=(*chains, before))


def test_a_verification_is_taken_up_over_a_text_that_is_not_utf_8(full_sqlite: Journals, tmp_path: Path) -> None:
    """Nothing came since an earlier verification, and the directory holds what no digest can be made of."""
    # given a verification that found nothing, and a name that is no text since
    with full_sqlite.copied(tmp_path) as url:
        verified = shutil.copyfile(full_sqlite.verified, tmp_path / "taken-up.json")
        do_damage(url, Damage("sqlite", "casty_entities", "name", "not utf-8", "CAST(X'FFFE41' AS TEXT)"))

        # when it is taken up, then the row is found
        found = asyncio.run(verify(url, resume=verified)).findings
        assert "its name is not UTF-8" in " ".join(one.text for one in found)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("entity", "X'00'"),
        ("entity", "CAST(X'FFFE41' AS TEXT)"),
        ("through", "NULL"),
        ("salt", "'0123456789abcdef'"),
        ("salt", "X'00'"),
    ],
)
def test_a_retired_salt_that_is_none_is_told(
    full_sqlite: Journals, tmp_path: Path, capsys: pytest.CaptureFixture[str], column: str, value: str
) -> None:
    """What stands where a number or the salt must be is none, and the finding can be printed."""
    with full_sqlite.copied(tmp_path) as url:
        do_damage(url, Damage("sqlite", "casty_retired_salts", column, "deep", value))

        assert run(["verify", "--processes", "1", "--json", "--url", url]) == 1
        found = json.loads(capsys.readouterr().out)["findings"]
        assert (None if column == "entity" else ANY, "redaction") in [(one["entity"], one["wrong"]) for one in found]


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("name", "CAST(X'FFFE41' AS TEXT)"),
        ("scopes", "'[['"),
        ("created_at", str(2**62)),
        ("ends_at", "'never'"),
        ("revoked_at", "CAST(X'FFFE41' AS TEXT)"),
    ],
)
def test_a_token_that_is_none_lets_nobody_in(
    full_sqlite: Journals,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    column: str,
    value: str,
) -> None:
    """A row that no program writes is no token, and is said to be none."""
    with full_sqlite.copied(tmp_path) as url:
        do_damage(url, Damage("sqlite", "casty_tokens", column, "damaged", value))

        assert run(["token", "list", "--json", "--url", url]) == 1
        told = json.loads(capsys.readouterr().out)
        assert len(told["tokens"]) == 1
        [wrong] = told["unreadable"]
        assert "is no token and lets nobody in" in wrong


def test_a_policy_of_too_many_seconds_hides_no_other(
    full_sqlite: Journals, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A number that no length of time has is told like a policy that is none."""
    with full_sqlite.copied(tmp_path) as url:
        do_damage(url, Damage("sqlite", "casty_structures", "keep", "damaged", f"'seconds:{10**17}'"))

        assert run(["retention", "show", "--url", url]) == 1
        told = capsys.readouterr()
        assert "counter/hits" in told.out
        assert "map/users" in told.err


def test_a_secret_that_was_given_wrong_is_no_damage(
    full_sqlite: Journals, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is wrong with an option is told as before, and a damaged secret as what was found."""
    with full_sqlite.copied(tmp_path) as url:
        assert run(["nodes", "--json", "--secret", "0001", "--url", url]) == 3
        assert "error" in json.loads(capsys.readouterr().out)
        do_damage(url, Damage("sqlite", "casty_secrets", "value", "damaged", "X'0001'"))

        assert run(["nodes", "--json", "--url", url]) == 1
        told = json.loads(capsys.readouterr().out)
        assert {one["node_id"] for one in told["nodes"]} == {"node-a", "node-b"}
        assert "No node was asked" in told["unreadable"][0]


def test_a_secret_that_is_no_bytes_is_refused(full_sqlite: Journals, tmp_path: Path) -> None:
    """A number is no secret of as many zeros."""
    with full_sqlite.copied(tmp_path) as url:
        do_damage(url, Damage("sqlite", "casty_secrets", "value", "wrong type", "CAST(32 AS INTEGER)"))

        with pytest.raises(ConfigurationError, match="is not bytes"):
            asyncio.run(_secrets(url))


@pytest.mark.parametrize(
    ("damage", "command", "told"),
    [
        (("casty_seals", "sealed_by", "X'00'"), "retention run --archive {folder}", "row of casty_seals"),
        (("casty_entities", "kind", "'other'"), "copy {url} sqlite:///{folder}/copy.db", "to be copied is damaged"),
        (("casty_entities", "slot", "0"), "copy {url} sqlite:///{folder}/copy.db", "to be copied is damaged"),
    ],
)
def test_what_builds_on_a_damaged_row_refuses(
    damage: tuple[str, str, str], command: str, told: str, full_sqlite: Journals, tmp_path: Path
) -> None:
    """It could not do what it was asked for, and says over which row: nobody used it wrongly."""
    kept = {name: value for name, value in full_sqlite._asdict().items() if name != "copied"}
    with full_sqlite.copied(tmp_path) as url:
        table, column, value = damage
        do_damage(url, Damage("sqlite", table, column, "other", value))
        done = run_command(command, url, tmp_path, **kept)
    assert (done.code, "nobody foresaw" in done.err) == (3, False), done
    assert told in done.err


def test_a_switch_that_is_neither_on_nor_off_is_found(full_sqlite: Journals, tmp_path: Path) -> None:
    """What a program of ours never writes into casty_meta is named."""
    with full_sqlite.copied(tmp_path) as url:
        do_damage(url, Damage("sqlite", "casty_meta", "maintenance", "missing", "NULL"))
        found = asyncio.run(verify(url)).findings
    assert ["casty_meta.maintenance is 'None', and must be 0." in one.text for one in found] == [True]


async def _secrets(url: str) -> tuple[bytes, ...]:
    journal = SqlJournal(url)
    try:
        await journal.open()
        return await AccessTables(journal).secrets()
    finally:
        await journal.close()
