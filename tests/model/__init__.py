"""A small model of the protocol by which nodes own a slot, commands are done once and reads are current.

What a gateway does with a command is the library's own code; the rest imports nothing of it. Read ``rules.py`` for what
is kept, ``state.py`` for what there is, ``gateways.py``, ``journeys.py``, ``nodes.py`` and ``model.py`` for what can
happen, ``check.py`` for the search. ``python -m tests.model`` prints it all.
"""
