"""How often the gate is right on simulated pairs of models: `make bench-gate` with fewer pairs."""

import numpy as np
import pytest
from bench_gate import after_change, large_link, measure, refused_by_parts, small_links

PAIRS = 100
WORLDS = [(links, common, 7) for links in (8, 20, 100) for common in (0.0, 0.25, 0.5)] + [(8, 0.5, 14)]


def most(chance, tries):
    """What a rate of this chance stays under, in all but 1 of 1,000 simulations."""
    return chance + 3.1 * np.sqrt(chance * (1 - chance) / tries)


@pytest.mark.parametrize(("links", "common", "days"), WORLDS)
def test_intervals_hold_the_truth_and_a_challenger_at_the_margin_is_rarely_promoted(links, common, days):
    found = measure(links, common, PAIRS, days=days)
    assert 0.95 - 3.1 * np.sqrt(0.95 * 0.05 / (4 * PAIRS)) <= found["coverage"] <= 0.99
    assert found["margin promoted"] <= most(0.04, PAIRS)
    assert found["equal rejected"] <= most(0.05, PAIRS)


def test_an_equal_challenger_is_promoted_where_links_have_nothing_in_common():
    assert measure(8, 0.0, PAIRS)["equal promoted"] >= 0.8


@pytest.mark.parametrize("common", [0.0, 0.5])
def test_slices_and_links_together_rarely_refuse_an_equal_challenger(common):
    assert refused_by_parts(20, common, 20) <= 0.05


@pytest.mark.parametrize(("links", "common"), [(8, 0.0), (20, 0.25)])
def test_after_a_change_the_days_that_follow_decide_with_the_same_error_rates(links, common):
    found = after_change(links, common, PAIRS)
    assert 0.95 - 3.1 * np.sqrt(0.95 * 0.05 / (8 * PAIRS)) <= found["coverage"] <= 0.99
    assert found["better, then at the margin: promoted on after days"] <= most(0.04, PAIRS)
    assert found["worse, then equal: promoted on all days"] == 0
    if not common:
        assert found["worse, then equal: promoted on after days"] > 0.2


@pytest.mark.parametrize("common", [0.0, 0.5])
def test_a_challenger_that_is_worse_on_a_few_small_links_is_refused(common):
    found = small_links(100, common, 20)
    assert (found["worse by 50 %"], found["promoted"]) == (5, 0)
    assert found["refused by the check of links"] == 1


def test_a_challenger_that_is_worse_on_the_largest_link_alone_is_not_promoted():
    found = large_link(8, 0.25, 20)
    assert found["20 % worse on the largest link: promoted"] == 0
    found = large_link(100, 0.0, 20)
    assert found["50 % worse on the largest link: promoted"] == 0
    assert found["10 % worse on the largest link: promoted"] > 0.5  # the price of a guard that goes by its estimate
