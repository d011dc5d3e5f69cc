"""How nodes and clients talk: authenticated connections, many messages to a frame."""
