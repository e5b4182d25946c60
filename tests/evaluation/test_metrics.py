"""Each metric against an independent scalar version, and what it says where nothing can be said."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics as sklearn_metrics

from bwpredict.evaluation.metrics import (
    METRICS,
    MINIMUM_LINK_SAMPLES,
    Truth,
    correlation,
    mae,
    mape,
    mape_share_left_out,
    r2_score,
    skill_over,
    within_link_correlation,
    within_link_links,
)

FLOORS = np.array([0.1, 0.1, 0.5, 0.01])


def scalar_mape(actual, forecast, floor):
    relative = [abs(f - a) / abs(a) for a, f in zip(actual, forecast, strict=True) if abs(a) >= floor]
    return 100 * sum(relative) / len(relative) if relative else float("nan")


def scalar_within_link(actual, forecast, link):
    own = [
        stats.pearsonr(actual[link == one], forecast[link == one]).statistic
        for one in set(link.tolist())
        if (link == one).sum() >= MINIMUM_LINK_SAMPLES
    ]
    return float(np.median(own)) if own else float("nan")


SCALAR = {
    "mae": lambda a, f, _link, _floor: sklearn_metrics.mean_absolute_error(a, f),
    "rmse": lambda a, f, _link, _floor: sklearn_metrics.root_mean_squared_error(a, f),
    "wape": lambda a, f, _link, _floor: 100 * sum(abs(f - a)) / sum(abs(a)),
    "mape": lambda a, f, _link, floor: scalar_mape(a, f, floor),
    "mape_share_left_out": lambda a, _f, _link, floor: sum(abs(a) < floor) / len(a),
    "r2_score": lambda a, f, _link, _floor: sklearn_metrics.r2_score(a, f),
    "correlation": lambda a, f, _link, _floor: stats.pearsonr(a, f).statistic,
    "within_link_correlation": lambda a, f, link, _floor: scalar_within_link(a, f, link),
    "within_link_links": lambda _a, _f, link, _floor: sum(
        (link == one).sum() >= MINIMUM_LINK_SAMPLES for one in set(link.tolist())
    ),
}


def sample(windows=400, links=5, seed=0):
    """Positive values around a level of each link's own, links in no order, and a noisy forecast."""
    generator = np.random.default_rng(seed)
    link = generator.integers(0, links, windows).astype(np.int32)
    level = 10.0 ** generator.uniform(-2, 3, (links, 4))
    actual = (level[link] * generator.lognormal(0, 0.4, (windows, 4))).astype(np.float32)
    forecast = (actual * generator.lognormal(0, 0.3, (windows, 4))).astype(np.float32)
    return Truth(actual, link, FLOORS), forecast


def test_every_metric_has_an_independent_scalar_version():
    assert SCALAR.keys() == METRICS.keys()


@pytest.mark.parametrize("name", METRICS)
@settings(max_examples=25, deadline=None)
@given(windows=st.integers(40, 300), links=st.integers(1, 8), seed=st.integers(0, 2**32 - 1))
def test_a_metric_agrees_with_its_scalar_version(name, windows, links, seed):
    truth, forecast = sample(windows, links, seed)
    computed = METRICS[name](truth, forecast)
    for target in range(4):
        actual, own = (values[:, target].astype(np.float64) for values in (truth.values, forecast))
        expected = SCALAR[name](actual, own, truth.link, FLOORS[target])
        np.testing.assert_allclose(computed[target], expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", METRICS)
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_the_order_of_windows_changes_nothing(name, seed):
    truth, forecast = sample()
    order = np.random.default_rng(seed).permutation(len(forecast))
    shuffled = Truth(truth.values[order], truth.link[order], FLOORS)
    np.testing.assert_allclose(METRICS[name](shuffled, forecast[order]), METRICS[name](truth, forecast), rtol=1e-9)


@pytest.mark.parametrize("name", sorted(METRICS.keys() - {"mape_share_left_out", "within_link_links"}))
@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_one_forecast_that_is_not_finite_leaves_its_target_without_a_figure(name, broken):
    truth, forecast = sample(links=1)
    truth.values[7, 2] = 10.0
    forecast[7, 2] = broken
    figures = METRICS[name](truth, forecast)
    assert not np.isfinite(figures[2])
    assert np.isfinite(figures[[0, 1, 3]]).all()


@pytest.mark.parametrize("name", sorted(METRICS.keys() - {"within_link_links"}))
def test_no_windows_give_no_figure(name):
    empty = Truth(np.empty((0, 4), np.float32), np.empty(0, np.int32), FLOORS)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isnan(METRICS[name](empty, empty.values)).all()


def test_a_forecast_of_another_shape_is_refused():
    truth, forecast = sample()
    with pytest.raises(ValueError, match="shape"):
        mae(truth, forecast[:, :1])


@pytest.mark.parametrize("metric", [r2_score, correlation, within_link_correlation])
@pytest.mark.parametrize("level", [0.0, 0.1, 1e9])
def test_a_constant_actual_value_has_no_correlation_and_no_variance_to_explain(metric, level):
    truth, forecast = sample()
    truth.values[:, 1] = level
    assert np.isnan(metric(truth, forecast)[1])
    assert np.isfinite(metric(truth, forecast)[[0, 2, 3]]).all()


def test_a_constant_forecast_has_no_correlation():
    truth, forecast = sample()
    forecast[:, 1] = 0.3
    assert np.isnan(correlation(truth, forecast)[1])
    assert np.isnan(within_link_correlation(truth, forecast)[1])


def test_a_forecast_that_is_constant_on_most_links_follows_none_of_them():
    truth, forecast = sample(windows=1000, links=5)
    forecast[np.isin(truth.link, [0, 1]), 0] = 7.0
    assert within_link_links(truth, forecast)[0] == 3
    assert np.isfinite(within_link_correlation(truth, forecast)[0])
    forecast[truth.link == 2, 0] = 7.0
    assert np.isnan(within_link_correlation(truth, forecast)[0])


def test_links_where_nothing_ever_changes_do_not_count_against_a_forecast():
    truth, forecast = sample(windows=1000, links=5)
    idle = np.isin(truth.link, [0, 1, 2, 3])
    truth.values[idle, 0] = forecast[idle, 0] = 0.0
    assert within_link_links(truth, forecast)[0] == 1
    assert np.isfinite(within_link_correlation(truth, forecast)[0])


def test_a_link_with_too_few_windows_has_no_correlation_of_its_own():
    truth, forecast = sample(windows=MINIMUM_LINK_SAMPLES - 1, links=1)
    assert np.isnan(within_link_correlation(truth, forecast)).all()
    assert (within_link_links(truth, forecast) == 0).all()
    truth, forecast = sample(windows=MINIMUM_LINK_SAMPLES, links=1)
    assert np.isfinite(within_link_correlation(truth, forecast)).all()


def test_pooled_correlation_is_high_only_since_links_differ_and_within_links_it_shows():
    generator = np.random.default_rng(3)
    link = np.repeat(np.arange(20), 200)
    level = 10.0 ** (link / 5)
    actual, forecast = (
        np.repeat((level * generator.lognormal(0, 0.05, len(link)))[:, None], 4, axis=1) for _ in range(2)
    )
    truth = Truth(actual, link, FLOORS)
    assert (correlation(truth, forecast) > 0.98).all()
    assert (np.abs(within_link_correlation(truth, forecast)) < 0.1).all()


def test_samples_below_the_floor_do_not_count_towards_mape_and_their_share_is_told():
    actual = np.full((4, 4), 100.0)
    actual[:3, 0] = 0.09
    truth = Truth(actual, np.zeros(4, int), FLOORS)
    forecast = actual * 1.1
    forecast[:3, 0] = 50
    np.testing.assert_allclose(mape(truth, forecast), 10)
    np.testing.assert_allclose(mape_share_left_out(truth, forecast), [0.75, 0, 0, 0])


def test_a_target_always_below_its_floor_has_no_mape():
    truth, forecast = sample()
    truth.values[:, 3] = 0.009
    assert np.isnan(mape(truth, forecast)[3])
    assert mape_share_left_out(truth, forecast)[3] == 1


def test_skill_is_0_for_the_baseline_1_for_the_truth_and_below_0_for_worse():
    truth, baseline = sample()
    skill = skill_over(baseline)
    np.testing.assert_array_equal(skill(truth, baseline), 0)
    np.testing.assert_array_equal(skill(truth, truth.values), 1)
    twice_as_wrong = truth.values + 2 * (baseline.astype(float) - truth.values)
    np.testing.assert_allclose(skill(truth, twice_as_wrong), -1)


def test_there_is_no_skill_over_a_baseline_that_is_never_wrong():
    truth, forecast = sample()
    assert np.isnan(skill_over(truth.values)(truth, forecast)).all()
    assert np.isnan(skill_over(truth.values)(truth, truth.values)).all()


def test_values_may_be_float32_and_sums_still_keep_their_digits():
    actual = np.full((200_000, 1), 1e6, np.float32)
    truth = Truth(actual, np.zeros(len(actual), int), np.array([0.1]))
    np.testing.assert_allclose(mae(truth, actual + np.float32(0.0625)), 0.0625, rtol=1e-12)
    assert replace(truth, values=actual[:0]).values.shape == (0, 1)
