"""Intervals that follow each link, on links whose errors are known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bwpredict.serving.adaptive_intervals import AdaptiveIntervals

LEVEL = np.array([400.0, 30.0, 0.01, 2.0], np.float32)
MINUTES = 4 * 1440
HORIZON = 15


def follow(intervals, noise, *, half_width=0.1, seed=0, clock=lambda minute: 60 * minute):
    """[minutes, links, targets], whether each value lay in its interval; links err with a deviation of `noise`."""
    rng, rows = np.random.default_rng(seed), np.arange(len(noise))
    intervals.grow(len(noise))
    held, due = [], {}
    for minute in range(1, MINUTES):
        at = clock(minute)
        error = rng.normal(size=(len(noise), 4)) * np.asarray(noise)[:, None]
        actual = (LEVEL * np.exp(error)).astype(np.float32)
        if minute in due:
            lower, upper = due.pop(minute)
            held.append((lower <= actual) & (actual <= upper))
        intervals.learn(rows, at, actual)
        output = np.broadcast_to(LEVEL, actual.shape)
        bounds = intervals.widen(rows, output, output * np.exp(-half_width), output * np.exp(half_width))
        intervals.remember(rows, at, *bounds)
        due[minute + HORIZON] = bounds
    return np.stack(held)


def test_after_two_days_every_link_holds_its_share_whatever_it_was_calibrated_for():
    held = follow(AdaptiveIntervals(60, 900), [0.02, 0.06, 0.2, 0.5])
    before, after = held[:HORIZON].mean(axis=0), held[2880:].mean(axis=0)
    assert (before[3] < 0.4).all()
    # Loss is clipped where nothing can be below.
    assert after.min() > 0.88
    assert after[1:, [0, 1, 3]].max() < 0.92


def test_a_link_whose_width_is_far_off_holds_its_share_within_the_first_two_days():
    """Deviations of 0.02 to 0.5 where a half-width of 0.1 was calibrated."""
    held = follow(AdaptiveIntervals(60, 900), [0.02, 0.06, 0.2, 0.5])[:2880].mean(axis=0)[:, [0, 1, 3]]
    assert held.min() > 0.88
    assert held.max() < 0.92


def test_samples_that_do_not_come_to_the_second_teach_as_much():
    rng = np.random.default_rng(1)
    late = rng.integers(0, 30, MINUTES)
    held = follow(AdaptiveIntervals(60, 900), [0.02, 0.5], clock=lambda minute: 60 * minute + int(late[minute]))
    after = held[2880:].mean(axis=0)[:, [0, 1, 3]]
    assert after.min() > 0.88
    assert after.max() < 0.92


@pytest.mark.parametrize(("cadence", "horizon"), [(5, 900), (60, 3600), (240, 960), (300, 300)])
def test_an_interval_waits_for_its_moment_at_any_cadence(cadence, horizon):
    intervals, rows = AdaptiveIntervals(cadence, horizon), np.array([0])
    intervals.grow(1)
    for at in range(cadence, 3 * horizon, cadence):
        intervals.learn(rows, at, LEVEL[None] * 2)
        intervals.remember(rows, at, LEVEL[None] * np.float32(0.9), LEVEL[None] * np.float32(1.1))
    assert (intervals.learnt == (3 * horizon - 1) // cadence - horizon // cadence).all()


def test_a_value_that_is_missing_teaches_nothing():
    intervals, rows = AdaptiveIntervals(60, 900), np.array([0])
    intervals.grow(1)
    intervals.remember(rows, 60, LEVEL[None] * 0.9, LEVEL[None] * 1.1)
    intervals.learn(rows, 960, np.full((1, 4), np.nan, np.float32))
    assert (intervals.log_factor == 0).all()


@given(st.floats(-3, 3), st.floats(0, 1), st.floats(0, 1))
def test_bounds_stay_around_the_median_and_within_what_is_possible(factor, below, above):
    intervals, rows = AdaptiveIntervals(60, 900), np.array([0])
    intervals.grow(1)
    intervals.log_factor[:] = factor
    lower, upper = intervals.widen(
        rows, LEVEL[None], LEVEL[None] * np.float32(below), LEVEL[None] * np.float32(1 + above)
    )
    assert (lower >= 0).all()
    assert (lower <= LEVEL).all()
    assert (upper >= LEVEL).all()
    assert upper[0, 2] <= 1


@pytest.mark.parametrize("links", [1, 7])
def test_what_was_kept_goes_on_elsewhere(links):
    one, other = AdaptiveIntervals(60, 900), AdaptiveIntervals(60, 900)
    one.grow(links)
    rows = np.arange(links)
    level = np.broadcast_to(LEVEL, (links, 4))
    one.remember(rows, 60, level * np.float32(0.99), level * np.float32(1.01))
    other.restore({name: values.copy() for name, values in one.arrays().items()})
    for each in (one, other):
        each.learn(rows, 960, level * np.float32(2))
    np.testing.assert_array_equal(one.log_factor, other.log_factor)
    assert (one.log_factor > 0).all()
