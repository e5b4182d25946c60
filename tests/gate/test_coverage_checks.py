"""What the gate makes of the measured coverage of the intervals, and when it decides."""

import pytest
from gate_documents import Judgement, check, failed
from hypothesis import given
from hypothesis import strategies as st

from bwpredict import schema
from bwpredict.config import GatePolicy

RTT = "comparison/intervals/per_target/rtt_ms/coverage"
BOTH = GatePolicy(name="relative", minimum_coverage=0.85, maximum_coverage=0.95)
LEAST = GatePolicy(name="least", minimum_coverage=0.85)
MOST = GatePolicy(name="most", maximum_coverage=0.95)


def test_without_bounds_in_the_policy_the_coverage_is_noted_and_decides_nothing(judged):
    decision = judged.set(RTT, 0.1).decide()
    assert decision["outcome"] == "promote"
    noted = check(decision, "coverage.rtt_ms")
    assert (noted["verdict"], noted["value"], noted["threshold"]) == ("info", 0.1, None)
    assert "nominal level is 0.9" in noted["sentence"]


def test_without_bounds_a_model_without_intervals_passes_and_is_said_to_have_none(judged):
    decision = judged.set("comparison/intervals", None).decide()
    assert decision["outcome"] == "promote"
    noted = check(decision, "coverage.rtt_ms")
    assert (noted["verdict"], noted["value"]) == ("info", None)
    assert "no intervals" in noted["sentence"]


@pytest.mark.parametrize(
    ("policy", "coverage", "passes", "shown"),
    [
        (BOTH, 0.85, True, (">=", 0.85)),
        (BOTH, 0.8499, False, (">=", 0.85)),
        (BOTH, 0.95, True, (">=", 0.85)),
        (BOTH, 0.9501, False, ("<=", 0.95)),
        (LEAST, 1.0, True, (">=", 0.85)),
        (LEAST, 0.0, False, (">=", 0.85)),
        (MOST, 0.0, True, ("<=", 0.95)),
        (MOST, 1.0, False, ("<=", 0.95)),
    ],
)
def test_with_bounds_the_coverage_decides_and_the_check_shows_the_bound_it_is_about(
    judged, policy, coverage, passes, shown
):
    decision = judged.set(RTT, coverage).decide(policy)
    assert failed(decision) == ([] if passes else ["coverage.rtt_ms"])
    found = check(decision, "coverage.rtt_ms")
    assert (found["comparison"], found["threshold"]) == shown
    for bound in (policy.minimum_coverage, policy.maximum_coverage):
        assert bound is None or f"{bound:g}" in found["sentence"]


@pytest.mark.parametrize("policy", [BOTH, LEAST, MOST], ids=lambda policy: policy.name)
@pytest.mark.parametrize("value", [None, float("nan"), float("inf"), -0.1, 1.1, True, "0.9", [0.9], {}], ids=str)
def test_with_bounds_what_is_no_share_never_passes(judged, policy, value):
    assert failed(judged.set(RTT, value).decide(policy)) == ["coverage.rtt_ms"]


@pytest.mark.parametrize("policy", [BOTH, LEAST, MOST], ids=lambda policy: policy.name)
def test_with_bounds_a_model_without_intervals_fails_on_every_target(judged, policy):
    everything = [f"coverage.{target}" for target in schema.TARGETS]
    assert failed(judged.set("comparison/intervals", None).decide(policy)) == everything
    assert failed(judged.drop("comparison/intervals").decide(policy)) == everything


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_a_coverage_passes_exactly_within_the_bounds(first, second, coverage):
    low, high = sorted((first, second))
    policy = GatePolicy(name="any", minimum_coverage=low, maximum_coverage=high)
    decision = Judgement().set(RTT, coverage).decide(policy)
    assert check(decision, "coverage.rtt_ms")["verdict"] == ("pass" if low <= coverage <= high else "fail")
