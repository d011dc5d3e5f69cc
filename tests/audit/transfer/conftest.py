"""A journal with everything in it, empty databases of both kinds, and what an export of it looks like."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from casty_es.audit.transfer import export_journal
from tests.audit.verifying.conftest import tamperer, written_postgres, written_sqlite, written_url

__all__ = ["tamperer", "written_postgres", "written_sqlite", "written_url"]

Exporting = Callable[[str], Awaitable[bytes]]


@pytest.fixture
def exported(tmp_path: Path) -> Exporting:
    """``await exported(url)``: the bytes of a plain export."""
    numbers = iter(range(1_000))

    async def export(url: str) -> bytes:
        target = tmp_path / f"export-{next(numbers)}.jsonl"
        await export_journal(url, target)
        return target.read_bytes()

    return export
