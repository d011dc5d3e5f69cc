"""How much memory a process has had."""

from __future__ import annotations

from pathlib import Path

import psutil

_HIGH_WATER = "VmHWM:"


def most_memory(pid: int) -> int:
    """Return the most memory that a process has had, in bytes, or what it has now where only Linux would know.

    Not ``ru_maxrss``: on Linux a process begins with its parent's, and a test runner's is large.
    """
    status = Path(f"/proc/{pid}/status")
    if not status.exists():
        return int(psutil.Process(pid).memory_info().rss)
    [line] = [line for line in status.read_text().splitlines() if line.startswith(_HIGH_WATER)]
    return int(line.split()[1]) * 1_024
