#!/usr/bin/env bash
# Guess:     a class that its own type stub declares as Generic[K, V] can be written HashTrieMap[str, int] at runtime.
# Versions:  rpds-py 2026.9.1, Python 3.11 (2026-11-27)
# Behaviour: it raises TypeError when the alias or base is evaluated; type checkers take it. Only a string will do, as
#            in "HashTrieMap[str, int]", and libraries that resolve annotations at runtime fail on it.
# Seen:      type 'rpds.HashTrieMap' is not subscriptable
# Source:    https://github.com/crate-py/rpds/blob/main/rpds.pyi
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check rpds-py==2026.9.1
"$folder/venv/bin/python" - <<'PY'
from pathlib import Path

import rpds

stub = Path(rpds.__file__).with_name("__init__.pyi").read_text()
declared = next(line for line in stub.splitlines() if line.startswith("class HashTrieMap("))
print(declared)
assert "[" in declared
try:
    rpds.HashTrieMap[str, int]
except TypeError as error:
    print(error)
else:
    raise SystemExit("it can be subscripted now")
PY
