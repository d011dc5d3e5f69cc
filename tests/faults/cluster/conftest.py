"""What tests of several node processes share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from .loss import Loss

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Sql = Callable[..., list[tuple[object, ...]]]
    Owner = Callable[[str, str], str]


@pytest.fixture
def owner_of(sql: Sql) -> Owner:
    """``owner_of(url, counter)``: the name of the node that is written down for a counter."""

    def owner_of(url: str, counter: str) -> str:
        rows = sql(
            url,
            "SELECT o.node_id FROM casty_slots o JOIN casty_entities e ON e.slot = o.slot "
            f"WHERE e.kind = 'counter' AND e.name = '{counter}'",
        )
        return str(rows[0][0])

    return owner_of


@pytest.fixture
def secret_of(sql: Sql) -> Callable[[str], bytes]:
    """``secret_of(url)``: the secret of the cluster."""
    return lambda url: bytes(sql(url, "SELECT value FROM casty_secrets")[0][0])  # type: ignore[call-overload]


@pytest.fixture
def loss(journal_url: str, tmp_path: Path, sql: Sql) -> Loss:
    """How the journal loses records."""
    return Loss(journal_url, tmp_path, sql)
