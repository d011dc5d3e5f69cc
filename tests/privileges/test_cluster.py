"""The suite of the structures in a cluster, whose nodes log in as the application role."""

from __future__ import annotations

from tests.cluster.test_structures import *  # noqa: F403 - the very same tests
