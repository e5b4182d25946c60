"""Every rival is trained for real: it must learn, and answer within physical bounds."""

import numpy as np
import pytest
from accuracy import features, tabular, zero_shot
from accuracy.data import TEST
from accuracy.library import fit_linear_of_a_day, fit_lstm_of_a_day, fit_nhits, fit_nhits_of_a_day
from accuracy.networks import fit_guide, fit_log_lstm, fit_lstm
from accuracy.simple import fit_profile
from accuracy.tabular import fit_lightgbm, fit_ridge
from accuracy.task import Budget, Task, absolute_errors, choose
from accuracy.zero_shot import fit_fracast
from frames import whole_days

from bwpredict.datasets.windows import Split, index_windows
from bwpredict.evaluation.baselines import baseline_forecasts

BUDGET = Budget(windows=600, epochs=3, validation_windows=200)


@pytest.fixture(autouse=True)
def few_trees(monkeypatch):
    monkeypatch.setattr(tabular, "ROUNDS", 40)
    monkeypatch.setattr(tabular, "WINDOWS_TO_TUNE", 700)
    monkeypatch.setattr(zero_shot, "WINDOWS_TO_TUNE", 20)
    monkeypatch.setattr(zero_shot, "CONTEXTS", (20,))


OF_A_DAY = [fit_nhits_of_a_day, fit_lstm_of_a_day, fit_linear_of_a_day]


@pytest.mark.parametrize(
    "fit",
    [fit_ridge, fit_lightgbm, fit_lstm, fit_log_lstm, fit_guide, fit_nhits, fit_profile, fit_fracast, *OF_A_DAY],
)
def test_a_rival_forecasts_better_than_the_mean_of_all_links(dataset, fit):
    fitted = fit(Task(dataset.split, BUDGET, seed=1))
    index = dataset.tests[TEST]
    forecasts = fitted.forecast(index)
    assert forecasts.shape == (len(index), 4)
    assert forecasts.dtype == np.float32
    assert (forecasts >= 0).all()
    assert (forecasts[:, 2] <= 1).all()
    assert fitted.parameters > 0
    throughput = index.targets()[:, 0]
    mean = dataset.split["train"].targets()[:, 0].mean()
    assert absolute_errors(index, forecasts)[:, 0].mean() < np.abs(throughput - mean).mean()


@pytest.mark.parametrize("fit", [fit_ridge, fit_lstm, fit_log_lstm, fit_nhits, fit_lightgbm, fit_linear_of_a_day])
def test_a_rival_forecasts_what_the_telemetry_has_and_nothing_else(fit):
    frame = whole_days(1)
    frame.values[:, 3] = 0
    index = index_windows(
        type(frame)(frame.values, frame.timestamps, frame.link, frame.links, 60, filled={"jitter_ms": 0.0}), 20, 15
    )
    parts = {"train": index.take(slice(0, 800)), "validation": index.take(slice(1000, 1200))}
    task = Task(Split(parts, {}, 0, whole_days=False, by="link"), Budget(300, 1, 100), seed=1)
    assert task.measured == [0, 1, 2]
    forecasts = fit(task).forecast(parts["validation"])
    assert np.isfinite(forecasts).all()


def test_the_past_of_a_window_keeps_the_last_value_in_a_gap_and_never_another_link():
    index = index_windows(whole_days(1, links=2), 20, 15)
    frame = index.frame
    kept = ~((frame.timestamps == frame.timestamps[100]) & (frame.link == 1))
    gappy = type(frame)(frame.values[kept], frame.timestamps[kept], frame.link[kept], frame.links, 60)
    index = index_windows(gappy, 20, 15)
    last = index.starts + index.window_size - 1
    (window,) = np.flatnonzero((gappy.link[last] == 1) & (gappy.timestamps[last] == frame.timestamps[130]))
    past = features.past_logs(index, np.array([window]), 200)[0]
    logs = features.target_logs(frame.values[frame.link == 1])
    expected = np.concatenate((np.repeat(logs[:1], 69, axis=0), logs[:131]))
    expected[69 + 100] = logs[99]
    np.testing.assert_array_equal(past, expected)


def test_a_profile_is_the_median_of_the_link_at_that_time():
    index = index_windows(whole_days(2), 20, 15)
    parts = {"train": index, "validation": index}
    fitted = fit_profile(Task(Split(parts, {}, 0, whole_days=False, by="link"), Budget(), seed=1))
    rows, targets = index.target_rows, index.targets()
    link, time = index.frame.link[rows], index.frame.timestamps[rows]
    made = fitted.forecast(index)
    for season in (time // 3600 % 168, time // 900 % 96):
        alike = (link == link[100]) & (season == season[100])
        if np.allclose(made[100], np.median(targets[alike], axis=0)):
            return
    pytest.fail("neither the median by hour of the week nor by quarter of the day")


def test_each_target_gets_the_candidate_that_is_best_on_validation(dataset):
    task = Task(dataset.split, BUDGET, seed=1)

    def perfect_on(places):
        def forecast(index):
            made = 2 * baseline_forecasts(index)["last_value"] + 1
            made[:, places] = index.targets()[:, places]
            return made

        return forecast

    chosen, forecast = choose(task, {"first": perfect_on([0, 2]), "second": perfect_on([1, 3])})
    assert chosen == ["first", "second", "first", "second"]
    np.testing.assert_array_equal(forecast(task.validation), task.validation.targets())
