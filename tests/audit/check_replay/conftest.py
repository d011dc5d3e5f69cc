"""The journal of the tests of ``verify``, with everything in it."""

from __future__ import annotations

from tests.audit.verifying.conftest import tamperer, written_postgres, written_sqlite, written_url

__all__ = ["tamperer", "written_postgres", "written_sqlite", "written_url"]
