"""How intervals are calibrated: what they promise on exchangeable data, and what they never look at."""

from dataclasses import replace

import numpy as np
import pytest
from frames import make_frame
from hypothesis import given
from hypothesis import strategies as st

from bwpredict.config import SplitConfig, TrainingConfig
from bwpredict.datasets.windows import index_windows, split_windows
from bwpredict.models.checkpoint import load_checkpoint, save_checkpoint
from bwpredict.models.network import MODES, predict_all
from bwpredict.training.intervals import calibrate, conformal_quantile, describe, min_calibration_size, why_none
from bwpredict.training.trainer import new_model
from bwpredict.training.validation import observations, served

CALM, WILD = 0, 1
NOISE = {CALM: 0.01, WILD: 0.3}
"""Standard deviation of the noise of each link, in log space."""


def noisy_frame(days=8, seed=0):
    """Two links of one level, the second with thirty times the noise; samples are independent of each other."""
    frame = make_frame([list(range(1440 * days))] * 2)
    generator = np.random.default_rng(seed)
    noise = np.array([NOISE[link] for link in (CALM, WILD)])[frame.link]
    values = frame.values.copy()
    values[:, :4] = np.array([100.0, 20.0, 0.01, 2.0]) * np.exp(noise[:, None] * generator.normal(size=(frame.rows, 4)))
    return replace(frame, values=values)


def split_of(frame, **changes):
    return split_windows(index_windows(frame, 20, 15), SplitConfig(**changes))


@pytest.fixture(scope="module")
def split():
    return split_of(noisy_frame())


@pytest.fixture(scope="module")
def model(split):
    """Untrained: it forecasts the mean of the last minutes."""
    model = new_model(split["train"], TrainingConfig(), frozenset()).eval()
    assert calibrate(model, split)
    return model


@pytest.mark.parametrize("level", [0.5, 0.8, 0.9, 0.99])
def test_scores_exchangeable_with_the_calibration_are_held_as_often_as_the_level_says(level):
    generator = np.random.default_rng(3)
    calibration, later = (np.exp(generator.normal(size=(count, 4))) for count in (4000, 40_000))
    share = (later <= conformal_quantile(calibration, level)).mean(axis=0)
    wanted = 1 - (1 - level) / 2
    assert (np.abs(share - wanted) < 5 * np.sqrt(wanted * (1 - wanted) * (1 / 4000 + 1 / 40_000))).all()


@pytest.mark.parametrize("count", [19, 20, 39, 60])
def test_even_few_scores_hold_no_less_than_the_level_on_average(count):
    generator = np.random.default_rng(count)
    scores, later = generator.normal(size=(count, 4000)), generator.normal(size=(50, 4000))
    of_each = (later <= conformal_quantile(scores, 0.9)).mean(axis=0)
    assert of_each.mean() > 0.95 - 4 * of_each.std() / np.sqrt(4000)


@given(st.integers(1, 400))
def test_too_few_scores_leave_the_networks_own_width(count):
    scores = np.arange(2.0, count + 2)[:, None]
    assert (conformal_quantile(scores, 0.9)[0] == 1.0) == (count < min_calibration_size(0.9))


def test_scores_that_are_missing_do_not_count():
    scores = np.concatenate((np.arange(19.0), np.full(50, np.nan)))[:, None]
    assert conformal_quantile(scores, 0.9)[0] == 18


@pytest.mark.parametrize("mode", range(len(MODES)), ids=MODES)
def test_a_quiet_and_a_noisy_link_are_both_covered_on_later_days_at_every_horizon(model, split, mode):
    held, links = [], []
    for seen in observations(model, split["test"], 8000, (mode,)):
        bounds = served(model, seen)[:, 0].numpy()
        actual = seen.actual[:, 0].numpy()
        inside = (bounds[:, :, 0] <= actual) & (actual <= bounds[:, :, 2])
        held.append(np.where(np.isfinite(actual), inside, np.nan))
        links.append(seen.link)
    held, links = np.concatenate(held), np.concatenate(links)
    assert np.abs(np.nanmean(held, axis=0) - 0.9).max() < 0.03
    for which in (CALM, WILD):
        # Untrained, and from one window, the fleet's usual deviation still weighs half of a width.
        allowed = 0.13 if mode == MODES.index("cold") else 0.09
        assert np.abs(np.nanmean(held[links == which], axis=0) - 0.9).max() < allowed


def test_the_interval_is_narrower_where_errors_are_smaller(model, split):
    test = split["test"].spread(2000)
    found = predict_all(model, test.inputs())
    width = np.log(found["upper"] / found["lower"])
    link = test.frame.link[test.starts]
    assert (width[link == CALM].mean(axis=0) * 2 < width[link == WILD].mean(axis=0)).all()


def test_the_test_part_is_never_looked_at(split):
    expected = new_model(split["train"], TrainingConfig(), frozenset()).eval()
    calibrate(expected, split)
    frame = split["test"].frame
    values = frame.values.copy()
    values[frame.timestamps >= split.boundaries["test"][0]] = 1e6
    poisoned = split_of(replace(frame, values=values))
    found = new_model(poisoned["train"], TrainingConfig(), frozenset()).eval()
    calibrate(found, poisoned)
    np.testing.assert_array_equal(found.interval_factor, expected.interval_factor)


def test_without_enough_calibration_there_are_no_intervals_and_a_sentence_says_why(split):
    short = split_of(make_frame([list(range(900))]))
    model = new_model(short["train"], TrainingConfig(), frozenset()).eval()
    assert not calibrate(model, short)
    assert "too small for 90% intervals" in describe(model, short)["reason"]
    assert "no calibration part" in why_none(split_of(noisy_frame(), calibration=0.0))
    assert why_none(split) is None


def test_the_interval_of_an_absent_target_is_all_that_is_possible(split):
    model = new_model(split["train"], TrainingConfig(), frozenset()).eval()
    calibrate(model, split, absent=frozenset({"packet_loss"}))
    found = predict_all(model, split["test"].spread(5).inputs())
    assert (found["lower"][:, 2] == 0).all()
    assert (found["upper"][:, 2] == 1).all()
    assert describe(model, split)["factors"]["lower"]["packet_loss"] == [None, None]


def test_a_checkpoint_carries_the_intervals(model, split, tmp_path):
    save_checkpoint(model, tmp_path / "best_model.pth", {})
    again = load_checkpoint(tmp_path / "best_model.pth")
    inputs = split["test"].spread(20).inputs()
    for name, values in predict_all(model, inputs).items():
        np.testing.assert_array_equal(predict_all(again, inputs)[name], values)
    assert describe(again, split) == describe(model, split)
