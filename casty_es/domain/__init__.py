"""The seven structures as pure functions: no I/O, no clock, no randomness, no ids of their own."""
