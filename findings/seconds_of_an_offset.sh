#!/usr/bin/env bash
# Guess:     an aware datetime that msgspec writes comes back as the same instant, or is refused.
# Versions:  msgspec 0.22.0, tzdata 2025.2, Python 3.11 (2026-11-27)
# Behaviour: offsets with seconds, which every zone has before standard time, lose their seconds when they are written,
#            without a word; what comes back is another instant. datetime.isoformat() keeps them.
# Seen:      1890-01-01T00:00:00+00:53:28 is written as 1890-01-01T00:00:00+00:53, 28 s off
# Source:    https://jcristharif.com/msgspec/supported-types.html (datetime), RFC 3339 section 5.6 (no seconds in offsets)
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check msgspec==0.22.0 tzdata==2025.2
"$folder/venv/bin/python" - <<'PY'
from datetime import datetime
from zoneinfo import ZoneInfo

import msgspec

moment = datetime(1890, 1, 1, tzinfo=ZoneInfo("Europe/Berlin"))
written = msgspec.json.encode(moment)
back = msgspec.json.decode(written, type=datetime)
print(moment.isoformat(), "is written as", written.decode(), (moment - back).total_seconds(), "s off")
assert moment.isoformat() == "1890-01-01T00:00:00+00:53:28"
assert written == b'"1890-01-01T00:00:00+00:53"'
assert abs((moment - back).total_seconds()) == 28
PY
