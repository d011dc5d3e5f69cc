"""Whether SQLite's file is whole, and a digest over its bytes by which it is known again.

SQLite compares its tables with their indexes a row at a time, which takes as long as a sixth of a verification; a
digest takes a hundredth. So whoever takes a verification up asks again only when a byte is another one.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import sys
import threading
from pathlib import Path
from typing import Final

from casty_es.audit.verify.findings import Finding, Wrong

_CHECK: Final = "SELECT * FROM pragma_integrity_check('{table}')"
_TABLES: Final = ("casty_events", "casty_entities", "casty_snapshots", "casty_seals", "casty_structures")

_BUSY_SECONDS: Final = 30.0
_STEPS: Final = 100_000  # of SQLite's machine, a few milliseconds: how often it looks whether it is to stop
_SAID: Final = 5  # one damaged page makes a hundred lines

# A process of its own: to close a descriptor of the file drops the locks that SQLite has on it in the same process.
_PROGRAM: Final = """
import hashlib, pathlib, signal, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)
digest = hashlib.sha256(sys.argv[1].encode())
there = pathlib.Path(sys.argv[2]).resolve()
for file in there, there.with_name(there.name + "-wal"):
    size = file.stat().st_size if file.exists() else 0
    digest.update(size.to_bytes(8, "big"))
    if size:
        with file.open("rb") as stream:
            while piece := stream.read(1 << 20):
                digest.update(piece)
print(digest.hexdigest())
"""


async def check_whole(file: Path) -> list[Finding]:
    """Let SQLite compare its tables with their indexes: a row that only an index has would be found by nobody else."""
    stop = threading.Event()
    try:
        return await asyncio.to_thread(_check, file, stop)
    finally:
        stop.set()


async def digest_of(file: Path) -> bytes:
    """Return a digest over a database, its write-ahead log and the version of SQLite; empty where nobody can tell."""
    try:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", "-c", _PROGRAM, sqlite3.sqlite_version, str(file)),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
    except OSError:  # no process can be started here, and SQLite is asked
        return b""
    try:
        said, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return bytes.fromhex(said.decode()) if process.returncode == 0 else b""


def _check(file: Path, stop: threading.Event) -> list[Finding]:
    findings: list[Finding] = []
    uri = f"{file.absolute().as_uri()}?mode=rw"
    with contextlib.closing(sqlite3.connect(uri, uri=True, timeout=_BUSY_SECONDS)) as connection:
        connection.set_progress_handler(stop.is_set, _STEPS)
        for table in _TABLES:
            try:
                said = connection.execute(_CHECK.format(table=table)).fetchall()
            except sqlite3.DatabaseError as error:
                said = [(str(error),)]
            findings += [
                Finding(None, None, None, Wrong.FILE, f"SQLite says of {table}: {text}")
                for (text,) in said[:_SAID]
                if text != "ok"
            ]
    return findings
