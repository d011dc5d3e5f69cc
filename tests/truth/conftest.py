"""Journals for the truth suite, from the templates that all tests share."""

from __future__ import annotations

from pathlib import Path

import pytest

from .runs import Fresh, fresh_from


@pytest.fixture
def fresh(request: pytest.FixtureRequest, sqlite_template: Path, tmp_path: Path) -> Fresh:
    """``fresh(kind)``: a fresh, migrated journal; Postgres starts only for a test that asks for ``postgres``."""
    server = template = ""
    if "postgres" in request.node.name:
        server = request.getfixturevalue("postgres_server")
        template = request.getfixturevalue("postgres_template")
    return fresh_from(sqlite_template, tmp_path, server, template)
