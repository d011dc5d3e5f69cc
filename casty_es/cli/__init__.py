"""The command ``casty-es``: parsing and rendering; what is done is done by the library.

Exit codes: 0 done; 1 an error of the library; 2 wrong usage; 3 what was asked for is not there (``map get`` of a
missing key, ``queue dequeue`` of an empty queue, ``log`` of an entity without events). ``lock run`` and
``semaphore run`` give the exit code of the command that they ran.
"""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line on this process's arguments and exit with its code."""
    from casty_es.cli.app import run  # noqa: PLC0415 - typer and rich are loaded only by those who use them

    sys.exit(run(sys.argv[1:]))
