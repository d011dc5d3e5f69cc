#!/usr/bin/env bash
# Guess:     a duration that pydantic writes as ISO 8601 is one that msgspec reads, since both write timedelta so.
# Versions:  pydantic 2.14.4, msgspec 0.22.0, Python 3.11 (2026-11-27)
# Behaviour: pydantic counts years of 365 days in durations; msgspec knows no unit above the day and refuses them. So a
#            duration of more than a year crosses from one to the other only in one direction.
# Seen:      P1Y35DT5H / Only units 'D', 'H', 'M', and 'S' are supported when parsing ISO8601 durations
# Source:    https://docs.pydantic.dev/latest/api/standard_library_types/ (timedelta),
#            https://jcristharif.com/msgspec/supported-types.html (timedelta)
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check pydantic==2.14.4 msgspec==0.22.0
"$folder/venv/bin/python" - <<'PY'
from datetime import timedelta

import msgspec
from pydantic import TypeAdapter

span = timedelta(days=400, hours=5)
written = TypeAdapter(timedelta).dump_json(span)
print(written.decode())
assert written == b'"P1Y35DT5H"'
try:
    msgspec.json.decode(written, type=timedelta)
except msgspec.ValidationError as error:
    print(error)
else:
    raise SystemExit("msgspec reads it now")
back = msgspec.json.encode(span)
print(back.decode())
assert TypeAdapter(timedelta).validate_json(back) == span
PY
