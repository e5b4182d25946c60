"""Probabilities and anomaly scores from quantiles, against distributions that are known."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bwpredict.exporter.distribution import anomaly_score, exceedance

LEVELS = (0.05, 0.5, 0.95)
FLOOR = 0.1


def lognormal(levels, mean=3.0, spread=0.4):
    return np.array([math.exp(NormalDist(mean, spread).inv_cdf(level)) - FLOOR for level in levels])


@pytest.mark.parametrize("levels", [LEVELS, (0.01, 0.1, 0.5, 0.9, 0.99), (0.25, 0.75)])
@pytest.mark.parametrize("threshold", [5.0, 15.0, 20.0, 26.0, 60.0])
def test_a_lognormal_is_met_between_and_beyond_its_quantiles(levels, threshold):
    expected = 1 - NormalDist(3.0, 0.4).cdf(math.log(threshold + FLOOR))
    assert exceedance(lognormal(levels), levels, threshold, FLOOR) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("quantile", "level"), list(zip((8.0, 20.0, 90.0), LEVELS, strict=True)))
def test_a_threshold_at_a_quantile_has_the_quantile_s_probability(quantile, level):
    assert exceedance(np.array([8.0, 20.0, 90.0]), LEVELS, quantile, FLOOR) == pytest.approx(1 - level, abs=1e-6)


@given(
    st.lists(st.floats(0, 1e5, width=32), min_size=3, max_size=3).map(sorted),
    st.lists(st.floats(0, 1e5), min_size=2, max_size=2).map(sorted),
)
def test_a_higher_threshold_is_never_more_likely(quantiles, thresholds):
    low, high = (exceedance(np.array(quantiles), LEVELS, each, FLOOR) for each in thresholds)
    assert 0 <= high <= low <= 1


def test_quantiles_that_fall_together_are_a_step():
    quantiles = np.array([0.0, 0.0, 0.0])
    assert exceedance(quantiles, LEVELS, 0.01, 1e-5) == pytest.approx(0, abs=1e-12)
    assert exceedance(np.array([1.0, 1.0, 1.0]), LEVELS, 0.5, 1e-5) == pytest.approx(1)


def test_many_links_are_many_answers():
    quantiles = np.array([[1, 2, 3], [10, 20, 30]])
    found = exceedance(quantiles, LEVELS, 2, FLOOR)
    assert found.shape == (2,)
    assert found[0] == pytest.approx(0.5)
    assert found[1] > 0.999


@pytest.mark.parametrize(("actual", "score"), [(20, 0), (30, 1), (10, -2), (15, -1), (40, 2)])
def test_the_score_counts_in_distances_to_the_bounds(actual, score):
    lower, median, upper, floor = (np.array(each, float) for each in (15, 20, 30, 0.1))
    assert anomaly_score(np.array(float(actual)), lower, median, upper, floor) == score


def test_an_interval_without_width_gives_a_finite_score():
    zero = np.zeros(1)
    assert anomaly_score(np.array([2e-5]), zero, zero, zero, np.array([1e-5])) == pytest.approx(2)
    assert np.isnan(anomaly_score(np.array([np.nan]), zero, zero, zero, np.array([1e-5])))
