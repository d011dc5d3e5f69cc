"""Addresses: how they are written and read, and which of them lead to a host from elsewhere."""

from __future__ import annotations

import pytest

from casty_es import ClusteredActorSystem, ConfigurationError, InvalidArgumentError, InvalidTypeError
from casty_es.addresses import advertised, is_wildcard, joined, network_host, split
from casty_es.arguments import check_place


@pytest.mark.parametrize("place", [("10.0.0.5", 7400), ("web1", 1), ("2001:db8::5", 65_535), ("fe80::1%eth0", 80)])
def test_an_address_is_read_as_it_is_written(place: tuple[str, int]) -> None:
    """Given a host and a port, when they are written and read, then they are the same."""
    assert split(joined(*place)) == place


@pytest.mark.parametrize(
    "text", ["", "web1", ":80", "web1:", "web1:0", "web1:65536", "web1:x", "web1:٣", "a:" + "9" * 5_000]
)
def test_what_is_no_address_is_none(text: str) -> None:
    """Given what lacks a host or a port, when it is read, then it is nothing."""
    assert split(text) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("web1", "web1"),
        ("web1:7400", ("web1", 7400)),
        ("10.0.0.5:7400", ("10.0.0.5", 7400)),
        ("2001:db8::5", "2001:db8::5"),
        ("[2001:db8::5]", "2001:db8::5"),
        ("[2001:db8::5]:7400", ("2001:db8::5", 7400)),
        ("web1:", None),
        ("web1:x", None),
        ("a:b:c", None),
        ("[]", None),
    ],
)
def test_what_is_advertised(text: str, expected: object) -> None:
    """Given a host or a host and a port as text, when it is read, then IPv6 addresses are not cut apart."""
    assert advertised(text) == expected


@pytest.mark.parametrize(
    ("sockname", "expected"),
    [
        (("10.0.0.5", 50_000), "10.0.0.5"),
        (("2001:db8::5", 50_000, 0, 0), "2001:db8::5"),
        (("::ffff:10.0.0.5", 50_000, 0, 0), "10.0.0.5"),
        (("127.0.0.1", 50_000), None),
        (("::1", 50_000, 0, 0), None),
        (("::ffff:127.0.0.1", 50_000, 0, 0), None),
        (("fe80::1%eth0", 50_000, 0, 2), None),  # a network's own, and its number is this host's
        (("169.254.1.1", 50_000), None),
        ("", None),
        ("/run/postgresql/.s.PGSQL.5432", None),
        (None, None),
    ],
)
def test_where_a_connection_shows_a_host_to_be(sockname: object, expected: str | None) -> None:
    """Given one end of a connection, when it is no network's that others share, then it shows nothing."""
    assert network_host(sockname) == expected


def test_the_environment_says_what_was_not_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given variables, when an argument is missing, then they stand in for it; an empty one says nothing."""
    monkeypatch.setenv("CASTY_ES_HOST", "::1")
    monkeypatch.setenv("CASTY_ES_PORT", "7400")
    monkeypatch.setenv("CASTY_ES_ADVERTISE", "web1:7401")
    assert check_place(None, None, None) == ("::1", 7400, ("web1", 7401))
    assert check_place("127.0.0.1", 0, "web2") == ("127.0.0.1", 0, "web2")
    for name in ("CASTY_ES_HOST", "CASTY_ES_PORT", "CASTY_ES_ADVERTISE"):
        monkeypatch.setenv(name, "")
    assert check_place(None, None, None) == (None, 0, None)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("CASTY_ES_HOST", "x" * 300),
        ("CASTY_ES_PORT", "http"),
        ("CASTY_ES_PORT", "65536"),
        ("CASTY_ES_PORT", "9" * 5_000),
        ("CASTY_ES_ADVERTISE", "web1:http"),
        ("CASTY_ES_ADVERTISE", "0.0.0.0"),  # noqa: S104 - to see it refused
        ("CASTY_ES_ADVERTISE", "[::]:7400"),
    ],
)
def test_a_variable_that_cannot_be_used_is_named(name: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a variable that says nothing of use, when a system is made, then the error says which."""
    monkeypatch.setenv(name, text)
    with pytest.raises((InvalidArgumentError, InvalidTypeError), match=f"{name}.*Nothing was s"):
        ClusteredActorSystem()


@pytest.mark.parametrize("advertise", ["", "web1:", ("web1",), ("web1", 0), ("", 1), ("::", 1), 5, ("web1", "1")])
def test_what_cannot_be_advertised_is_refused(advertise: object) -> None:
    """Given an address that nobody can dial, when a system is made, then it is refused."""
    with pytest.raises((InvalidArgumentError, InvalidTypeError), match="advertise"):
        ClusteredActorSystem(advertise=advertise)  # type: ignore[arg-type]


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "0:0::0", "0"])  # noqa: S104 - to see them refused
async def test_a_wildcard_needs_an_address(host: str, sqlite_journal_url: str) -> None:
    """Given a node that is to listen everywhere, when nobody says where it is reached, then it does not start."""
    from casty_es import SqlJournal

    journal = SqlJournal(sqlite_journal_url)
    with pytest.raises(ConfigurationError, match="advertise= or CASTY_ES_ADVERTISE"):
        async with ClusteredActorSystem(journal=journal, host=host):
            pass
    async with ClusteredActorSystem(journal=journal, host=host, advertise="web1") as system:
        assert system.address == f"web1:{system.self_node.port}"
        assert is_wildcard(system.self_node.host)
