"""Tests of the pure structures: no event loop, no clock, no database."""
