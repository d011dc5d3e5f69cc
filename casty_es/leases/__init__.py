"""The right to write a journal, as a value that is acquired, awaited when it is lost, and released."""
