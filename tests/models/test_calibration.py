"""How intervals are calibrated: what they promise on exchangeable data, and what they never look at."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from frames import make_frame
from hypothesis import given
from hypothesis import strategies as st

from bwpredict.config import SplitConfig
from bwpredict.datasets.windows import index_windows, split_windows
from bwpredict.models.intervals import Served, calibrate, conformal_quantiles, describe, fewest_scores, why_none
from bwpredict.models.network import Contract, Forecaster

CALM, WILD = 0, 1
NOISE = {CALM: 0.01, WILD: 0.3}
"""Standard deviation of the noise of each link, in log space."""


def noisy_frame(days=8, seed=0):
    """Two links of one level, the second with thirty times the noise; samples are independent of each other."""
    frame = make_frame([list(range(1440 * days))] * 2)
    generator = np.random.default_rng(seed)
    noise = np.array([NOISE[link] for link in (CALM, WILD)])[frame.link]
    values = frame.values.copy()
    levels = np.array([100.0, 20.0, 0.01, 2.0])
    values[:, :4] = levels * np.exp(noise[:, None] * generator.normal(size=(frame.rows, 4)))
    return replace(frame, values=values)


def split_of(frame, **changes):
    return split_windows(index_windows(frame, 20, 15), SplitConfig(**changes))


@pytest.fixture(scope="module")
def split():
    return split_of(noisy_frame())


def fitted_on(split):
    model = Forecaster(Contract(), "dense")  # untrained, it is a simple baseline
    sample = split["train"].spread(2000)
    model.fit_transforms(torch.from_numpy(sample.inputs()), torch.from_numpy(sample.targets()))
    return model.eval()


@pytest.fixture(scope="module")
def model(split):
    return fitted_on(split)


@pytest.fixture(scope="module")
def intervals(model, split):
    return calibrate(model, split)


def held(served, index):
    """[windows, targets], whether the interval holds what came true."""
    bounds, actual = served.predict(index.inputs()), index.targets()
    return (bounds["lower"] <= actual) & (actual <= bounds["upper"])


@pytest.mark.parametrize("level", [0.5, 0.8, 0.9, 0.99])
def test_scores_exchangeable_with_the_calibration_are_held_as_often_as_the_level_says(level):
    generator = np.random.default_rng(3)
    calibration, later = (np.exp(generator.normal(size=(count, 4))) for count in (4000, 40_000))
    lower, upper = conformal_quantiles(calibration, level)
    coverage = ((lower <= later) & (later <= upper)).mean(axis=0)
    deviation = np.sqrt(level * (1 - level) * (1 / 4000 + 1 / 40_000))
    assert (np.abs(coverage - level) < 5 * deviation).all()


@pytest.mark.parametrize("count", [19, 20, 39, 60])
def test_even_few_scores_hold_no_less_than_the_level_on_average(count):
    generator = np.random.default_rng(count)
    repeats = 4000
    scores = generator.normal(size=(count, repeats))
    later = generator.normal(size=(50, repeats))
    lower, upper = conformal_quantiles(scores, 0.9)
    of_each = ((lower <= later) & (later <= upper)).mean(axis=0)
    assert of_each.mean() > 0.9 - 4 * of_each.std() / np.sqrt(repeats)


@given(st.integers(1, 400), st.floats(0.5, 0.99))
def test_too_few_scores_give_no_quantile_and_enough_always_do(count, level):
    scores = np.arange(count, dtype=float)[:, None]
    if count < fewest_scores(level):
        with pytest.raises(ValueError, match="too few"):
            conformal_quantiles(scores, level)
    else:
        lower, upper = conformal_quantiles(scores, level)
        assert 0 <= lower[0] <= upper[0] <= count - 1
        assert lower[0] == count - 1 - upper[0]


def test_nineteen_scores_are_the_fewest_for_ninety_percent():
    assert fewest_scores(0.9) == 19
    lower, upper = conformal_quantiles(np.arange(19.0)[:, None], 0.9)
    assert (lower[0], upper[0]) == (0, 18)


def test_a_quiet_and_a_noisy_link_are_both_covered_where_one_width_for_all_fails_both(model, intervals, split):
    test = split["test"].spread(8000)
    scaled = held(Served(model, intervals), test)
    calibration = split["calibration"].spread(8000)
    errors = [
        np.log(part.targets() / Served(model).predict(part.inputs())["output"]).astype(float)
        for part in (calibration, test)
    ]
    lower, upper = conformal_quantiles(errors[0], 0.9)
    unscaled = (lower <= errors[1]) & (errors[1] <= upper)
    link = test.frame.link[test.starts]
    for coverage in (scaled, unscaled):
        assert np.abs(coverage.mean(axis=0) - 0.9).max() < 0.02
    for which in (CALM, WILD):
        assert np.abs(scaled[link == which].mean(axis=0) - 0.9).max() < 0.03
        assert np.abs(unscaled[link == which].mean(axis=0) - 0.9).min() > 0.08


def test_the_interval_is_narrower_where_errors_are_smaller(model, intervals, split):
    test = split["test"].spread(2000)
    found = Served(model, intervals).predict(test.inputs())
    width = found["upper"] - found["lower"]
    link = test.frame.link[test.starts]
    assert (10 * np.median(width[link == CALM], axis=0) < np.median(width[link == WILD], axis=0)).all()


def state_after(change, split, model, part):
    """The intervals of the same model when the samples of one part are others."""
    frame = split["train"].frame
    first, last = (split[part].starts.min(), split[part].target_rows.max())
    begin, end = frame.timestamps[first], frame.timestamps[last]
    rows = (frame.timestamps >= begin) & (frame.timestamps <= end)
    values = frame.values.copy()
    values[rows, :4] = change(values[rows, :4])
    return calibrate(model, split_of(replace(frame, values=values))).state_dict()


@pytest.mark.parametrize("part", ["train", "test"])
def test_intervals_never_see_the_training_or_the_test_part(split, model, intervals, part):
    changed = state_after(lambda values: values * 1000, split, model, part)
    for name, value in intervals.state_dict().items():
        assert torch.equal(value, changed[name]), name


def test_the_scale_comes_from_the_validation_part_alone_and_the_quantiles_need_the_calibration_part(
    split, model, intervals
):
    def more_noise(values):
        return values * np.random.default_rng(1).lognormal(0, 1, values.shape).astype(np.float32)

    of_calibration = state_after(more_noise, split, model, "calibration")
    of_validation = state_after(more_noise, split, model, "validation")
    for name, value in intervals.state_dict().items():
        assert torch.equal(value, of_calibration[name]) != name.endswith("_quantile"), name
    assert not torch.equal(intervals.coefficients, of_validation["coefficients"])


def test_the_same_split_gives_the_same_intervals_bit_for_bit(split, model, intervals):
    again = calibrate(model, split).state_dict()
    assert all(torch.equal(value, again[name]) for name, value in intervals.state_dict().items())


def test_without_a_calibration_part_there_are_no_intervals_and_the_reason_is_told(model, split):
    none = split_of(split["train"].frame, calibration=0)
    assert calibrate(model, none) is None
    assert describe(None, none) == {"made": False, "reason": why_none(none)}
    assert "no calibration part" in why_none(none)


def test_a_calibration_part_of_too_few_windows_that_do_not_overlap_makes_none(model, split):
    few = replace(split, parts=split.parts | {"calibration": split["calibration"].take(slice(19 * 35 - 1))})
    assert calibrate(model, few) is None
    assert "about 18 do not overlap; expected 19" in why_none(few)
    enough = replace(split, parts=split.parts | {"calibration": split["calibration"].take(slice(19 * 35))})
    assert why_none(enough) is None
    assert calibrate(model, enough).calibration_windows == 19 * 35


def test_of_a_target_that_was_never_measured_the_interval_is_all_that_is_possible(model, split):
    intervals = calibrate(model, split, absent=frozenset({"packet_loss", "jitter_ms"}))
    found = Served(model, intervals).predict(split["test"].spread(100).inputs())
    assert (found["lower"][:, 2:] == 0).all()
    assert (found["upper"][:, 2] == 1).all()
    assert (found["upper"][:, 3] > 1e12).all()
    assert np.isfinite(found["upper"]).all()
    quantiles = intervals.document()["quantiles"]
    assert (quantiles["lower"]["packet_loss"], quantiles["upper"]["jitter_ms"]) == (None, None)
    assert quantiles["upper"]["rtt_ms"] > 0


def test_a_target_that_hardly_ever_moves_makes_no_boundless_interval_elsewhere(split):
    """Loss is 0 on the quiet link but for rare spikes: the noisy link's interval stays one that tells something."""
    frame = split["train"].frame
    values = frame.values.copy()
    quiet = np.flatnonzero(frame.link == CALM)
    values[quiet, 2] = np.where(np.random.default_rng(0).random(len(quiet)) < 0.02, 0.01, 0)
    idle = split_of(replace(frame, values=values))
    model = fitted_on(idle)
    found = Served(model, calibrate(model, idle)).predict(idle["test"].spread(4000).inputs())
    noisy = idle["test"].frame.link[idle["test"].spread(4000).starts] == WILD
    assert np.median(found["upper"][noisy, 2]) < 0.1
