"""Exports, imports and copies."""
