#!/usr/bin/env bash
# Guess:     msgspec writes every attribute of an attrs class, and reads back what it wrote; it does so for dataclasses.
# Versions:  msgspec 0.22.0, attrs 26.1.0, Python 3.11 (2026-11-27)
# Behaviour: an attribute with a leading underscore is left out when an attrs object is written, without a word, and is
#            read when it is there. What goes in with 7 comes back with the default. A dataclass keeps it.
# Seen:      attrs {"x":1} -> A(x=1, _y=2); dataclass {"x":1,"_y":7}
# Source:    https://jcristharif.com/msgspec/supported-types.html (attrs),
#            https://www.attrs.org/en/stable/init.html#private-attributes-and-aliases
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check msgspec==0.22.0 attrs==26.1.0
"$folder/venv/bin/python" - <<'PY'
import dataclasses

import attrs
import msgspec


@attrs.define
class A:
    x: int
    _y: int = 2


@dataclasses.dataclass
class D:
    x: int
    _y: int = 2


written = msgspec.json.encode(A(1, 7))
back = msgspec.json.decode(written, type=A)
print("attrs", written.decode(), "->", back)
assert written == b'{"x":1}'
assert back == A(1, 2)
assert msgspec.json.decode(b'{"x":1,"_y":7}', type=A) == A(1, 7)
print("dataclass", msgspec.json.encode(D(1, 7)).decode())
assert msgspec.json.encode(D(1, 7)) == b'{"x":1,"_y":7}'
PY
