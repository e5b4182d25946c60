"""The split of the links between production and a canary."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bwpredict.registry.canary_assignment import assign_arm, link_position

LINK = st.tuples(st.integers(0, 2**40), st.integers(0, 2**40))
SHARE = st.floats(0, 1)


@given(LINK)
def test_without_a_share_production_serves_every_link_and_with_all_of_it_the_candidate(link):
    assert assign_arm(*link, 0.0) == "production"
    assert assign_arm(*link, 1.0) == "canary"


@given(LINK, SHARE, SHARE)
def test_a_larger_share_only_adds_links(link, one, other):
    smaller, larger = sorted([one, other])
    assert assign_arm(*link, smaller) == "production" or assign_arm(*link, larger) == "canary"


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5])
def test_the_candidate_serves_its_share_of_many_links(share):
    links = 20_000
    served = sum(assign_arm(node, node + 1, share) == "canary" for node in range(links))
    assert abs(served - links * share) < 4 * (links * share * (1 - share)) ** 0.5


def test_the_direction_of_a_link_counts():
    assert link_position(1, 2) != link_position(2, 1)


def test_the_hash_is_the_documented_one_so_that_other_languages_agree():
    # printf '7:12' | sha256sum | cut -c1-16: 8 bytes, of which the first 53 bits count.
    import subprocess

    printed = subprocess.run("printf 7:12 | sha256sum", shell=True, capture_output=True, text=True, check=True)  # noqa: S602
    assert link_position(7, 12) == (int(printed.stdout[:16], 16) >> 11) / 2**53
