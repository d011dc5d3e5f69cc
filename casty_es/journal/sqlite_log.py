"""Keeping SQLite's write-ahead log short, and saying who keeps it long.

1. The log is moved into the database every ``CHECKPOINT_PAGES`` and then written from its beginning, but not past what
   an open transaction reads: while one stays open the log grows with every commit, and SQLite never makes the file
   shorter by itself (sqlite.org/wal.html, "Avoiding Excessively Large WAL Files").
2. ``journal_size_limit`` cuts it when it is begun anew. Beyond ``LIMIT_BYTES`` it is tried once a second to empty it,
   without waiting for anybody; while that does not work, who reads is said once a minute.
"""

from __future__ import annotations

import os
import socket
import sqlite3
import time
from pathlib import Path
from typing import Final

from casty_es.journal.file_holders import readers, told_by_system
from casty_es.journal.sqlite_connection import OpenFiles
from casty_es.printing import log_of

_LOG: Final = log_of("casty_es.journal")

# A batch over many slots touches many pages, the same ones again in the next batch. Moving them into the database every
# 32 MiB of log, and not every 4, saves most of that work.
CHECKPOINT_PAGES: Final = 8_192
# Twice that: a log that is begun anew in time is never cut, and never has to grow again.
LIMIT_BYTES: Final = 67_108_864

_AGAIN_SECONDS: Final = 1.0
_WARN_SECONDS: Final = 60.0
_MIB: Final = 1_048_576

_NODES: Final = "SELECT pid, node_id FROM casty_nodes WHERE host = ?"


class LogKeeper:
    """Keeps one file's log short. ``due`` may be asked in any thread, the rest is the writer's."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._next = self._warn_at = 0.0
        self._blocked = False

    def due(self) -> bool:
        """Return whether a log that is longer than ``LIMIT_BYTES`` should be emptied now."""
        return time.monotonic() >= self._next

    def shorten(self, sqlite: sqlite3.Connection, files: OpenFiles, size: int) -> None:
        """Try to empty the log, waiting for nobody; say who is in the way."""
        now = time.monotonic()
        self._next = now + _AGAIN_SECONDS
        [(patience,)] = sqlite.execute("PRAGMA busy_timeout").fetchall()
        sqlite.execute("PRAGMA busy_timeout = 0")
        try:
            [(busy, _, _)] = sqlite.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        finally:
            sqlite.execute(f"PRAGMA busy_timeout = {patience}")
        # Somebody reads at any moment of a busy journal. Twice in a row, and it may be one who does not end.
        if busy and self._blocked and now >= self._warn_at:
            self._warn_at = now + _WARN_SECONDS
            _LOG.warning(
                "The write-ahead log %s-wal has %.1f MiB, more than %.1f, and cannot be emptied: a transaction that "
                "was begun earlier still reads. Readers: %s. The log grows with every operation until that transaction "
                "ends. End it, or its process; the log is cut a moment later.",
                self._file,
                size / _MIB,
                LIMIT_BYTES / _MIB,
                _readers(sqlite, files),
            )
        self._blocked = bool(busy)


def _readers(sqlite: sqlite3.Connection, files: OpenFiles) -> str:
    nodes: dict[int, str] = dict(sqlite.execute(_NODES, (socket.gethostname(),)).fetchall())
    if not told_by_system():
        listed = ", ".join(f"node {node_id!r}, process {pid}" for pid, node_id in nodes.items()) or "no node"
        return f"this system does not tell; on the list of nodes are {listed}"
    said = []
    for pid, command in readers(files.log_index.inode):
        about = [f"node {nodes[pid]!r}"] if pid in nodes else []
        about += ["this process"] if pid == os.getpid() else []
        about += [command] if command else []
        said.append(f"process {pid} ({', '.join(about)})" if about else f"process {pid}")
    return "; ".join(said) or "none that this system shows, maybe in another container"
