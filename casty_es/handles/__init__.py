"""What users hold: one class per structure, mirroring ``domain/``. They check, encode, ask and decode."""
