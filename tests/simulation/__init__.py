"""A deterministic simulation: a whole cluster of the real code in one process, under a seed."""
