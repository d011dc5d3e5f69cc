"""Nodes and clients over TLS."""

from __future__ import annotations

import ssl

import pytest
import trustme

from casty_es import ClusterClient, ClusteredActorSystem, PeerError, SqlJournal


@pytest.fixture
def contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """What a node needs for connections that come in, and for those that go out."""
    authority = trustme.CA()
    inward = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(inward)
    outward = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.configure_trust(outward)
    return inward, outward


async def test_nodes_and_clients_share_structures_over_tls(
    sqlite_journal_url: str, contexts: tuple[ssl.SSLContext, ssl.SSLContext]
) -> None:
    """Given two nodes and a client that trust one authority, when all count, then none is missed."""
    journals = [SqlJournal(sqlite_journal_url) for _ in range(2)]
    async with (
        ClusteredActorSystem(journal=journals[0], ssl=contexts) as first,
        ClusteredActorSystem(journal=journals[1], ssl=contexts) as second,
    ):
        await first.wait_for(2)
        secret = await journals[0].secret()
        async with ClusterClient(contact_points=[first.self_node], secret=secret, ssl=contexts[1]) as client:
            counters = [one.distributed().counter("hits") for one in (first, second, client)]
            assert [await counter.increment() for counter in counters * 2] == [1, 2, 3, 4, 5, 6]


async def test_a_client_without_tls_is_turned_away(
    sqlite_journal_url: str, contexts: tuple[ssl.SSLContext, ssl.SSLContext]
) -> None:
    """Given a node that speaks TLS, when a client comes without, then it is told that no node can be talked to."""
    journal = SqlJournal(sqlite_journal_url)
    async with ClusteredActorSystem(journal=journal, ssl=contexts) as node:
        client = ClusterClient(contact_points=[node.self_node], secret=await journal.secret())
        with pytest.raises(PeerError):
            async with client:
                pass
        assert await node.distributed().counter("hits").increment() == 1


@pytest.mark.parametrize(
    ("host", "with_tls", "warned"),
    [("0.0.0.0", False, 1), ("0.0.0.0", True, 0), ("127.0.0.1", False, 0)],  # noqa: S104 - on purpose
)
async def test_a_node_beyond_loopback_without_tls_says_so_once(
    sqlite_journal_url: str,
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
    caplog: pytest.LogCaptureFixture,
    host: str,
    *,
    with_tls: bool,
    warned: int,
) -> None:
    """Given where a node listens, when it starts, then it warns if others could read on the way, and only then."""
    journal = SqlJournal(sqlite_journal_url)
    async with ClusteredActorSystem(
        journal=journal, host=host, advertise="127.0.0.1", ssl=contexts if with_tls else None
    ) as node:
        assert await node.distributed().counter("hits").increment() == 1
        assert node.incidents == {}
    assert sum("without TLS" in record.getMessage() for record in caplog.records) == warned
