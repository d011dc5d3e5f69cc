"""What a node makes of messages that no handle, gateway or node would have sent."""
