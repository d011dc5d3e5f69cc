#!/usr/bin/env bash
# Guess:     two lock objects of one path exclude each other, also within a process; and while one holds the lock, no
#            other process gets it.
# Versions:  fasteners 0.20, Python 3.11 on Linux (2026-11-29)
# Behaviour: both objects of one process hold the lock at once, and the reader-writer lock has two writers and a reader.
#            When one of them releases, another process gets the lock, while the other object still says that it holds
#            it. The locks are fcntl's, which belong to the process and go with any of its descriptors of the file.
# Seen:      two objects: True True / another process, while both hold: False / after one released: True, first.acquired: True
# Source:    https://fasteners.readthedocs.io/en/latest/guide/inter_process/ , fcntl(2) "Record locks"
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check fasteners==0.20
cd "$folder"
"$folder/venv/bin/python" - <<'PY'
import subprocess
import sys

import fasteners

OTHER = "import fasteners; print(fasteners.InterProcessLock('the.lock').acquire(blocking=False))"


def another_process() -> str:
    return subprocess.run([sys.executable, "-c", OTHER], capture_output=True, text=True, check=True).stdout.strip()


first, second = fasteners.InterProcessLock("the.lock"), fasteners.InterProcessLock("the.lock")
both = first.acquire(blocking=False), second.acquire(blocking=False)
while_both = another_process()
second.release()
afterwards = another_process()
print(f"two objects: {both[0]} {both[1]}")
print(f"another process, while both hold: {while_both}")
print(f"after one released: {afterwards}, first.acquired: {first.acquired}")
assert both == (True, True), "they exclude each other now"
assert while_both == "False"
assert (afterwards, first.acquired) == ("True", True), "the other one's lock stays now"
one, other = (fasteners.InterProcessReaderWriterLock("the.rwlock") for _ in range(2))
assert one.acquire_write_lock(blocking=False)
assert other.acquire_write_lock(blocking=False)
assert other.acquire_read_lock(blocking=False)
PY
