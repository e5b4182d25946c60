"""What `bench-alerts` counts, the rules that it compares, and a small one from end to end."""

import json

import bench_alerts
import numpy as np
import pytest
from alerts.incidents import false_alarms_at, frontier, held, outcome
from alerts.rules import LINEAR, OURS, PLAIN, predict_linear, probability

from bwpredict import schema
from bwpredict.inference.onnx_model import Bounds

DAY = 1440


def flags(*spans):
    """One link's day, true in these spans of minutes."""
    row = np.zeros((1, DAY), bool)
    for begin, end in spans:
        row[0, begin:end] = True
    return row


@pytest.mark.parametrize(
    ("firing", "warned", "true", "false"),
    [
        ([(490, 495)], 1, 1, 0),
        ([(469, 475)], 0, 0, 1),  # more than half an hour before is about something else
        ([(500, 510)], 0, 0, 0),  # too late, but no false alarm
        ([(497, 510)], 0, 0, 0),
        ([(505, 510)], 0, 0, 0),
        ([(100, 110)], 0, 0, 1),
        ([(480, 482), (490, 492)], 1, 1, 0),  # firings that are close together are one alert
        ([(100, 110), (130, 140), (490, 500)], 1, 1, 2),
    ],
)
def test_an_alert_is_true_if_an_incident_begins_within_half_an_hour(firing, warned, true, false):
    found = outcome(flags(*firing), flags((500, 520)), step_minutes=1, samples=DAY)
    assert (found.incidents, found.warned, found.true, found.false) == (1, warned, true, false)
    assert found.link_days == 1
    assert found.false_a_day == 100 * false


def test_the_lead_is_counted_from_the_first_warning():
    found = outcome(flags((480, 482), (499, 500), (700, 800)), flags((500, 520)), step_minutes=1, samples=DAY)
    assert (found.lead_minutes, found.recall, found.precision) == (20, 1, 1 / 2)


def test_a_condition_has_to_hold():
    assert np.flatnonzero(held(flags((10, 12), (20, 25)), 3)[0]).tolist() == [22, 23, 24]


def test_a_rule_that_never_reaches_the_recall_has_no_false_alarms_to_compare():
    silent = outcome(flags(), flags((500, 520)), step_minutes=1, samples=DAY)
    assert false_alarms_at(0.5, [silent]) == float("inf")


def test_the_frontier_has_the_fewest_false_alarms_for_each_recall():
    eager, late, early = (
        outcome(flags(*spans), flags((500, 520)), step_minutes=1, samples=DAY)
        for spans in ([(490, 495), (100, 110), (200, 210)], [(500, 510)], [(490, 495), (100, 110)])
    )
    assert frontier([eager, late, early]) == [(0, 0), (1, 100)]


def test_predict_linear_is_the_least_squares_line_of_the_samples_that_are_there():
    values = np.random.default_rng(0).normal(100, 5, (2, 3000))
    values[1, 2950:2970] = np.nan
    found = predict_linear(values, 30, 15)
    for link in range(2):
        last = values[link, -30:]
        there = np.isfinite(last)
        slope, begin = np.polyfit(np.arange(30)[there], last[there], 1)
        assert found[link, -1] == pytest.approx(begin + slope * (29 + 15))


def test_a_limit_at_the_median_is_as_likely_as_not_on_either_side():
    median = np.array([[50, 20, 0.01, 2], [100, 40, 0.01, 2]], np.float32)
    bounds = Bounds(median * 0.5, median * 2, 0.9)
    place = schema.TARGETS.index("rtt_ms")
    for above in (True, False):
        chance = probability(median, bounds, median[:, place], "rtt_ms", above=above)
        np.testing.assert_allclose(chance, 0.5, atol=1e-3)
    assert probability(median, bounds, median[:, place] * 2, "rtt_ms", above=True) == pytest.approx(0.05, abs=1e-3)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_small_one_from_end_to_end(tmp_path, monkeypatch):
    words = ["--regimes", "calm", "--links", "3", "--days", "10", "--epochs", "1", "--windows", "300"]
    written, picture = tmp_path / "alerts.json", tmp_path / "alerts.png"
    monkeypatch.setattr("sys.argv", ["bench", *words, "--output", str(written), "--picture", str(picture)])
    bench_alerts.main()
    rows = json.loads(written.read_text())["rows"]
    assert {(row["target"], row["rule"]) for row in rows} == {
        (target, rule) for target in ("rtt_ms", "throughput_mbps") for rule in (OURS, LINEAR, PLAIN)
    }
    assert all(0 < row["highest recall"] <= 1 for row in rows)
    assert picture.read_bytes().startswith(b"\x89PNG")
