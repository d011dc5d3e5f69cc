"""Verify a journal of casty_es by docs/reference/format.md alone: Python's standard library, and nothing of ours.

python independent_verifier.py JOURNAL [ANCHOR ...]: the journal is a SQLite file, or an export (.jsonl, .jsonl.gz).
Prints a line for each finding; exits with 0 if there was none, 1 if there were some, and 3 if it could not look.
"""

import gzip, hmac, json, re, sqlite3, struct, sys  # noqa: E401, I001 - one line for what everybody knows
from collections import Counter, defaultdict, deque, namedtuple
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from typing import Any

# What is read, by its name in an export. i is an integer, t a text, a number so many bytes; ? stands for: or null.
TABLES = {
    "journal": ("casty_meta WHERE id = 1 AND hash_algorithm = 'sha256'", "slots i, incarnation i, created_at i"),
    "entity": ("casty_entities", "id i, kind t, name t, key t, salt 16?, salted_from i"),
    "salt": ("casty_retired_salts ORDER BY through", "entity i, through i, salt 16"),
    "seal": ("casty_seals ORDER BY last", "slot i, last i, first i, entity i, previous_hash 32, hash 32, sealed_by i"),
    "event": ("casty_events ORDER BY slot, position", "slot i, position i, epoch i, entity i?, sequence i?, type t, "
              "version i, payload t, metadata t?, command_id 16?, idempotency_key t?, recorded_at i, hash 32"),
    "snapshot": ("casty_snapshots", "entity i, sequence i, state t"),
}  # fmt: skip
SHAPES = {row: dict(column.split() for column in columns.split(", ")) for row, (_, columns) in TABLES.items()}
ROWS: Any = {row: namedtuple(row, shape) for row, shape in SHAPES.items()}  # noqa: PYI024
NUMBERS, LENGTHS, RUN, ZEROS = ">Biqqqqqi", ">ii", ">qqq32s32s", bytes(32)
KINDS = {"i": int, "t": str, "1": bytes, "3": bytes}
LEASE, _, REDACTION = UNSALTED = ["lease.acquired", "entity.sealed", "entity.redacted"]
REDACTED = re.compile(r'\{"redacted":"([0-9a-f]{64})"\}')


def digest(salt: bytes, text: str) -> bytes:
    """Return what stands for a payload or metadata in the hash."""
    redacted = REDACTED.fullmatch(text)
    return bytes.fromhex(redacted[1]) if redacted else hmac.digest(salt, text.encode(), "sha256")


def link(previous: bytes, record: Any, salt: bytes, row: Any) -> bytes:
    """Return the hash that a record must have behind the one before; the row is that of its entity."""
    slot, position, epoch, entity, sequence, type_, version, payload, metadata, command, key, time, _ = record
    flags = (entity is not None) + 2 * (command is not None) + 4 * (metadata is not None) + 8 * (sequence == 1)
    numbers = struct.pack(NUMBERS, flags, slot, position, epoch, entity or 0, sequence or 0, time, version)
    digests = digest(salt, payload) + (ZEROS if metadata is None else digest(salt, metadata))
    lengths = struct.pack(LENGTHS, len(type_.encode()), -1 if key is None else len(key.encode()))
    tail = type_ + (key or "") + ("\0".join(row[1:4]) if sequence == 1 else "")
    return sha256(previous + numbers + (command or bytes(16)) + digests + lengths + tail.encode()).digest()


class Verifier:
    """What was read of a journal, and what is wrong with it."""

    def __init__(self) -> None:
        self.findings, self.anchors, self.anchored = [], [], defaultdict(set)  # of anchors, what was not met yet
        self.find = self.findings.append
        self.rows, self.runs, self.groups = defaultdict(dict), defaultdict(deque), defaultdict(list)  # runs were cut
        self.slots = defaultdict(lambda: SimpleNamespace(position=0, hash=ZEROS, epoch=0, time=0, cut=None))
        self.first, self.last, self.said = {}, Counter(), {}  # sequences of each entity; seals and redactions

    def read(self, path: Path) -> None:
        """Read a SQLite file as of one moment, or an export, and check what its lines say of each other."""
        if ".jsonl" not in path.suffixes:
            with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as database:
                database.execute("BEGIN")
                database.text_factory = lambda raw: raw.decode(errors="surrogateescape")
                for row, (table, _) in TABLES.items():
                    for values in database.execute(f"SELECT {', '.join(SHAPES[row])} FROM {table}"):  # noqa: S608
                        self.take(row, values)
            return
        running, row, heads = ZEROS, "", {}
        with (gzip.open if path.suffix == ".gz" else open)(path, "rb") as lines:
            for number, text in enumerate(lines, 1):
                row = (line := json.loads(text))["row"]
                if number == 1 and line["format"] != "casty_es export 1":
                    raise ValueError("it is no export of a whole journal")
                if line.get("digest", running.hex()) != running.hex():
                    self.find(f"line {number}: something was changed in the lines before it")
                if row == "slot":
                    heads[line["slot"]] = line["position"], line["hash"]
                elif row in SHAPES:
                    pairs = ((line[name], of[0] in "13") for name, of in SHAPES[row].items())
                    self.take(row, [bytes.fromhex(value) if value and raw else value for value, raw in pairs])
                elif row == "damaged" or (row == "end" and line["slots"] != len(heads)):
                    self.find(f"line {number}: a row is damaged or missing")
                running = running if row == "event" else sha256(running + text).digest()
        if row != "end" or heads != {slot: (walk.position, walk.hash.hex()) for slot, walk in self.slots.items()}:
            self.find("the export, or a slot of it, does not end where its lines say")

    def take(self, row: str, values: Any) -> None:
        """Take a row."""
        made = ROWS[row](*values)
        shaped = zip(values, SHAPES[row].values(), strict=True)
        if any(type(value) is not KINDS[of[0]] and (value is not None or of[-1] != "?") for value, of in shaped):
            self.find(f"{row} {made[:2]!a:.80}: no program writes such a row")
        elif row == "event":
            self.walk(made, self.slots[made.slot], self.runs[made.slot])
        else:
            self.rows[row][made.id if row == "entity" else made[:2]] = made
            if row == "seal":
                self.runs[made.slot].append(made)
                self.groups[made.entity, made.sealed_by].append(made)

    def walk(self, record: Any, slot: Any, runs: Any) -> None:
        """Go on to the next record of a slot, over what was cut, and check it."""
        at, here, hash_ = record.position, f"slot {record.slot}, position {record.position}", record.hash.hex()
        self.first.setdefault(record.entity, record.sequence)
        if self.anchored.pop((record.slot, at), {hash_}) != {hash_}:
            self.find(f"{here}: an anchor has another record here")
        while (runs and runs[0].first <= at) or slot.position + 1 < at:
            until = (min(at, runs[0].first) if runs else at) - 1
            if slot.position < until:
                self.find(f"slot {record.slot}: positions {slot.position + 1} to {until} are missing and were not cut")
                slot.position, slot.hash = until, None
                continue
            run = slot.cut = runs.popleft()
            if run.first == slot.position + 1 and slot.hash not in {None, run.previous_hash}:
                self.find(f"{here}: the records that were cut before it do not follow from those before them")
            self.last[run.entity] += run.last - slot.position
            slot.position, slot.hash = run.last, run.hash
        if at > slot.position:
            self.check(record, slot, here)
            slot.position, slot.hash, slot.epoch, slot.time = at, record.hash, record.epoch, record.recorded_at
            self.last[record.entity] = record.sequence
        elif slot.cut is None or at > slot.cut.last or (at == slot.cut.last and record.hash != slot.cut.hash):
            self.find(f"{here}: this record does not belong here")  # the others are of a run that is being cut

    def check(self, record: Any, slot: Any, here: str) -> None:
        """Check a record that stands where the next one must."""
        row, sequence = self.rows["entity"].get(record.entity), record.sequence
        lease = (record.type, record.entity, sequence, record.epoch) == (LEASE, None, None, record.position)
        known = row is not None and sequence is not None
        salted = known and record.type not in UNSALTED
        old = (one.salt for one in self.rows["salt"].values() if one[0] == row.id and one.through >= sequence)
        salt = b"" if not salted else (row.salt or b"") if sequence > row.salted_from else next(old, b"")
        if not salted:
            self.said[record.entity, sequence] = record
        redacted = any(REDACTED.fullmatch(text or "") for text in (record.payload, record.metadata))
        if not lease and not known:
            self.find(f"{here}: this is no lease record as it must be, and no event of an entity that is known")
        elif redacted and not (salted and sequence <= row.salted_from):
            self.find(f"{here}: a value was replaced by its digest, and no redaction says so")
        elif slot.hash is not None and link(slot.hash, record, salt, row) != record.hash:
            self.find(f"{here}: this is not the record that was written here")
        elif known and sequence != self.last[row.id] + 1:
            self.find(f"{here}: event {sequence} of its entity stands behind event {self.last[row.id]}")
        elif not lease and record.epoch != slot.epoch:
            self.find(f"{here}: it is under epoch {record.epoch}, and the lease before it under {slot.epoch}")
        elif record.recorded_at < slot.time:
            self.find(f"{here}: this record is older than the one before it")

    def finish(self) -> None:
        """Check what takes all of the journal: cuts, redactions and anchors."""
        seals, entities = self.rows["seal"].values(), self.rows["entity"]
        for (entity, by), runs in self.groups.items():
            seal = json.loads(self.said[entity, by].payload) if (entity, by) in self.said else {}
            rows = sha256(b"".join(struct.pack(RUN, run.first, run.last, *run[3:6]) for run in runs)).hexdigest()
            many = sum(run.last - run.first + 1 for run in runs)
            if seal.get("rows") != rows or many not in {seal["events"], seal["through"]}:
                self.find(f"entity {entity}: what was cut is not what event {by} sealed")
            elif entities[entity].salted_from <= seal["through"] == self.first[entity] - 1:
                state = getattr(self.rows["snapshot"].get((entity, seal["through"])), "state", "").encode()
                if hmac.digest(entities[entity].salt or b"", state, "sha256").hex() != seal["state"]:
                    self.find(f"entity {entity}: the snapshot behind its cut is not the one that was sealed")
        for id_, row in entities.items():
            by = getattr(self.said.get((id_, row.salted_from)), "type", None)
            if row.salted_from < 0 or (0 < self.first.get(id_, 0) <= row.salted_from and by != REDACTION):
                self.find(f"entity {id_}: event {row.salted_from} did not redact it")
        journal = next(iter(self.rows["journal"].values()), ROWS["journal"](0, 0, 0))
        if not journal.slots or not set(self.slots) <= set(range(journal.slots)):
            self.find(f"by casty_meta there are {journal.slots} slots, and there are records in others")
        for slots, incarnation, created_at in self.anchors:
            if (slots, created_at) != (journal.slots, journal.created_at) or incarnation > journal.incarnation:
                self.find("an anchor is of another journal, or casty_meta was changed")
        for (slot, at), hashes in self.anchored.items():
            cut = [run for run in seals if run.slot == slot and run.first <= at <= run.last]
            if not cut or (cut[0].last == at and {cut[0].hash.hex()} != hashes):
                self.find(f"slot {slot}, position {at}: the record that an anchor has is not there")


def main(journal: str = "", *anchors: str) -> int:
    """Verify a journal, and say what was found."""
    verifier = Verifier()
    try:
        for anchor in (json.loads(Path(name).read_bytes()) for name in anchors):
            verifier.anchors.append([anchor[name] for name in ("slots", "incarnation", "created_at")])
            for slot, at, hash_ in ((one["slot"], *record) for one in anchor["chains"] for record in one["records"]):
                verifier.anchored[slot, at].add(hash_)
        verifier.read(Path(journal))
        verifier.finish()
    except Exception as error:  # noqa: BLE001 - whatever it is, it is told
        verifier.find(f"nothing more can be read: {error!a:.80}")
    if not any(verifier.rows.values()):
        print("could not look:", *verifier.findings, file=sys.stderr)
        return 3
    print(*verifier.findings or ["nothing was found"], sep="\n")
    return 1 if verifier.findings else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
