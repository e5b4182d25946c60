"""Drift against the same hours and weekdays."""

import numpy as np
import pytest
from frames import MIDNIGHT, make_frame

from bwpredict import schema
from bwpredict.monitoring import seasonal

DAY = 86_400


@pytest.fixture
def frame():
    """A fortnight of two links whose throughput follows the hour, and halves at weekends."""
    made = make_frame([list(range(14 * 1440))] * 2)
    hour = schema.CALENDAR.hours(made.timestamps)
    weekend = np.isin(schema.CALENDAR.days(made.timestamps), [0, 6])
    noise = np.random.default_rng(0).lognormal(0, 0.2, made.rows)
    made.values[:, 0] = (50 + 10 * (hour > 8)) * np.where(weekend, 0.5, 1) * noise
    return made


def day(frame, number):
    begin = MIDNIGHT + number * DAY
    return seasonal.measure(frame, (begin, begin + DAY))


def reference(*days):
    return {"days": [f"2025-09-{n:02}" for n in range(1, 8)], "histograms": seasonal.merge(days)}


def throughput(drift):
    return drift["throughput_mbps"]


def test_a_weekday_is_stable_against_the_same_weekday_and_not_against_a_weekend(frame):
    monday_before = reference(day(frame, 0))
    assert throughput(seasonal.drift(day(frame, 7), monday_before))["verdict"] == "stable"
    assert throughput(seasonal.drift(day(frame, 6), monday_before))["verdict"] == "drifted"


def test_hours_are_held_against_the_same_hours(frame):
    """The same values at other hours are another day, though their histogram over the whole day is the same."""
    shifted = seasonal.measure(frame, (MIDNIGHT + DAY, MIDNIGHT + 2 * DAY))
    bands = shifted["throughput_mbps"]
    bands["00-06"], bands["12-18"] = bands["12-18"], bands["00-06"]
    assert throughput(seasonal.drift(shifted, reference(day(frame, 1))))["verdict"] == "drifted"


def test_merging_days_adds_their_counts(frame):
    merged = seasonal.merge([day(frame, 0), day(frame, 7)])
    assert sum(n for _, n in merged["rtt_ms"]["00-06"]) == 2 * 2 * 360


def test_without_a_reference_drift_is_unknown_and_never_none(frame):
    assert throughput(seasonal.drift(day(frame, 0), None)) == {"psi": None, "verdict": "unknown"}
