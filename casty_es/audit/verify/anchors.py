"""Whether a journal still has what its anchors name, and nothing behind it that says it was there before.

An anchor knows when it was taken and where each slot ended then, also of those that had no record. What stands behind
was written later, so its time cannot be long before. Times never go back within a slot, so the first record behind the
anchor says it for all of them.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta
from typing import Final

from casty_es.audit.anchor import Anchor, AnchoredSlot
from casty_es.audit.verify.findings import Finding, Wrong
from casty_es.journal.damaged import damage_of, lost_of
from casty_es.journal.port import EventJournal, Meta

_BEHIND: Final = 3_600_000_000
"""By how many microseconds a node's clock may be behind that of an anchor: nobody refuses one that is."""


async def check_anchor(
    journal: EventJournal, meta: Meta, anchor: Anchor, slots: Collection[int]
) -> tuple[list[Finding], list[str]]:
    """Return what is wrong with the records that an anchor names, and what to know of the anchor.

    The chain between them is ``verify``'s.
    """
    damaged = damage_of(meta) is not None  # then it says nothing, and is a finding by itself
    if not damaged and anchor.slots != meta.slots:
        text = f"The anchor is of a journal with {anchor.slots} slots, and this one has {meta.slots}."
        return [Finding(None, None, None, Wrong.ANCHOR, text)], []
    findings, notes = ([], []) if damaged else await _compared_meta(journal, meta, anchor)
    for chain in anchor.chains:
        if chain.slot in slots or (damaged and len(slots) == meta.slots):
            finding = await _compared(journal, chain)
            if finding is not None:
                findings.append(finding)
    findings += await _dated_back(journal, anchor, slots)
    if anchor.signature is None:
        notes.append("An anchor is not signed: it is worth as much as the place where it was kept.")
    return findings, notes


async def _compared_meta(journal: EventJournal, meta: Meta, anchor: Anchor) -> tuple[list[Finding], list[str]]:
    findings, notes = [], []
    incarnation = await journal.incarnation()
    if incarnation < anchor.incarnation:
        text = f"The journal's incarnation is {incarnation}, and it was {anchor.incarnation}. It never goes back."
        findings.append(Finding(None, None, None, Wrong.ANCHOR, text))
    elif incarnation > anchor.incarnation:
        notes.append(
            f"Since an anchor was taken the journal's incarnation went from {anchor.incarnation} to {incarnation}: "
            f"each time somebody accepted that records were lost."
        )
    if anchor.created_at != meta.created_at:
        text = (
            "By casty_meta the journal was made at another time than the one of which the anchor was taken: it is "
            "another journal, or its row was changed. A copy keeps that time."
        )
        findings.append(Finding(None, None, None, Wrong.ANCHOR, text))
    return findings, notes


async def _dated_back(journal: EventJournal, anchor: Anchor, slots: Collection[int]) -> list[Finding]:
    """Find slots whose first record behind the anchor has a time from long before it."""
    ends = {chain.slot: chain.records[-1][0] for chain in anchor.chains if chain.records}
    findings = []
    for slot, head in sorted((await journal.heads(sorted(slots))).items()):
        end = ends.get(slot, 0)
        records = await journal.records(slot, after=end, limit=1) if head.position > end else []
        for record in records:
            behind = anchor.taken_at - record.recorded_at
            if behind > _BEHIND and "time" not in lost_of(record):  # the walk says that it has none
                there = f"ended at position {end}" if end else "had no record"
                text = (
                    f"The slot {there} when the anchor was taken, and this record behind it is dated "
                    f"{timedelta(seconds=behind // 1_000_000)} before that: it was dated back, or the clock of its "
                    f"writer was behind by as much."
                )
                findings.append(Finding(slot, record.position, None, Wrong.ANCHOR, text))
    return findings


async def _compared(journal: EventJournal, chain: AnchoredSlot) -> Finding | None:
    """Return the first record of a slot that is not the one of the anchor."""
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
