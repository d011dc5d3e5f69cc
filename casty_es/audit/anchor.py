"""Anchors: where the chains of a journal stood at a moment, signed, to be kept where its writers cannot reach.

A chain shows what was changed by somebody who did not compute it anew. An anchor shows the rest: whoever cuts the last
records or rewrites everything cannot make a record with a hash that the anchor has. Besides the heads it holds a few
earlier records of each slot, so that it also says in which part something was changed.

The document is JSON. Its signature is Ed25519 (RFC 8032) over the document without the signature, as JSON with sorted
members and without spaces. That takes the package ``cryptography``: ``pip install 'casty-es[anchor]'``.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

import msgspec

from casty_es.audit.signing import public_key_of, sign, signed_by
from casty_es.errors import InvalidValueError, JournalCorruptError
from casty_es.format.chain import GENESIS
from casty_es.journal.damaged import BEHIND_ALL
from casty_es.journal.database_clock import database_clock
from casty_es.journal.port import EventJournal

_FORMAT: Final = "casty_es anchor 1"
_CHECKPOINTS: Final = 16


class AnchoredSlot(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Records of a slot by position and hash (hexadecimal), in order; the last is its head."""

    slot: int
    records: tuple[tuple[int, str], ...]


class Anchor(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the chains stood."""

    format: str
    # When, in microseconds since 1970, by the clock of whoever took it or the database's, whichever is behind.
    taken_at: int
    slots: int  # the journal's number of slots
    created_at: int  # when the journal was made, and how often an operator had accepted the loss of records, plus one
    incarnation: int
    chains: tuple[AnchoredSlot, ...]  # the slots that had records; the others had none
    public_key: str | None = None  # hexadecimal; ``None`` in an anchor that nobody signed
    signature: str | None = None

    @property
    def signed_part(self) -> bytes:
        """What the signature is over."""
        return msgspec.json.encode(msgspec.structs.replace(self, signature=None), order="sorted")

    def to_json(self) -> str:
        """Return the document."""
        return msgspec.json.format(msgspec.json.encode(self, order="sorted")).decode() + "\n"


async def take_anchor(journal: EventJournal, *, key: bytes | None = None) -> Anchor:
    """Take an anchor of a journal.

    Parameters
    ----------
    key : bytes | None
        The private key, as :func:`casty_es.audit.signing.new_key` gives it; without one the anchor is not signed.

    Raises
    ------
    ConfigurationError
        A key was given, and the package ``cryptography`` is not installed.
    InvalidValueError
        The key is none.
    JournalCorruptError
        The last record of a slot is damaged.

    Examples
    --------
    >>> import asyncio
    >>> from casty_es import InMemoryJournal
    >>> asyncio.run(take_anchor(InMemoryJournal())).chains
    ()
    """
    meta = await journal.open()
    # Before the heads are read: what comes behind them was written later than this.
    now = min(time.time_ns() // 1_000, await database_clock(journal))
    heads = await journal.heads(range(meta.slots))
    chains = []
    for slot, head in sorted(heads.items()):
        if not head.position:
            continue
        if head.position == BEHIND_ALL or len(head.hash) != len(GENESIS):
            raise JournalCorruptError(
                f"The last record of slot {slot} is none that any program writes, so nothing can be anchored to it. No "
                f"anchor was taken. `casty-es verify` says what is wrong."
            )
        records: dict[int, str] = {}
        for number in range(1, _CHECKPOINTS):
            wanted = head.position * number // _CHECKPOINTS
            # Where it was cut, the next one that is there.
            for record in await journal.records(slot, after=max(0, wanted - 1), limit=1):
                records[record.position] = record.hash.hex()
        records[head.position] = head.hash.hex()
        chains.append(AnchoredSlot(slot, tuple(sorted(one for one in records.items() if one[0] <= head.position))))
    incarnation = await journal.incarnation()
    anchor = Anchor(_FORMAT, now, meta.slots, meta.created_at, incarnation, tuple(chains))
    if key is None:
        return anchor
    anchor = msgspec.structs.replace(anchor, public_key=public_key_of(key).hex())
    return msgspec.structs.replace(anchor, signature=sign(key, anchor.signed_part).hex())


def read_anchor(document: str | bytes | Path, *, public_key: bytes | None = None) -> Anchor:
    """Read an anchor and check its signature.

    Parameters
    ----------
    document : str | bytes | Path
        The JSON, or the file that holds it.
    public_key : bytes | None
        Whose signature it must be, 32 bytes. Without one, a signature only shows that the document is whole: anybody
        can sign with a key of their own.

    Raises
    ------
    InvalidValueError
        It is no anchor, its signature is not right, or it is not signed by that key.
    ConfigurationError
        It is signed, and the package ``cryptography`` is not installed.
    """
    name = str(document) if isinstance(document, Path) else "the document"
    try:
        anchor = msgspec.json.decode(document.read_bytes() if isinstance(document, Path) else document, type=Anchor)
        chains = [(bytes.fromhex(hash_), position) for chain in anchor.chains for position, hash_ in chain.records]
        key, signature = (bytes.fromhex(part or "") for part in (anchor.public_key, anchor.signature))
    except OSError as error:
        raise InvalidValueError(f"The anchor {name} cannot be read: {error}. Nothing was verified.") from error
    except ValueError as error:  # of msgspec, and of hexadecimal numbers that are none
        raise InvalidValueError(f"{name} is not an anchor: {error}. Nothing was verified.") from error
    if anchor.format != _FORMAT or any(position < 1 for _, position in chains):
        raise InvalidValueError(f"{name} is not an anchor that this version can read. Nothing was verified.")
    if public_key is not None and key != public_key:
        raise InvalidValueError(f"{name} is not signed by the key that was given. Nothing was verified.")
    if (key or signature) and not signed_by(key, signature, anchor.signed_part):
        raise InvalidValueError(f"The signature of {name} is not right: it was changed. Nothing was verified.")
    return anchor
