"""A small model of the protocol by which nodes own a slot, commands are done once and reads are current.

It imports nothing of the library. Read ``rules.py`` for what is kept, ``state.py`` for what there is, ``gateways.py``,
``nodes.py`` and ``model.py`` for what can happen, ``check.py`` for the search. ``python -m tests.model`` prints it all.
"""
