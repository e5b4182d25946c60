"""What a policy may ask of the decisions that consumers take by the forecasts."""

import math

import pytest
from gate_documents import check, failed

from bwpredict.config import GatePolicy

REGRET = "comparison/consumer/models/challenger/regret"


def test_the_shipped_policies_note_the_regret(judged):
    found = check(judged.decide(), "regret")
    assert (found["verdict"], found["value"], found["interval"]) == ("info", 12.0, [11.0, 13.0])
    assert judged.decide()["outcome"] == "promote"


@pytest.mark.parametrize(("limit", "verdict"), [(12.0, "pass"), (11.9, "fail"), (0.0, "fail")])
def test_a_policy_may_limit_the_regret(judged, limit, verdict):
    decision = judged.decide(GatePolicy(maximum_regret_percent=limit))
    assert check(decision, "regret")["verdict"] == verdict
    assert decision["outcome"] == ("promote" if verdict == "pass" else "reject")


def test_what_is_above_the_limit_is_said_in_a_sentence(judged):
    reason = judged.decide(GatePolicy(maximum_regret_percent=10.0))["reason"]
    assert reason.startswith("Rejected: The consumer's regret")
    assert "at most 10 %; it is 12 % (interval 11 to 13)" in reason


@pytest.mark.parametrize("value", [None, math.nan, math.inf, -1.0, "12", True])
def test_a_regret_that_is_no_number_fails(judged, value):
    judged.set(f"{REGRET}/percent", value)
    assert failed(judged.decide(GatePolicy(maximum_regret_percent=100.0))) == ["regret"]


@pytest.mark.parametrize("path", ["comparison/consumer", "comparison/consumer/models", REGRET, f"{REGRET}/percent"])
def test_a_regret_that_is_missing_fails_where_a_policy_limits_it(judged, path):
    judged.drop(path)
    assert failed(judged.decide(GatePolicy(maximum_regret_percent=100.0))) == ["regret"]
    assert judged.decide()["outcome"] == "promote"


def test_telemetry_that_cannot_be_replayed_fails_where_a_policy_limits_the_regret(judged):
    judged.set("comparison/consumer", None)
    assert failed(judged.decide(GatePolicy(maximum_regret_percent=100.0))) == ["regret"]
