"""Whether a journal still has what its anchors name."""

from __future__ import annotations

from collections.abc import Collection

from casty_es.audit.anchor import Anchor, AnchoredSlot
from casty_es.audit.verify.findings import Finding, Wrong
from casty_es.journal.damaged import damage_of
from casty_es.journal.port import EventJournal, Meta

__all__ = ["check_anchor"]


async def check_anchor(
    journal: EventJournal, meta: Meta, anchor: Anchor, slots: Collection[int]
) -> tuple[list[Finding], list[str]]:
    """Look whether a journal still has the records that an anchor names; the chain between them is ``verify``'s.

    Returns
    -------
    tuple[list[Finding], list[str]]
        What is wrong, and what to know of the anchor.
    """
    findings: list[Finding] = []
    if anchor.slots != meta.slots:
        text = f"The anchor is of a journal with {anchor.slots} slots, and this one has {meta.slots}."
        return [Finding(None, None, None, Wrong.ANCHOR, text)], []
    incarnation = await journal.incarnation()
    if incarnation < anchor.incarnation:
        text = f"The journal's incarnation is {incarnation}, and it was {anchor.incarnation}. It never goes back."
        findings.append(Finding(None, None, None, Wrong.ANCHOR, text))
    for chain in anchor.chains:
        if chain.slot in slots:
            finding = await _compared(journal, chain)
            if finding is not None:
                findings.append(finding)
    notes = []
    if anchor.signature is None:
        notes.append("An anchor is not signed: it is worth as much as the place where it was kept.")
    if anchor.created_at != meta.created_at:
        notes.append("An anchor was taken of a journal that was made at another time, so one is a copy of the other.")
    return findings, notes


async def _compared(journal: EventJournal, chain: AnchoredSlot) -> Finding | None:
    """Give the first record of a slot that is not the one of the anchor."""
    good = 0
    for position, hash_ in chain.records:
        found = await journal.records(chain.slot, after=position - 1, limit=1)
        if found and found[0].position == position:
            if found[0].hash.hex() == hash_ and damage_of(found[0]) is None:
                good = position
                continue
            text = (
                f"The record at position {position} is not the one of which the anchor was taken: between positions "
                f"{good + 1} and {position} the chain was written anew."
            )
            return Finding(chain.slot, good + 1, None, Wrong.ANCHOR, text)
        seals = await journal.seals(chain.slot, after=position - 1, limit=1)
        if seals and seals[0].first <= position and (seals[0].last > position or seals[0].hash.hex() == hash_):
            continue  # retention cut it, and the walk has checked the seal
        head = (await journal.heads([chain.slot]))[chain.slot]
        if head.position < position:
            text = (
                f"The slot ends at position {head.position}, and the anchor has a record at position {position}: the "
                f"end was cut off."
            )
            return Finding(chain.slot, head.position + 1, None, Wrong.ANCHOR, text)
        text = f"The record at position {position}, which the anchor has, is not there."
        return Finding(chain.slot, good + 1, None, Wrong.ANCHOR, text)
    return None
