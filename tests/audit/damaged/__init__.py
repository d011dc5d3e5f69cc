"""Every command on journals of which one field was damaged."""
