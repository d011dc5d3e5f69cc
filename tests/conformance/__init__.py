"""One suite for every journal: what the protocol promises, whichever of the three keeps the promise."""
