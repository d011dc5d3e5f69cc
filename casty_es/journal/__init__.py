"""The journal: an append-only log of events per slot, the directory of entities, and snapshots beside them."""
