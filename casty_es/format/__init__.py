"""What bytes mean: events, states, replies, values and the chain that records stand in (docs/reference/format.md)."""
