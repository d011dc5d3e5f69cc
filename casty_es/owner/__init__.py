"""Owning slots: activation, deciding in arrival order, group commit, replies after it."""
