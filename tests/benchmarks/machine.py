"""What was measured on: the facts without which a number says nothing."""

from __future__ import annotations

import os
import platform
import sqlite3
import statistics
import time
from datetime import UTC, datetime
from pathlib import Path

import psutil

import casty_es

_SYNCS = 50
_BLOCK = b"\0" * 4096


def facts(folder: Path, postgres: str) -> dict[str, str]:
    """Describe this machine, this Python, and the databases."""
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg()) if hasattr(os, "getloadavg") else "not known"
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "casty_es": casty_es.__version__,
        "machine": f"{_usable_processors()} of {os.cpu_count()} processors ({_processor()}), "
        f"{psutil.virtual_memory().total / 1024**3:.1f} GiB of memory, {platform.system()} {platform.release()}",
        "load before (1, 5, 15 minutes)": load,
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        "SQLite": f"{sqlite3.sqlite_version}, WAL, synchronous FULL",
        "Postgres": postgres,
        "file system": f"{_file_system(folder)}; writing 4 KiB and fsync take {_sync_microseconds(folder):.0f} µs here",
    }


def _usable_processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _processor() -> str:
    described = Path("/proc/cpuinfo")
    if described.exists():
        for line in described.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _file_system(folder: Path) -> str:
    mounts = [
        (len(mount.mountpoint), mount.fstype)
        for mount in psutil.disk_partitions(all=True)
        if folder.resolve().is_relative_to(mount.mountpoint)
    ]
    return max(mounts)[1] if mounts else "not known"


def _sync_microseconds(folder: Path) -> float:
    """Time what every commit must wait for: the median of a few dozen."""
    path = folder / "sync-probe"
    times = []
    with path.open("wb", buffering=0) as file:
        for _ in range(_SYNCS):
            begin = time.perf_counter()
            file.write(_BLOCK)
            os.fsync(file.fileno())
            times.append(time.perf_counter() - begin)
    path.unlink()
    return statistics.median(times) * 1e6
