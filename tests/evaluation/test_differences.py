"""The difference from the champion, on pairs of models whose true difference is known."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from bwpredict import schema
from bwpredict.evaluation.bootstrap import FEWEST_BLOCKS, LEVEL, blocks_of, interval_of
from bwpredict.evaluation.diebold_mariano import diebold_mariano, loss_series
from bwpredict.evaluation.forecasts import Forecasts
from bwpredict.evaluation.paired_difference import differences
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


def forecasts_of(own, theirs, *, targets=schema.TARGETS):
    """Forecasts [n, t] with these errors, above an actual value of 0."""
    number = np.arange(len(own))
    models = {"challenger": own, "champion": theirs}
    return Forecasts(
        targets=targets,
        actual=np.zeros((len(own), len(targets)), np.float32),
        models={name: np.stack([values] * len(targets), axis=1).astype(np.float32) for name, values in models.items()},
        link=number // (DAYS * PER_DAY),
        timestamps=number // PER_DAY % DAYS * 86_400 + number % PER_DAY * 60,
        links=pd.DataFrame({"node_id": range(LINKS), "peer_id": range(LINKS)}),
    )


def difference_of(own, theirs, **more):
    return differences(forecasts_of(own, theirs), **more)


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


def test_the_smallest_detectable_difference_is_the_one_with_a_power_of_80_percent():
    found = difference_of(*simulated(np.random.default_rng(1)))["per_target"]["rtt_ms"]
    own, theirs = simulated(np.random.default_rng(1))
    deviation = drawn_percent(the_blocks(), np.float32(own), np.float32(theirs), 10_000)[1].std()
    assert found["smallest_detectable_percent"] == pytest.approx((norm.ppf(0.975) + norm.ppf(0.8)) * deviation)


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


def test_the_same_errors_differ_by_nothing():
    own, _ = simulated(np.random.default_rng(0))
    found = difference_of(own, own)
    for figures in (*found["per_target"].values(), found["weighted"]):
        assert (figures["percent"], figures["low"], figures["high"]) == (0, 0, 0)
        assert figures["probability_better"] == 0.5


def test_swapped_models_swap_the_probability_and_the_sign():
    own, theirs = simulated(np.random.default_rng(8), percent=4)
    there, back = (difference_of(*pair)["per_target"]["rtt_ms"] for pair in ((own, theirs), (theirs, own)))
    assert there["probability_better"] == pytest.approx(1 - back["probability_better"])
    assert there["percent"] > 0 > back["percent"]
    assert there["diebold_mariano"]["statistic"] == pytest.approx(-back["diebold_mariano"]["statistic"])


def test_the_weighted_mean_is_that_of_the_targets_that_count():
    forecasts = forecasts_of(*simulated(np.random.default_rng(4)))
    forecasts.models["challenger"] *= np.array([1.0, 1.1, 1.2, np.inf], np.float32)
    weights = {"throughput_mbps": 2.0, "packet_loss": 1.0, "rtt_ms": 0.0, "jitter_ms": 0.0}
    found = differences(forecasts, weights=weights)
    one, three = (found["per_target"][name]["percent"] for name in ("throughput_mbps", "packet_loss"))
    assert found["weighted"]["percent"] == pytest.approx((2 * one + three) / 3)
    assert found["weighted"]["weights"] == weights
    assert found["per_target"]["jitter_ms"]["high"] is None


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_a_forecast_that_is_not_finite_leaves_nothing_defined(broken):
    own, theirs = simulated(np.random.default_rng(4))
    own[5] = broken
    found = difference_of(own, theirs)
    assert {figures["high"] for figures in found["per_target"].values()} == {None}
    assert found["weighted"]["high"] is None


def test_over_a_perfect_champion_nothing_is_defined_and_two_perfect_models_are_equal():
    own, _ = simulated(np.random.default_rng(4))
    assert difference_of(own, own * 0)["per_target"]["rtt_ms"]["high"] is None
    assert difference_of(own * 0, own * 0)["per_target"]["rtt_ms"]["high"] == 0


def slow_diebold_mariano(losses, h, lags):
    """The statistic, as the papers write it: sums in loops."""
    n, mean = len(losses), sum(losses) / len(losses)

    def covariance(lag):
        return sum((losses[i] - mean) * (losses[i - lag] - mean) for i in range(lag, n)) / n

    variance = covariance(0) + 2 * sum((1 - lag / (lags + 1)) * covariance(lag) for lag in range(1, lags + 1))
    return mean / (variance / n) ** 0.5 * ((n + 1 - 2 * h + h * (h - 1) / n) / n) ** 0.5


def test_the_diebold_mariano_statistic_is_that_of_the_papers():
    losses = np.random.default_rng(6).normal(0.1, 1, 90).cumsum() * 0.1
    found = diebold_mariano(losses, 3)
    assert found["statistic"] == pytest.approx(slow_diebold_mariano(list(losses), 3, found["lags"]))


def test_the_diebold_mariano_test_finds_a_difference_in_equal_models_5_times_in_100():
    generator = np.random.default_rng(9)
    noise = generator.normal(size=(400, 600 + 3))
    series = sum(noise[:, lag : lag + 600] for lag in range(4))  # overlap of four steps
    assert 0.02 <= np.mean([diebold_mariano(one, 4)["p_value"] < 0.05 for one in series]) <= 0.09


def test_a_loss_series_is_the_mean_over_links_at_each_time():
    series = loss_series(np.array([1.0, 2.0, 4.0, 8.0]), np.array([60, 0, 60, 0]))
    assert series.tolist() == [5.0, 2.5]


@pytest.mark.parametrize("losses", [np.zeros(100), np.ones(5), np.full(100, np.nan)])
def test_without_variance_or_length_there_is_no_diebold_mariano_test(losses):
    assert diebold_mariano(losses, 2)["p_value"] is None
