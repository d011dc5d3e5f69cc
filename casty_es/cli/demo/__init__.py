"""``casty-es demo``: load on three nodes, a hard kill in its middle, a fresh start, a count of what is there.

Three child processes (``load.py``), each a node and its callers, drive the structures and write down every acknowledged
operation. The parent (``command.py``, ``drive.py``) kills the one that owns the counter, lets the others go on, reads
everything back (``look.py``, ``chains.py``) and compares (``check.py``).
"""
