"""Connections between processes: who is let in, what is let through, and what happens when the other end misbehaves."""
