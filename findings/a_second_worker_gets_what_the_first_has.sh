#!/usr/bin/env bash
# Guess:     an item that a worker took from an acknowledging queue stays that worker's while it lives: another worker that
#            starts meanwhile gets the items that nobody has.
# Versions:  persist-queue 1.1.0, Python 3.11 (2026-11-29)
# Behaviour: whoever opens the queue puts back everything that was taken and not yet acknowledged, also what a living
#            worker is at (auto_resume=True, the default). Both do the work, and both acknowledgements succeed. With
#            auto_resume=False the items of a worker that died stay taken until somebody asks for them.
# Seen:      first has ['a', 'b'] / second gets ['a', 'b', 'c'] / acknowledged by both: True
# Source:    https://github.com/peter-wangxu/persist-queue (SQLite3-based queue that acknowledges; auto_resume)
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check persist-queue==1.1.0
cd "$folder"
"$folder/venv/bin/python" - <<'PY'
from persistqueue import SQLiteAckQueue

first = SQLiteAckQueue("jobs", auto_commit=True)
for item in "abc":
    first.put(item)
has = [first.get(block=False), first.get(block=False)]

second = SQLiteAckQueue("jobs", auto_commit=True)  # as another process would open it
gets = [second.get(block=False) for _ in range(second.size)]
acknowledged = first.ack(has[0]) is not None and second.ack(gets[0]) is not None

print(f"first has {has}")
print(f"second gets {gets}")
print(f"acknowledged by both: {acknowledged}")
assert has == ["a", "b"]
assert gets == ["a", "b", "c"], "what a living worker has stays its own now"
assert acknowledged, "only one of them can acknowledge now"
PY
