from dataclasses import replace

import numpy as np
import pytest
from frames import make_frame

from bwpredict.datasets.windows import index_windows
from bwpredict.evaluation.baselines import BASELINES, baseline_forecasts


def test_each_baseline_agrees_with_its_definition_window_by_window(gappy_index):
    forecasts = baseline_forecasts(gappy_index)
    frame = gappy_index.frame
    assert tuple(forecasts) == BASELINES
    for window in range(0, len(gappy_index), 97):
        inputs = gappy_index.inputs(slice(window, window + 1))[0, :, :4].astype(np.float64)
        np.testing.assert_array_equal(forecasts["last_value"][window], inputs[-1])
        np.testing.assert_allclose(forecasts["mean_15_minutes"][window], inputs[-15:].mean(axis=0), rtol=1e-6)
        np.testing.assert_allclose(forecasts["median_15_minutes"][window], np.median(inputs[-15:], axis=0), rtol=1e-6)
        row = gappy_index.target_rows[window]
        before = np.flatnonzero(
            (frame.link == frame.link[row]) & (frame.timestamps == frame.timestamps[row] - 24 * 3600)
        )
        expected = frame.values[before[0], :4] if len(before) else np.full(4, np.nan)
        np.testing.assert_array_equal(forecasts["same_minute_yesterday"][window], expected)


def test_a_baseline_sees_nothing_after_the_last_sample_of_its_window(index):
    frame = index.frame
    one = index.take(slice(1500, 1501))
    before = baseline_forecasts(one)
    frame_later = make_frame([[0]])
    changed = frame.values.copy()
    changed[one.starts[0] + index.window_size :] = -1
    later = type(frame_later)(changed, frame.timestamps, frame.link, frame.links)
    after = baseline_forecasts(replace(one, frame=later))
    for name in BASELINES:
        np.testing.assert_array_equal(after[name], before[name])


def test_the_batch_size_changes_nothing(gappy_index):
    whole, pieces = baseline_forecasts(gappy_index), baseline_forecasts(gappy_index, batch_windows=333)
    for name in BASELINES:
        np.testing.assert_array_equal(pieces[name], whole[name])


def test_yesterday_is_missing_on_the_first_day_in_a_gap_and_on_a_short_link(gappy_index):
    frame, rows = gappy_index.frame, gappy_index.target_rows
    missing = np.isnan(baseline_forecasts(gappy_index)["same_minute_yesterday"]).any(axis=1)
    minutes = (frame.timestamps[rows] - frame.timestamps[0]) // 60
    in_gap = (frame.link[rows] == 0) & (minutes >= 1440 + 300) & (minutes < 1440 + 340)
    np.testing.assert_array_equal(missing, (minutes < 1440) | in_gap)


def test_yesterday_with_a_missing_value_counts_as_missing_whole():
    frame = make_frame([list(range(1600))])
    frame.values[100, 1] = np.nan
    index = index_windows(frame, 20, 15)
    target = np.flatnonzero(index.target_rows == 1540)[0]
    assert np.isnan(baseline_forecasts(index)["same_minute_yesterday"][target]).all()


def test_averages_reach_back_a_quarter_of_an_hour_at_any_cadence_and_at_most_the_window():
    slow = index_windows(make_frame([list(range(60))], cadence_seconds=240), 20, 15)
    recent = slow.inputs()[:, -4:, :4]
    np.testing.assert_allclose(baseline_forecasts(slow)["mean_15_minutes"], recent.mean(axis=1), rtol=1e-6)
    short = index_windows(make_frame([list(range(60))]), 5, 15)
    np.testing.assert_allclose(
        baseline_forecasts(short)["median_15_minutes"], np.median(short.inputs()[..., :4], axis=1), rtol=1e-6
    )


def test_a_sample_taken_a_little_early_or_late_is_still_yesterdays():
    frame = make_frame([list(range(1600))])
    jitter = np.random.default_rng(0).integers(-7, 8, frame.rows)
    frame.timestamps[:] += jitter
    index = index_windows(frame, 20, 15)
    yesterday = baseline_forecasts(index)["same_minute_yesterday"]
    rows = index.target_rows
    late = rows >= 1441
    np.testing.assert_array_equal(yesterday[late], frame.values[rows[late] - 1440, :4])


@pytest.mark.parametrize("name", BASELINES)
def test_no_windows_give_no_forecasts(index, name):
    assert baseline_forecasts(index.take(slice(0)))[name].shape == (0, 4)
