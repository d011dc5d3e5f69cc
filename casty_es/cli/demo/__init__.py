"""``casty-es demo``: load, a hard kill in its middle, a fresh start on the same file, a count of what is there.

A child process (``load.py``) drives the structures and writes down every acknowledged operation; the parent
(``command.py``) lets it be killed, reads everything back (``look.py``) and compares (``check.py``).
"""
