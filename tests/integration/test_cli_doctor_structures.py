"""The doctor and structures whose record is missing or wrong: what it reports, what it mends, and what it refuses."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from casty_es import connect
from casty_es.audit.verify import verify
from casty_es.cli.app import run
from casty_es.errors import EntityQuarantinedError

Sql = Callable[..., list[tuple[Any, ...]]]

STRUCTURES = "SELECT kind, name, shards FROM casty_structures ORDER BY kind, name"
RECORDED = [("barrier", "b", 10), ("counter", "c", 100), ("counter", "few", 3), ("map", "m", 7)]


async def write(url: str) -> None:
    """Write structures under the usual numbers and others."""
    async with connect(url) as d:
        await d.barrier("b", node_id="a").arrive(1)
        await d.counter("c").increment()
        await d.counter("few", shards=3).increment()
        await asyncio.gather(*(d.map[int, int]("m", shards=7).put(key, key) for key in range(60)))


@pytest.fixture
def written(journal_url: str) -> str:
    """A journal with those structures."""
    asyncio.run(write(journal_url))
    return journal_url


def found(url: str, capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    """Return what the doctor says of the structures."""
    capsys.readouterr()
    assert run(["doctor", "--json", "--url", url]) == 0
    [check] = [one for one in json.loads(capsys.readouterr().out)["checks"] if one["name"] == "structures"]
    return check


def repair(url: str, capsys: pytest.CaptureFixture[str], *, code: int = 0) -> list[dict[str, Any]]:
    """Return what the doctor says that it did."""
    capsys.readouterr()
    assert run(["doctor", "--repair", "--json", "--url", url]) == code
    return list(json.loads(capsys.readouterr().out)["structures"])


def test_structures_without_a_record(written: str, sql: Sql, capsys: pytest.CaptureFixture[str]) -> None:
    """They are reported and left alone, until --repair records for each the number that explains its entities."""
    # given a journal of an older version, which recorded no structure
    assert found(written, capsys)["status"] == "ok"
    sql(written, "DELETE FROM casty_structures")

    # when the doctor looks, then it warns and changes nothing
    check = found(written, capsys)
    assert (check["status"], "4 structures with entities and without a record" in check["found"]) == ("warn", True)
    assert "--repair" in check["advice"]
    assert sql(written, STRUCTURES) == []

    # when it repairs, then it says what it did
    done = repair(written, capsys)
    assert {(one["kind"], one["name"], one["recorded_before"]) for one in done} == {
        (*row[:2], None) for row in RECORDED
    }
    assert {one["refused"] for one in done} == {None}

    # and every structure has the number that it was written with, or one that leads to the same slots
    now = {tuple(row[:2]): row[2] for row in sql(written, STRUCTURES)}
    assert (now["barrier", "b"], now["counter", "c"], now["map", "m"]) == (10, 100, 7)
    assert found(written, capsys)["status"] == "ok"
    assert repair(written, capsys) == []
    assert asyncio.run(verify(written)).findings == []
    assert asyncio.run(counted(written)) == [2, 2]


async def counted(url: str) -> list[int]:
    """Increment the counters under a number that is not theirs."""
    async with connect(url) as d:
        return [await d.counter(name, shards=50).increment() for name in ("c", "few")]


def test_structures_with_a_wrong_record(written: str, sql: Sql, capsys: pytest.CaptureFixture[str]) -> None:
    """What a restart with another number recorded over unrecorded entities is replaced by what explains them."""
    # given records that lead elsewhere
    sql(written, "UPDATE casty_structures SET shards = 50 WHERE kind IN ('map', 'barrier')")
    assert "2 structures recorded with shards that lead elsewhere" in found(written, capsys)["found"]

    # when the doctor repairs them, then they are what they were
    done = repair(written, capsys)
    assert {(one["name"], one["recorded_before"], one["recorded"]) for one in done} == {("m", 50, 7), ("b", 50, 10)}
    assert sql(written, STRUCTURES) == RECORDED
    assert asyncio.run(verify(written)).findings == []


async def test_a_wrong_record_beside_a_node(journal_url: str, sql: Sql) -> None:
    """A node remembers what is recorded, so nothing is changed while one runs."""
    await write(journal_url)
    await asyncio.to_thread(sql, journal_url, "UPDATE casty_structures SET shards = 50 WHERE kind = 'map'")

    async with connect(journal_url):
        assert await asyncio.to_thread(run, ["doctor", "--repair", "--url", journal_url]) == 3

    assert ("map", "m", 50) in await asyncio.to_thread(sql, journal_url, STRUCTURES)


def test_entities_that_no_number_explains(written: str, sql: Sql, capsys: pytest.CaptureFixture[str]) -> None:
    """Where no number puts all entities where they are, the doctor refuses, and mends the others all the same."""
    # given a map of which one key is called like one of another slot
    sql(written, "DELETE FROM casty_structures", "UPDATE casty_entities SET key = 'i:1000' WHERE key = 'i:1'")

    # when the doctor repairs, then it refuses the map, says so, and does the rest
    done = {one["name"]: one for one in repair(written, capsys, code=1)}
    assert "No number of shards explains" in done["m"]["refused"]
    assert done["m"]["recorded"] is None
    assert {row[1] for row in sql(written, STRUCTURES)} == {"b", "c", "few"}
    assert "1 structure that no number of shards explains" in found(written, capsys)["found"]


async def test_a_structure_that_no_number_explains_is_not_written(journal_url: str, sql: Sql) -> None:
    """Nothing is added to a structure of which nobody knows where its entities belong."""
    await write(journal_url)
    change = ("DELETE FROM casty_structures", "UPDATE casty_entities SET key = 'i:1000' WHERE key = 'i:1'")
    await asyncio.to_thread(sql, journal_url, *change)

    async with connect(journal_url) as d:
        users = d.map[int, int]("m", shards=7)
        for ask in (users.put(77, 1), users.put(2, 1), users.get(2)):
            with pytest.raises(EntityQuarantinedError, match="casty-es doctor"):
                await ask
        assert await d.counter("c").get() == 1
