"""The intervals of two models, by Winkler's score, on worlds whose truth is known."""

from dataclasses import replace

import numpy as np
import pytest
from bench_gate import forecasts_with, world

from bwpredict import schema
from bwpredict.evaluation import winkler
from bwpredict.evaluation.comparison import compare
from bwpredict.evaluation.winkler import interval_difference, winkler_score
from bwpredict.inference.onnx_model import Bounds

LEVEL = 0.9


def forecasts(links=6, days=7):
    """What came true is 0, so that an error is also the distance from the truth."""
    return forecasts_with(*world(np.random.default_rng(4), links, days, 0.25))


def bounds_of(values, half_width, level=LEVEL):
    return Bounds((values - half_width).astype(np.float32), (values + half_width).astype(np.float32), level)


def test_the_score_is_the_width_and_twenty_times_the_distance_of_a_miss():
    lower, upper = np.array([1.0, 1.0, 1.0, 2.0]), np.array([3.0, 3.0, 3.0, 2.0])
    assert winkler_score(lower, upper, np.array([2.0, 0.5, 4.0, 2.0]), 0.9) == pytest.approx([2, 12, 22, 0])
    assert np.isnan(winkler_score(np.array([np.nan]), np.array([1.0]), np.array([0.5]), 0.9)).all()


def test_honest_intervals_have_the_smallest_mean_score():
    drawn = np.random.default_rng(1).normal(size=100_000)
    scores = {half: winkler_score(-half, half, drawn, 0.9).mean() for half in (1.0, 1.645, 2.5)}
    assert min(scores, key=scores.get) == 1.645


def test_the_same_intervals_differ_by_nothing():
    given = forecasts()
    same = bounds_of(given.models["champion"], 1.0)
    found = interval_difference(given, same, same)
    assert (found["level"], found["champion_level"], found["days"]["count"]) == (LEVEL, LEVEL, 7)
    assert all(figures == {"percent": 0, "low": 0, "high": 0} for figures in found["per_target"].values())


def test_intervals_are_compared_link_by_link_in_units_of_the_champions_score():
    given = forecasts()
    champion = bounds_of(given.models["champion"], 1.0)
    challenger = bounds_of(given.models["challenger"], 1.3)
    found = interval_difference(given, challenger, champion)["per_target"]
    own, theirs = (
        winkler_score(one.lower.astype(float), one.upper.astype(float), 0.0, LEVEL).reshape(6, -1, 4).mean(axis=1)
        for one in (challenger, champion)
    )
    for place, target in enumerate(schema.TARGETS):
        expected = 100 * (own / theirs - 1)[:, place].mean()
        assert found[target]["percent"] == pytest.approx(expected, rel=1e-4)
        assert found[target]["low"] < expected < found[target]["high"]


def test_a_large_test_part_is_scored_in_parts_with_the_same_result(monkeypatch):
    given = forecasts()
    pair = bounds_of(given.models["challenger"], 1.3), bounds_of(given.models["champion"], 1.0)
    whole = interval_difference(given, *pair)
    monkeypatch.setattr(winkler, "CHUNK_WINDOWS", 101)
    for target, figures in interval_difference(given, *pair)["per_target"].items():
        assert figures == pytest.approx(whole["per_target"][target])


@pytest.mark.parametrize("missing", [0, 1])
def test_a_model_without_intervals_has_no_score(missing):
    given = forecasts()
    pair = [bounds_of(given.models["champion"], 1.0), bounds_of(given.models["champion"], 1.0)]
    pair[missing] = None
    found = interval_difference(given, *pair)
    assert (found["level"] is None, found["champion_level"] is None) == (missing == 0, missing == 1)
    assert set(found["per_target"].values()) == {None}


def test_bounds_that_are_not_finite_have_no_figure():
    given = forecasts()
    broken = bounds_of(given.models["challenger"], 1.0)
    broken.lower[5, 1] = np.nan
    found = interval_difference(given, broken, bounds_of(given.models["champion"], 1.0))["per_target"]
    assert found["rtt_ms"] == {"percent": None, "low": None, "high": None}
    assert found["throughput_mbps"]["high"] is not None


def test_narrower_intervals_of_a_lower_level_are_scored_at_the_champions():
    given = forecasts()
    champion = bounds_of(given.models["champion"], 1.0)
    found = [
        interval_difference(given, bounds_of(given.models["challenger"], 0.3, level), champion) for level in (0.5, 0.9)
    ]
    assert found[0]["per_target"] == found[1]["per_target"]


def test_both_models_errors_on_their_worst_tenth_of_links_stand_in_the_comparison():
    given = forecasts(links=20)
    baselines = ("last_value", "mean_15_minutes", "median_15_minutes", "same_minute_yesterday")
    more = dict.fromkeys(baselines, given.models["champion"])
    found = compare(
        replace(given, models={**given.models, **more}), challenger_version="b", challenger_sha256="b" * 64,
        champion_version="a", champion_sha256="a" * 64,
    )  # fmt: skip
    tenths = found["difference"]["links"]["tenths"]
    for place, target in enumerate(schema.TARGETS):
        for model in ("challenger", "champion"):
            of_links = np.abs(given.models[model].reshape(20, -1, 4)[..., place]).mean(axis=1)
            assert tenths[target][f"{model}_mae"] == pytest.approx(np.sort(of_links)[-2:].mean(), rel=1e-4)
