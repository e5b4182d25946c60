"""The difference from the champion, on pairs of models whose true difference is known."""

import json
from dataclasses import replace

import numpy as np
import pytest
from bench_gate import forecasts_with, world
from daily_checks import equal_models_called_different
from scipy import stats

from bwpredict import schema
from bwpredict.evaluation.diebold_mariano import diebold_mariano
from bwpredict.evaluation.paired_difference import differences, reweighted
from bwpredict.evaluation.student import FEWEST_DAYS

LINKS, DAYS = 6, 7


def difference_of(champion, challenger, **more):
    return differences(forecasts_with(champion, challenger), **more)


def pair(seed=0, links=LINKS, days=DAYS, common=0.25):
    return world(np.random.default_rng(seed), links, days, common)


def slow_interval(champion, challenger):
    """Percent and half-width for one target, as Cochran writes it: errors [links, days, windows], sums in loops."""
    days = champion.shape[1]
    own, theirs = [0.0] * days, [0.0] * days
    for link in range(len(champion)):
        unit = champion[link].mean()
        for day in range(days):
            own[day] += challenger[link, day].sum() / unit
            theirs[day] += champion[link, day].sum() / unit
    ratio = sum(own) / sum(theirs)
    residuals = [a - ratio * b for a, b in zip(own, theirs, strict=True)]
    variance = days / (days - 1) * sum(one**2 for one in residuals) / sum(theirs) ** 2
    return 100 * (ratio - 1), 100 * stats.t.ppf(0.975, days - 1) * variance**0.5


def test_the_interval_is_that_of_the_linearised_ratio_over_days():
    champion, challenger = pair()
    for place, figures in enumerate(difference_of(champion, challenger)["per_target"].values()):
        percent, half = slow_interval(champion[..., place], challenger[..., place])
        assert figures["percent"] == pytest.approx(percent, abs=1e-4)
        assert (figures["high"] - figures["low"]) / 2 == pytest.approx(half, rel=1e-4)


def test_the_error_over_all_windows_stands_beside_it():
    champion, challenger = pair()
    for place, figures in enumerate(difference_of(champion, challenger)["per_target"].values()):
        raw = 100 * (challenger[..., place].mean() / champion[..., place].mean() - 1)
        assert figures["pooled"]["percent"] == pytest.approx(raw, abs=1e-4)
        assert figures["pooled"]["low"] < raw < figures["pooled"]["high"]


def test_every_link_counts_alike_whatever_its_size():
    champion, challenger = pair()
    larger = np.ones((LINKS, 1, 1, 1))
    larger[2] = 1000
    one, other = difference_of(champion, challenger), difference_of(champion * larger, challenger * larger)
    for target in schema.TARGETS:
        assert other["per_target"][target]["percent"] == pytest.approx(one["per_target"][target]["percent"], abs=1e-4)
        assert other["per_target"][target]["high"] == pytest.approx(one["per_target"][target]["high"], abs=1e-4)
        assert other["per_target"][target]["pooled"]["percent"] != one["per_target"][target]["pooled"]["percent"]


def test_a_link_without_a_single_error_of_the_champion_does_not_decide_alone():
    champion, challenger = pair()
    champion[0] = 0
    challenger[0] = 1e-6
    with_it, without = difference_of(champion, challenger), difference_of(champion[1:], challenger[1:])
    for target in schema.TARGETS:
        expected = without["per_target"][target]["percent"] * (LINKS - 1) / LINKS
        assert with_it["per_target"][target]["percent"] == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize("days", [1, 2, FEWEST_DAYS - 1])
def test_fewer_than_four_days_have_an_estimate_and_no_interval(days):
    found = difference_of(*pair(days=days))
    assert (found["days"]["count"], found["days"]["fewest"], len(found["days"]["dates"])) == (days, 4, days)
    for figures in (*found["per_target"].values(), found["weighted"]):
        assert figures["percent"] is not None
        assert (figures["low"], figures["high"], figures["smallest_detectable_percent"]) == (None, None, None)
    assert found["links"]["judged"] == 0
    assert found["per_target"]["rtt_ms"]["pooled"]["high"] is None
    assert difference_of(*pair(days=FEWEST_DAYS))["weighted"]["high"] is not None


def test_with_other_weights_the_mean_is_as_if_it_had_been_measured_with_them():
    forecasts = forecasts_with(*pair(days=5))
    weights = {"throughput_mbps": 3.0, "rtt_ms": 0.5, "packet_loss": 0.0, "jitter_ms": 1.0}
    again = reweighted(json.loads(json.dumps(differences(forecasts))), weights)
    measured = differences(forecasts, weights=weights)
    assert again["weighted"].pop("weights") == measured["weighted"].pop("weights") == weights
    assert again["weighted"] == pytest.approx(measured["weighted"])


def test_the_rest_of_a_day_is_no_day():
    forecasts = forecasts_with(*pair(days=4))
    few = (forecasts.timestamps < 3 * 86_400) | (forecasts.timestamps % 86_400 < 6 * 3600)
    shorter = replace(
        forecasts,
        actual=forecasts.actual[few],
        models={name: values[few] for name, values in forecasts.models.items()},
        link=forecasts.link[few],
        timestamps=forecasts.timestamps[few],
    )
    assert differences(shorter)["days"]["count"] == 3
    assert differences(shorter)["weighted"]["high"] is None


def test_the_smallest_detectable_difference_is_the_one_with_a_power_of_80_percent():
    found = difference_of(*pair())["weighted"]
    deviation = (found["high"] - found["low"]) / 2 / stats.t.ppf(0.975, DAYS - 1)
    expected = (stats.t.ppf(0.975, DAYS - 1) + stats.t.ppf(0.8, DAYS - 1)) * deviation
    assert found["smallest_detectable_percent"] == pytest.approx(expected)


def test_the_autocorrelation_is_that_of_the_daily_series_at_lag_one():
    champion, _ = pair(days=40)
    drift = 1 + 0.1 * np.sin(np.arange(40) / 6)
    found = difference_of(champion, champion * drift[None, :, None, None])
    assert found["weighted"]["autocorrelation"] > 0.8
    swapped = 1 + 0.1 * (-1.0) ** np.arange(40)
    found = difference_of(champion, champion * swapped[None, :, None, None])
    assert found["weighted"]["autocorrelation"] < -0.8


def test_the_same_errors_differ_by_nothing():
    champion, _ = pair()
    found = difference_of(champion, champion)
    for figures in (*found["per_target"].values(), found["weighted"]):
        assert (figures["percent"], figures["low"], figures["high"]) == (0, 0, 0)
        assert figures["autocorrelation"] is None
    assert found["links"]["worse"] == []


def test_swapped_models_swap_the_sign():
    champion, challenger = pair()
    there, back = difference_of(champion, 1.04 * challenger), difference_of(1.04 * challenger, champion)
    assert there["weighted"]["percent"] > 0 > back["weighted"]["percent"]
    statistics = [one["per_target"]["rtt_ms"]["diebold_mariano"]["statistic"] for one in (there, back)]
    assert statistics[0] == pytest.approx(-statistics[1])


def test_the_weighted_mean_is_that_of_the_targets_that_count():
    champion, challenger = pair()
    challenger = challenger * np.array([1.0, 1.1, 1.2, np.inf])
    weights = {"throughput_mbps": 2.0, "packet_loss": 1.0, "rtt_ms": 0.0, "jitter_ms": 0.0}
    found = difference_of(champion, challenger, weights=weights)
    one, three = (found["per_target"][name]["percent"] for name in ("throughput_mbps", "packet_loss"))
    assert found["weighted"]["percent"] == pytest.approx((2 * one + three) / 3)
    assert found["weighted"]["weights"] == weights
    assert found["per_target"]["jitter_ms"]["high"] is None


def test_the_mean_is_over_the_targets_that_were_measured():
    champion, challenger = pair()
    found = difference_of(champion[..., :3], challenger[..., :3])
    assert found["per_target"]["jitter_ms"] is None
    three = [found["per_target"][name]["percent"] for name in schema.TARGETS[:3]]
    assert found["weighted"]["percent"] == pytest.approx(sum(three) / 3)


def test_a_mean_over_targets_none_of_which_was_measured_is_undefined():
    champion, challenger = pair()
    weights = dict.fromkeys(schema.TARGETS[:3], 0.0)
    found = difference_of(champion[..., :3], challenger[..., :3], weights=weights)
    assert found["weighted"]["percent"] is None


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_a_forecast_that_is_not_finite_leaves_nothing_defined(broken):
    champion, challenger = pair()
    challenger[0, 0, 5] = broken
    found = difference_of(champion, challenger)
    assert {figures["high"] for figures in found["per_target"].values()} == {None}
    assert found["weighted"]["high"] is None
    assert found["links"]["undefined"] == 1


def test_over_a_perfect_champion_nothing_is_defined_and_two_perfect_models_are_equal():
    champion, _ = pair()
    assert difference_of(champion * 0, champion)["per_target"]["rtt_ms"]["high"] is None
    assert difference_of(champion * 0, champion * 0)["per_target"]["rtt_ms"]["high"] == 0


def test_links_that_got_worse_are_named_with_a_bound_that_holds_on_all_links_at_once():
    champion, challenger = pair(links=30)
    worse = np.ones((30, 1, 1, 4))
    worse[[4, 9], ..., 1] = 1.5
    links = difference_of(champion, challenger * worse)["links"]
    assert {row["node_id"] for row in links["worse"]} == {4, 9}
    assert (links["count"], links["judged"], links["comparisons"]) == (30, 30, 120)
    for row in links["worse"]:
        assert 30 < row["per_target"]["rtt_ms"]["worse_by_at_least"] < 50
    assert links["tenths"]["rtt_ms"]["worst_percent"] > 25 > links["tenths"]["jitter_ms"]["worst_percent"] > 0


def test_a_link_with_few_days_is_not_judged():
    forecasts = forecasts_with(*pair())
    kept = (forecasts.link > 0) | (forecasts.timestamps < 2 * 86_400)
    shorter = replace(
        forecasts,
        actual=forecasts.actual[kept],
        models={name: values[kept] for name, values in forecasts.models.items()},
        link=forecasts.link[kept],
        timestamps=forecasts.timestamps[kept],
    )
    assert differences(shorter)["links"]["judged"] == LINKS - 1
    assert differences(shorter)["weighted"]["high"] is not None


def test_the_diebold_mariano_test_is_the_one_of_the_paper_for_one_step():
    losses = np.random.default_rng(6).normal(0.1, 1, 9)
    small_sample_factor = np.sqrt(8 / 9)
    statistic = small_sample_factor * losses.mean() / np.sqrt(losses.var() / 9)
    found = diebold_mariano(losses)
    assert found["statistic"] == pytest.approx(statistic)
    assert found["p_value"] == pytest.approx(2 * stats.t.sf(abs(statistic), 8))


def test_the_diebold_mariano_test_finds_a_difference_in_equal_models_5_times_in_100():
    found = [
        figures["diebold_mariano"]["p_value"] < 0.05
        for seed in range(150)
        for figures in difference_of(*pair(seed, links=20, common=0.5))["per_target"].values()
    ]
    assert 0.02 <= np.mean(found) <= 0.09


def test_days_that_follow_one_another_make_the_diebold_mariano_test_find_more_than_there_is():
    alone, following = (
        equal_models_called_different(7, follows, 400)["equal called different"] for follows in (0.0, 0.5)
    )
    assert 0.02 <= alone <= 0.09
    assert following > 2 * alone


@pytest.mark.parametrize("losses", [np.zeros(9), np.ones(9) + 1e-15 * np.arange(9), np.ones(3), np.full(9, np.nan)])
def test_without_variance_or_days_there_is_no_diebold_mariano_test(losses):
    assert diebold_mariano(losses)["p_value"] is None
