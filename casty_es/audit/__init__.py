"""Asking the journal: what happened, what was true at a time, who held what, and whether anybody touched the rows."""
