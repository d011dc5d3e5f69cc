"""The command ``casty-es``: parsing and rendering; what is done is done by the library.

Exit codes, the same for every command:

====  ==================================================================================================================
0     done; whoever looked found nothing
1     found: something is wrong, or cannot be read, or differs; or what was asked for is not there (``map get`` of a
      missing key, ``queue dequeue`` of an empty queue, ``log`` of an entity without events)
2     wrong usage: an option, a name, a value or a file that cannot be used; nothing was done
3     it could not be done, or not looked at: no database, no rights, no answer, a log that cannot be folded
130   ended by Ctrl-C
====  ==================================================================================================================

``lock run`` and ``semaphore run`` give the exit code of the command that they ran.
"""

from __future__ import annotations

import gc
import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line on this process's arguments and exit with its code."""
    gc.disable()  # what loading makes stays as long as the process: to look through it again and again is for nothing
    try:
        from casty_es.cli.app import run  # noqa: PLC0415 - typer and rich are loaded only by those who use them
    except KeyboardInterrupt:  # loading takes a while where the machine is busy
        sys.exit(130)
    sys.exit(run(sys.argv[1:]))
