"""The intervals of a challenger, against those of the champion."""

import math

import pytest
from gate_documents import check, failed, undecided

from bwpredict.config import GatePolicy

PART = "comparison/interval_difference"
RTT = f"{PART}/per_target/rtt_ms"


def score(judged, percent, half_width):
    ends = {"percent": percent, "low": percent - half_width, "high": percent + half_width}
    return judged.set(RTT, ends)


@pytest.mark.parametrize(
    ("percent", "half_width", "outcome"),
    [(4.0, 1.0, "promote"), (-8.0, 1.0, "promote"), (0.0, 6.0, "keep"), (4.5, 1.0, "reject"), (9.0, 8.5, "keep")],
)
def test_the_upper_end_decides_and_the_lower_end_rejects(judged, percent, half_width, outcome):
    decision = score(judged, percent, half_width).decide()
    assert decision["outcome"] == outcome
    named = {"promote": [], "keep": undecided(decision), "reject": failed(decision)}[outcome]
    assert named == ([] if outcome == "promote" else ["winkler.rtt_ms"])


def test_what_the_test_days_cannot_tell_is_said_in_a_sentence(judged):
    reason = score(judged, 0.0, 6.0).decide()["reason"]
    assert reason == (
        "Production stays: RTT Winkler score may be up to 6 % above production's; the limit is 5 %, and the test days"
        " do not settle it."
    )


def test_a_policy_may_have_another_margin_or_none(judged):
    score(judged, 0.0, 6.0)
    assert judged.decide(GatePolicy(winkler_margin_percent=7.0))["outcome"] == "promote"
    assert check(judged.decide(GatePolicy(winkler_margin_percent=None)), "winkler.rtt_ms")["verdict"] == "info"


def test_a_champion_without_intervals_is_no_measure(judged):
    judged.set(f"{PART}/champion_level", None).set(RTT, None)
    assert check(judged.decide(), "winkler.rtt_ms")["verdict"] == "info"
    assert judged.decide()["outcome"] == "promote"


def test_a_challenger_that_has_lost_the_intervals_is_rejected(judged):
    judged.set(f"{PART}/level", None).set(RTT, None)
    decision = judged.decide()
    assert failed(decision) == ["winkler.rtt_ms"]
    assert decision["reason"] == "Rejected: The challenger has no intervals, and the champion has."


@pytest.mark.parametrize("value", [None, math.nan, math.inf, "5", True])
@pytest.mark.parametrize("key", ["percent", "low", "high"])
def test_a_score_that_is_no_number_fails(judged, key, value):
    judged.set(f"{RTT}/{key}", value)
    assert failed(judged.decide()) == ["winkler.rtt_ms"]


@pytest.mark.parametrize("path", [PART, f"{PART}/per_target", RTT, f"{RTT}/high"])
def test_a_score_that_is_missing_fails(judged, path):
    judged.drop(path)
    assert "winkler.rtt_ms" in failed(judged.decide())


def test_too_few_days_cannot_tell(judged):
    decision = judged.few_days(3).decide()
    assert check(decision, "winkler.rtt_ms")["verdict"] == "open"


def test_without_a_champion_the_score_has_no_part_in_the_verdict(judged):
    judged.without_champion().set(PART, None)
    decision = judged.decide()
    assert check(decision, "winkler.rtt_ms")["verdict"] == "not_applicable"
    assert decision["outcome"] == "bootstrap"
