"""``python -m tests.simulation``: see ``command.py``."""

from __future__ import annotations

import os
import sys


def main() -> int:
    """Begin anew with names that hash alike in every process, as the order in a set hangs on it; then do the work."""
    if os.environ.get("PYTHONHASHSEED") != "0":
        os.environ["PYTHONHASHSEED"] = "0"
        os.execv(sys.executable, [sys.executable, "-m", "tests.simulation", *sys.argv[1:]])  # noqa: S606 - this again
    from .command import main

    return main()


if __name__ == "__main__":
    sys.exit(main())
