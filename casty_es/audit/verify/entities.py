"""The entities of a slot as the walk meets them: what their next event must look like.

Of every entity that was ever met, only its last sequence and one byte are kept; the rest can be read again. So the
memory of a walk stays small however many keys a map has.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final

from casty_es.domain.catalog import CATALOG
from casty_es.domain.decider import Event, Upkeep
from casty_es.domain.upkeep import OF_EVERY_KIND
from casty_es.errors import CastyError
from casty_es.format.chain import UNSALTED
from casty_es.format.upcasting import VERSIONS, readable
from casty_es.journal.port import ENTITY_NUMBER_BITS, DirectoryRow, EventJournal, EventRow, RetiredSalt
from casty_es.replay import state_at
from casty_es.replay.fold import Fold

_BLOCK: Final = 64  # bytes that SHA-256 takes at a time
_INNER: Final = bytes(byte ^ 0x36 for byte in range(256))  # the two pads of HMAC (RFC 2104)
_OUTER: Final = bytes(byte ^ 0x5C for byte in range(256))

# Each costs half a kilobyte.
_IN_MEMORY: Final = 50_000
_NUMBER_MASK: Final = (1 << ENTITY_NUMBER_BITS) - 1
_LARGEST_NUMBER: Final = 1 << 28

# What is known of whether an entity exists. An event that cannot tell by itself leaves it to the state (``ASK``); one
# that changes no state leaves it as it was.
UNTOLD, DEAD, ALIVE, ASK = 0, 1, 2, 3
_SAYS: Final = {None: ASK, False: DEAD, True: ALIVE}

Type = tuple[bytes, int, int]
"""What the walk needs of a type: its name as bytes, how many, and what the event says of whether the entity exists."""


class Known:
    """An entity, and what its next event must look like."""

    __slots__ = (
        "alive",
        "by_hand",
        "called",
        "folding",
        "inner",
        "outer",
        "retired",
        "row",
        "sequence",
        "types",
        "unsure",
    )

    def __init__(self, row: DirectoryRow, sequence: int, alive: int) -> None:
        salt = (row.salt or b"").ljust(_BLOCK, b"\0")
        self.row = row
        self.sequence = sequence  # the sequence of its last event
        # The fast loop does not check events up to this sequence: they were redacted, or stand behind a cut.
        self.by_hand = row.salted_from
        self.inner = salt.translate(_INNER)  # the entity's salt as the two blocks that HMAC begins with
        self.outer = salt.translate(_OUTER)
        self.called = "\0".join(row.entity_name).encode()  # its kind, name and key, as its first event carries them
        self.types = _types(row.kind) if row.kind in CATALOG else {}  # the events that its kind has
        # Its older salts that are not destroyed yet; ``None`` until they were asked for.
        self.retired: list[RetiredSalt] | None = None
        self.folding: Fold | None = None  # its state, as long as there are snapshots to compare it with
        self.alive = alive  # what its last event says of whether it exists
        # Whether nobody knows how many events it had before the next one: an earlier walk met some, cut since.
        self.unsure = False


class Entities:
    """The entities of one slot; what stands before ``resumed_at`` was walked through earlier."""

    def __init__(self, journal: EventJournal, slot: int, *, resumed_at: int = 0) -> None:
        self._journal = journal
        self._slot = slot
        self._resumed_at = resumed_at
        self._sequences = array("q")
        self._alive = bytearray()
        self.known: dict[int | None, Known] = {}
        self.met = 0

    async def load(self, rows: Sequence[EventRow]) -> None:
        """Get to know the entities of a page."""
        # What is no number is no entity: it is looked at by hand.
        unknown = {id_ for row in rows if type(id_ := row[3]) is int} - self.known.keys()
        if unknown:
            first: dict[int, int] = {}
            if self._resumed_at:
                for row in rows:
                    id_, sequence = row[3], row[4]
                    if id_ is not None and id_ in unknown and type(sequence) is int:
                        first.setdefault(id_, sequence)
            await self.get_to_know(unknown, first)

    async def get_to_know(self, ids: Iterable[int], first: dict[int, int] | None = None) -> None:
        """Read entities, also such as are known: their rows may have changed."""
        if len(self.known) > _IN_MEMORY:
            self._forget_some()
        ids = sorted(ids)
        directory = await self._journal.entity_rows(ids)
        snapshots: dict[int, list[int]] = {}
        for id_, sequence in await self._journal.snapshot_sequences(ids):
            snapshots.setdefault(id_, []).append(sequence)
        for row in directory:
            old = self.known.get(row.id)
            sequence = self.sequence(row.id)
            new = self.known[row.id] = Known(row, sequence, self.alive(row.id))
            if old is not None:
                new.folding = old.folding
                new.by_hand = max(old.by_hand, new.by_hand)
                continue
            due = [one for one in snapshots.get(row.id, ()) if one >= max(1, row.salted_from)]
            before = 0 if first is None else first.get(row.id, 1) - 1
            if sequence == 0 and before and self._resumed_at:
                await self._take_up(new, before, due)
            elif sequence == 0 and due and row.kind in CATALOG:
                new.folding = Fold(CATALOG[row.kind], due)

    async def _take_up(self, new: Known, before: int, due: list[int]) -> None:
        """Take up an entity whose earlier events an earlier walk went through."""
        events = await self._journal.history(new.row.id, after=before - 1, limit=1)
        if not events or events[0].sequence != before:
            new.unsure = await self._journal.last_cut(new.row.id) > 0
        elif events[0].position <= self._resumed_at:
            new.sequence = before
            due = [one for one in due if one > before]
            if due and new.row.kind in CATALOG and before >= new.row.salted_from:
                kind = CATALOG[new.row.kind]
                try:
                    state = await state_at(self._journal, new.row.id, kind, before)
                except CastyError:  # check-replay is there to say what is wrong with it
                    return
                new.folding = Fold(kind, due, before, state)

    @property
    def resumed(self) -> bool:
        """Whether an earlier walk went through what stands before."""
        return self._resumed_at > 0

    def sequence(self, id_: int) -> int:
        """Return the last sequence that was met of an entity, 0 for none."""
        known = self.known.get(id_)
        if known is not None:
            return known.sequence
        number = id_ & _NUMBER_MASK
        return self._sequences[number] if number < len(self._sequences) else 0

    def alive(self, id_: int) -> int:
        """Return what the last event that was met says of an entity."""
        known = self.known.get(id_)
        if known is not None:
            return known.alive
        number = id_ & _NUMBER_MASK
        return self._alive[number] if number < len(self._alive) else UNTOLD

    def _forget_some(self) -> None:
        for id_ in [id_ for id_, known in self.known.items() if known.folding is None and id_ is not None]:
            number = id_ & _NUMBER_MASK
            if number > _LARGEST_NUMBER:
                continue  # nobody counted that far: it was forged, and there are few
            known = self.known.pop(id_)
            if number >= len(self._sequences):
                more = number + 1 - len(self._sequences)
                self._sequences.frombytes(bytes(8 * more))
                self._alive += bytes(more)
            self._sequences[number] = known.sequence
            self._alive[number] = known.alive


@lru_cache(maxsize=64)
def _types(kind_name: str) -> dict[tuple[str, int], Type]:
    kind = CATALOG[kind_name]
    classes: dict[str, type[Event]] = {str(cls.stored_as): cls for cls in OF_EVERY_KIND}
    classes |= kind.events
    types: dict[tuple[str, int], Type] = {}
    for name, cls in classes.items():
        if name not in UNSALTED:
            # What a program says of its own events is not tested as that of the seven is: there the state is asked.
            says = UNTOLD if issubclass(cls, Upkeep) else ASK if kind.foreign else _SAYS[cls.alive]
            for version in range(1, VERSIONS[name] + 1):
                if readable(name, version):
                    types[name, version] = (name.encode(), len(name.encode()), says)
    return types
