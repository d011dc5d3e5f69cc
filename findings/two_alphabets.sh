#!/usr/bin/env bash
# Guess:     bytes that a pydantic model writes as "base64" are base64, which msgspec, whose bytes are base64, reads.
# Versions:  pydantic 2.14.4, msgspec 0.22.0, Python 3.11 (2026-11-27)
# Behaviour: pydantic writes the alphabet of URLs (- and _) under ser_json_bytes="base64", and reads both alphabets;
#            msgspec writes and reads the standard one (+ and /) only. Most values hold neither character, so it fails
#            for some values and not for others.
# Seen:      {"b":"-__-"} / Invalid base64 encoded string - at `$.b`
# Source:    https://docs.pydantic.dev/latest/api/config/#pydantic.config.ConfigDict.ser_json_bytes,
#            https://jcristharif.com/msgspec/supported-types.html (bytes), RFC 4648 sections 4 and 5
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check pydantic==2.14.4 msgspec==0.22.0
"$folder/venv/bin/python" - <<'PY'
import msgspec
from pydantic import BaseModel, ConfigDict


class Model(BaseModel):
    model_config = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")
    b: bytes


class Struct(msgspec.Struct):
    b: bytes


content = bytes([0xFB, 0xFF, 0xFE])
written = Model(b=content).model_dump_json()
print(written)
assert written == '{"b":"-__-"}'
try:
    msgspec.json.decode(written, type=Struct)
except msgspec.ValidationError as error:
    print(error)
else:
    raise SystemExit("msgspec reads it now")
other = msgspec.json.encode(Struct(content))
assert other == b'{"b":"+//+"}'
assert Model.model_validate_json(other).b == content
PY
