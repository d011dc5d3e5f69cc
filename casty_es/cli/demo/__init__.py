"""``casty-es demo``: load on three nodes, a hard kill in its middle, a fresh start, a count of what is there.

Three child processes (``load.py``), each a node and its callers, drive the structures and write down every acknowledged
operation. The parent (``command.py``) has the one killed that owns the counter while the others go on (``drive.py``),
reads everything back, and compares (``check.py``).
"""
