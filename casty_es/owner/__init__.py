"""Owning slots: activation, deciding in arrival order, group commit, replies after it.

Read ``owner.py`` first, then ``pending.py``, ``entity.py``, ``writer.py``, ``batch.py`` and ``slot.py``: that is a
command's way. The other modules are what it meets when something is cold, in doubt, in line or lost.
"""
