"""A journal for each of the three roles, and who owns it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from casty_es import Distributed
from tests.cluster.nodes import nodes, structures
from tests.conftest import Granted


@pytest.fixture
def auditor_url(granted: Granted, granted_url: str) -> str:
    """The journal for an auditor."""
    return granted.url_as("auditor", granted_url)


@pytest.fixture
def maintenance_url(granted: Granted, granted_url: str) -> str:
    """The journal for retention and redaction."""
    return granted.url_as("maintenance", granted_url)


@pytest_asyncio.fixture
async def everywhere(application_journal_url: str) -> AsyncIterator[list[Distributed]]:
    """The structures as each of three nodes sees them, none of which may do more than an application must."""
    async with nodes(application_journal_url, 3) as systems:
        yield structures(systems)
