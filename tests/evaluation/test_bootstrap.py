"""The paired block bootstrap, which slices use, on pairs of models whose true difference is known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from bwpredict.evaluation.bootstrap import FEWEST_BLOCKS, LEVEL, blocks_of, interval_of
from bwpredict.evaluation.relative import percent_above

LINKS, DAYS, PER_DAY = 12, 5, 8
SIMULATIONS = 500
DRAWS = 1000


def simulated(generator, percent=0.0):
    """Absolute errors [n] of a challenger and a champion: days are hard or easy for a link, for each model a little."""
    code = np.repeat(np.arange(LINKS * DAYS), PER_DAY)
    hard = generator.gamma(9, 1 / 9, LINKS * DAYS)[code]
    own, theirs = (hard * (generator.gamma(60, 1 / 60, LINKS * DAYS)[code]) for _ in range(2))
    noise = generator.exponential(size=(2, len(code)))
    return own * noise[0] * (1 + percent / 100), theirs * noise[1]


def the_blocks():
    number = np.arange(LINKS * DAYS * PER_DAY)
    return blocks_of(number // (DAYS * PER_DAY), number // PER_DAY % DAYS * 86_400 + number % PER_DAY * 60)


def drawn_percent(blocks, own, theirs, draws=DRAWS):
    ours, other = blocks.draw(blocks.sums(np.stack([own, theirs], axis=1)), draws).T
    return percent_above(own.mean(), theirs.mean()), percent_above(ours, other)


@pytest.fixture(scope="module")
def pairs():
    """Of each simulation with equal models: estimate, and what was drawn."""
    generator, blocks = np.random.default_rng(11), the_blocks()
    return [drawn_percent(blocks, *simulated(generator)) for _ in range(SIMULATIONS)]


def test_the_interval_holds_the_true_difference_95_times_in_100(pairs):
    held = [interval.low <= 0 <= interval.high for interval in (interval_of(*pair) for pair in pairs)]
    assert 0.93 <= np.mean(held) <= 0.97


def test_of_equal_models_at_most_5_in_100_are_promoted_as_superior(pairs):
    assert np.mean([interval_of(*pair).high < 0 for pair in pairs]) <= 0.05


def test_a_difference_is_found_as_often_as_the_power_statement_says():
    generator, blocks = np.random.default_rng(5), the_blocks()
    deviation = np.mean([drawn_percent(blocks, *simulated(generator))[1].std() for _ in range(60)])
    for deviations in (1.5, 2.802):
        difference = -deviations * deviation
        pairs = (drawn_percent(blocks, *simulated(generator, difference)) for _ in range(SIMULATIONS))
        found = [interval_of(*pair).high < 0 for pair in pairs]
        # The ratio of a smaller error scatters less, by as much.
        computed = norm.cdf(deviations / (1 + difference / 100) - norm.ppf((1 + LEVEL) / 2))
        assert abs(np.mean(found) - computed) < 0.05


def test_the_fast_form_draws_what_a_loop_over_blocks_and_windows_draws():
    generator, blocks = np.random.default_rng(3), the_blocks()
    own, theirs = simulated(generator)
    _, fast = drawn_percent(blocks, own, theirs, 40)
    slow = []
    drawn = np.random.default_rng(0).integers(blocks.count, size=(40, blocks.count))
    for chosen in drawn:
        rows = np.concatenate([np.flatnonzero(blocks.code == block) for block in chosen])
        slow.append(100 * (own[rows].mean() / theirs[rows].mean() - 1))
    np.testing.assert_allclose(fast, slow)


def test_memory_for_the_draws_does_not_change_them(monkeypatch):
    own, theirs = simulated(np.random.default_rng(3))
    _, whole = drawn_percent(the_blocks(), own, theirs, 50)
    monkeypatch.setattr("bwpredict.evaluation.bootstrap._CELLS", 7 * LINKS * DAYS)
    np.testing.assert_allclose(drawn_percent(the_blocks(), own, theirs, 50)[1], whole)


def test_few_days_make_blocks_of_hours_and_many_links_blocks_of_days():
    seconds = np.arange(3) * 3600
    assert blocks_of(np.zeros(3, int), seconds).kind == "hour"
    many = blocks_of(np.arange(FEWEST_BLOCKS), np.zeros(FEWEST_BLOCKS, int))
    assert (many.kind, many.count) == ("day", FEWEST_BLOCKS)


def test_a_block_holds_windows_of_one_link_and_day_only():
    generator = np.random.default_rng(2)
    link, time = generator.integers(0, 9, 500), generator.integers(0, 20 * 86_400, 500)
    blocks = blocks_of(link, time)
    pairs = {(one, int(a), int(b)) for one, a, b in zip(blocks.code, link, time // 86_400, strict=True)}
    assert len(pairs) == blocks.count == len({pair[1:] for pair in pairs})


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.lists(st.floats(0, 1), min_size=8, max_size=8))
def test_smaller_errors_never_raise_an_end_of_the_interval(seed, factors):
    own, theirs = simulated(np.random.default_rng(seed))
    better = own * np.tile(factors, len(own) // 8)
    blocks = the_blocks()
    worse_one, better_one = (interval_of(*drawn_percent(blocks, each, theirs, 200)) for each in (own, better))
    assert better_one.high <= worse_one.high + 1e-9
    assert better_one.low <= worse_one.low + 1e-9
