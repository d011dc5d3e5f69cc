"""The hash chain is a data format: fixed vectors, every field counts, and a redacted payload still verifies."""

from __future__ import annotations

import hashlib
import hmac
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from casty_es.format.chain import GENESIS, digest, link

SALT = bytes(range(16))
COMMAND = bytes(range(16, 32))
PAYLOAD = '{"amount":1,"value":1}'

RECORD: dict[str, Any] = {
    "previous": GENESIS,
    "slot": 21,
    "position": 2,
    "epoch": 1,
    "entity": (21 << 32) + 1,
    "sequence": 1,
    "recorded_at": 1_700_000_000_000_000,
    "type_and_version": ("counter.incremented", 1),
    "command_id": COMMAND,
    "idempotency_key": "order-1",
    "payload_digest": digest(SALT, PAYLOAD),
    "metadata_digest": digest(SALT, '{"actor":"é"}'),
}
BARE = {
    **RECORD,
    "entity": None,
    "sequence": None,
    "command_id": None,
    "idempotency_key": None,
    "metadata_digest": None,
}

OTHER: dict[str, list[Any]] = {
    "previous": [bytes(31) + b"\1"],
    "slot": [0, 22, 21 << 1],
    "position": [1, 3, 2 << 32],
    "epoch": [2],
    "entity": [None, (21 << 32) + 2, (22 << 32) + 1],
    "sequence": [None, 2, 2**62],
    "recorded_at": [0, 1_700_000_000_000_001, -1],
    "type_and_version": [("counter.incremented", 2), ("counter.decremented", 1), ("", 1)],
    "command_id": [None, bytes(range(17, 33)), COMMAND[::-1]],
    "idempotency_key": [None, "", "order-2", "order-1 "],
    "payload_digest": [digest(SALT, PAYLOAD + " "), digest(SALT[::-1], PAYLOAD), bytes(32)],
    "metadata_digest": [None, digest(SALT, "{}"), RECORD["payload_digest"]],
}


def test_golden_digests() -> None:
    """Given a salt and a text, when digested, then it is HMAC-SHA256 of the text's UTF-8, and the vector is as ever."""
    assert digest(SALT, PAYLOAD).hex() == "bb17ea08d5beac0118aa3ff87b6bee67c0a57286358e5330779694601f698ec0"
    assert digest(b"", "é").hex() == "e2b36c14c961bddcba253e6e071cd6835731aaa01bcee5e6bbb33fe9dea253d7"
    assert digest(SALT, "é") == hmac.new(SALT, "é".encode(), hashlib.sha256).digest()


def test_golden_links() -> None:
    """Given a full record and a bare one, when linked, then their hashes are the vectors of the data format."""
    assert link(**RECORD).hex() == "0cd2a0131ae6f4cffc97c8f5c98d48411e499670a42dd3d94d9be4f76f458dd5"
    assert link(**BARE).hex() == "a4fcfa93720dfcb5bb65958ed39b7c2bf8ab3e181b6df3dbaa74350dd55ec802"


def test_layout_is_the_documented_one() -> None:
    """Given a record, when its fields are packed by hand, then SHA-256 over them is its hash."""
    name, key = b"counter.incremented", b"order-1"
    packed = b"".join(
        [
            RECORD["previous"],
            bytes([0b111]),  # entity, command id and metadata are there
            (21).to_bytes(4, "big"),
            *[RECORD[field].to_bytes(8, "big") for field in ("position", "epoch", "entity", "sequence", "recorded_at")],
            (1).to_bytes(4, "big"),
            COMMAND,
            RECORD["payload_digest"],
            RECORD["metadata_digest"],
            len(name).to_bytes(4, "big"),
            len(key).to_bytes(4, "big"),
            name,
            key,
        ]
    )

    assert link(**RECORD) == hashlib.sha256(packed).digest()


@pytest.mark.parametrize("field", list(RECORD))
def test_every_field_counts(field: str) -> None:
    """Given a record, when any one field changes, then its hash is another, and no two changes give the same."""
    hashes = [link(**RECORD)] + [link(**{**RECORD, field: value}) for value in OTHER[field]]

    assert len(set(hashes)) == len(hashes) == len(OTHER[field]) + 1


@pytest.mark.parametrize(("absent", "zero"), [("command_id", bytes(16)), ("idempotency_key", "")])
def test_absent_is_not_zero(absent: str, zero: object) -> None:
    """Given a record without an optional field, when the field is there but zero, then the hash is another."""
    assert link(**{**RECORD, absent: None}) != link(**{**RECORD, absent: zero})


@given(
    texts=st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=6), min_size=4, max_size=4),
    absent=st.booleans(),
)
def test_type_and_key_never_run_together(texts: list[str], absent: bool) -> None:  # noqa: FBT001 - hypothesis calls it
    """Given two pairs of type and idempotency key, when the pairs differ, then the hashes differ, however they join."""
    type_a, key_a, type_b, key_b = texts
    first, second = (type_a, key_a), (type_b, None if absent else key_b)

    hashes = [
        link(**{**RECORD, "type_and_version": (type_, 1), "idempotency_key": key}) for type_, key in (first, second)
    ]

    assert (hashes[0] == hashes[1]) == (first == second)


@given(text=st.text(st.characters(exclude_categories=["Cs"]), min_size=2, max_size=12), data=st.data())
def test_the_cut_between_type_and_key_counts(text: str, data: st.DataObject) -> None:
    """Given one text cut into type and key at two places, when linked, then the hashes differ."""
    cuts = data.draw(st.lists(st.integers(0, len(text)), min_size=2, max_size=2, unique=True))

    hashes = {link(**{**RECORD, "type_and_version": (text[:cut], 1), "idempotency_key": text[cut:]}) for cut in cuts}

    assert len(hashes) == 2


def chain_of(digests: list[bytes]) -> list[bytes]:
    """Return the hashes of a slot whose records differ in position and payload only."""
    hashes = [GENESIS]
    for position, payload_digest in enumerate(digests, 1):
        record = {**RECORD, "previous": hashes[-1], "position": position, "payload_digest": payload_digest}
        hashes.append(link(**record))
    return hashes


@given(payloads=st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1, max_size=8), data=st.data())
def test_redaction_keeps_the_chain(payloads: list[str], data: st.DataObject) -> None:
    """Given a chain, when payloads give way to their digests and the salt is gone, then it still verifies whole."""
    stored: list[str | bytes] = list(payloads)
    hashes = chain_of([digest(SALT, payload) for payload in payloads])
    for index in data.draw(st.sets(st.integers(0, len(payloads) - 1))):
        stored[index] = digest(SALT, payloads[index])

    verified = chain_of([kept if isinstance(kept, bytes) else digest(SALT, kept) for kept in stored])

    assert verified == hashes


@given(payloads=st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=2, max_size=8), data=st.data())
def test_tampering_breaks_every_later_hash(payloads: list[str], data: st.DataObject) -> None:
    """Given a chain, when one payload is edited, then its hash and all later ones change and the earlier ones stay."""
    index = data.draw(st.integers(0, len(payloads) - 1))
    edited = [*payloads[:index], payloads[index] + "x", *payloads[index + 1 :]]

    before, after = (chain_of([digest(SALT, payload) for payload in texts]) for texts in (payloads, edited))

    assert [old == new for old, new in zip(before, after, strict=True)] == [
        position <= index for position in range(len(payloads) + 1)
    ]


@given(st.lists(st.binary(min_size=32, max_size=32), min_size=1, max_size=20))
def test_hashes_are_32_bytes_and_distinct(digests: list[bytes]) -> None:
    """Given a chain, when its hashes are compared, then each has 32 bytes and differs from the one before."""
    hashes = chain_of(digests)

    assert {len(hash_) for hash_ in hashes} == {32}
    assert all(one != next_ for one, next_ in pairwise(hashes))


def test_another_salt_hides_the_payload() -> None:
    """Given two entities with one payload, when digested under their salts, then nothing shows that it is the same."""
    assert digest(SALT, PAYLOAD) != digest(SALT[::-1], PAYLOAD)
