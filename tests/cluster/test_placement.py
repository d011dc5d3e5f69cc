"""Who should own a slot: the same answer everywhere, spread evenly, and moved only where it must be."""

from __future__ import annotations

from collections import Counter
from math import sqrt
from random import Random
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from casty_es.cluster.placement import ranking

SLOTS = range(256)

names = st.uuids().map(str) | st.text(min_size=1, max_size=20)
clusters = st.lists(names, min_size=1, max_size=16, unique=True)


def owners(nodes: list[str]) -> dict[int, str]:
    """Return the first of each slot's ranking."""
    return {slot: ranking(slot, nodes)[0] for slot in SLOTS}


def test_every_release_ranks_alike() -> None:
    """Nodes of different releases must agree while a cluster is updated: these answers never change."""
    assert [ranking(slot, ["a", "b", "c"]) for slot in (0, 7, 255)] == [
        ["a", "b", "c"],
        ["b", "c", "a"],
        ["c", "b", "a"],
    ]
    assert ranking(3, []) == []


@given(clusters, st.randoms(use_true_random=False))
def test_the_order_of_the_nodes_does_not_matter(nodes: list[str], dice: Random) -> None:
    """Every node ranks alike, in whatever order it heard of the others."""
    shuffled = list(nodes)
    dice.shuffle(shuffled)

    assert all(ranking(slot, nodes) == ranking(slot, shuffled) for slot in SLOTS)
    assert sorted(ranking(0, nodes)) == sorted(nodes)


@given(st.lists(names, min_size=2, max_size=16, unique=True))
def test_a_node_that_joins_takes_only_what_becomes_its_own(nodes: list[str]) -> None:
    """No slot moves between two nodes that were there before."""
    joining, *others = nodes
    before, after = owners(others), owners(nodes)

    assert all(after[slot] in {before[slot], joining} for slot in SLOTS)


@given(st.lists(names, min_size=2, max_size=16, unique=True))
def test_only_the_slots_of_a_node_that_leaves_move(nodes: list[str]) -> None:
    """Each goes to the second of its own ranking, so that they are spread over all who stay."""
    leaving, *staying = nodes
    after = owners(staying)

    for slot in SLOTS:
        first, second, *_ = ranking(slot, nodes)
        assert after[slot] == (second if first == leaving else first)


@given(st.integers(3, 16), st.integers(0, 2**64))
def test_slots_are_spread_evenly(number: int, seed: int) -> None:
    """Each of 3 to 16 nodes has its share of 256 slots, within six standard deviations of throwing dice."""
    nodes = [str(UUID(int=seed * 32 + node)) for node in range(number)]
    mean = len(SLOTS) / number
    deviation = sqrt(mean * (1 - 1 / number))

    shares = Counter(owners(nodes).values())

    assert sum(shares.values()) == len(SLOTS)
    assert max(shares.values()) < mean + 6 * deviation
    assert min(shares[node] for node in nodes) > max(0, mean - 6 * deviation)
