"""What each shipped policy lets through and what not, by name."""

import pytest
from gate_documents import Judgement, check, failed, worse_link

from bwpredict import schema
from bwpredict.config import GatePolicy
from bwpredict.gate.policies import find_policy

POLICIES = {name: find_policy(name).policy for name in ("guide", "relative")}
CHALLENGER = "comparison/models/challenger"
RTT = f"{CHALLENGER}/per_target/rtt_ms"


def noisy_links(judged):
    """What the best model there is reaches on satellite links: none of the guide's figures."""
    judged.set(f"{CHALLENGER}/overall/average_correlation", 0.31)
    judged.set(f"{CHALLENGER}/overall/accuracy_percent", 31.0)
    judged.set(f"{CHALLENGER}/overall/average_mape", 55.0)
    return judged.on_each_target("challenger", mape=55.0, correlation=0.31, within_link_correlation=0.2)


def repeats_the_last_value(judged):
    return judged.on_each_target("challenger", skill=0.0)


def worse_than_the_champion(judged):
    return judged.differs("rtt_ms", 4.0)


def no_worse_as_far_as_can_be_told(judged):
    return judged.differs("rtt_ms", 0.0, half_width=4.0)


def worse_on_a_link(judged):
    return judged.set("comparison/difference/links/worse", [worse_link(7, bound=25.0)])


def worse_in_one_region(judged):
    return judged.set("comparison/slices/rows/1/per_target/rtt_ms/worse_by_at_least", 8.0)


def worse_than_a_baseline_on_one_target(judged):
    return judged.set(f"{RTT}/skill", -0.01)


def no_correlation_within_links(judged):
    return judged.set(f"{RTT}/within_link_correlation", None)


def no_average_correlation(judged):
    return judged.set(f"{CHALLENGER}/overall/average_correlation", None)


def intervals_too_narrow(judged):
    return judged.set("comparison/intervals/per_target/rtt_ms/coverage", 0.8)


def intervals_too_wide(judged):
    return judged.set("comparison/intervals/per_target/rtt_ms/coverage", 0.99)


def no_intervals(judged):
    return judged.set("comparison/intervals", None)


def slow(judged):
    return judged.set("latency/p99_ms", 12.0)


def of_another_file(judged):
    return judged.set("comparison/challenger_sha256", "d" * 64)


EVERY_SKILL = [f"skill.{target}" for target in schema.TARGETS]
EVERY_WITHIN = [f"within_link_correlation.{target}" for target in schema.TARGETS]
WORSE_ON_RTT = ["champion_error.rtt_ms", "champion_pooled.rtt_ms"]
EVERY_COVERAGE = [f"coverage.{target}" for target in schema.TARGETS]

# the challenger, what fails under `guide`, what fails under `relative`
TABLE = [
    (lambda judged: judged, [], []),
    (noisy_links, ["average_correlation", "average_mape", "accuracy", *EVERY_WITHIN], []),
    (repeats_the_last_value, EVERY_SKILL, EVERY_SKILL),
    (worse_than_the_champion, WORSE_ON_RTT, WORSE_ON_RTT),
    (no_worse_as_far_as_can_be_told, [], []),
    (worse_on_a_link, ["links"], ["links"]),
    (worse_in_one_region, ["slices.rtt_ms"], ["slices.rtt_ms"]),
    (worse_than_a_baseline_on_one_target, ["skill.rtt_ms"], ["skill.rtt_ms"]),
    (no_correlation_within_links, ["within_link_correlation.rtt_ms"], []),
    (no_average_correlation, ["average_correlation"], []),
    (intervals_too_narrow, [], ["coverage.rtt_ms"]),
    (intervals_too_wide, [], ["coverage.rtt_ms"]),
    (no_intervals, [], EVERY_COVERAGE),
    (slow, ["latency_p99"], ["latency_p99"]),
    (of_another_file, ["same_model"], ["same_model"]),
]


@pytest.mark.parametrize(("change", "guide", "relative"), TABLE, ids=[row[0].__name__ for row in TABLE])
def test_each_policy_fails_what_it_is_there_to_fail(judged, change, guide, relative):
    change(judged)
    assert sorted(failed(judged.decide(POLICIES["guide"]))) == sorted(guide)
    assert sorted(failed(judged.decide(POLICIES["relative"]))) == sorted(relative)


def test_the_policies_make_the_same_checks_so_that_none_is_dropped_in_silence(judged):
    ids = {name: [one["id"] for one in judged.decide(policy)["checks"]] for name, policy in POLICIES.items()}
    assert ids["guide"] == ids["relative"]


def test_what_a_policy_does_not_demand_stands_in_the_decision_with_its_figure_and_a_sentence(judged):
    decision = noisy_links(judged).decide(POLICIES["relative"])
    figures = {
        "average_correlation": 0.31,
        "average_mape": 55.0,
        "accuracy": 31.0,
        "within_link_correlation.rtt_ms": 0.2,
    }
    for name, figure in figures.items():
        found = check(decision, name)
        assert (found["verdict"], found["value"]) == ("info", figure)
        assert "the policy 'relative' sets no limit" in found["sentence"]
    assert check(decision, "average_correlation")["threshold"] is None


def test_a_promotion_counts_the_checks_that_passed_and_no_others(judged):
    decision = judged.decide(POLICIES["relative"])
    passed = sum(one["verdict"] == "pass" for one in decision["checks"])
    assert passed < len(decision["checks"])
    assert f"all {passed} checks" in decision["reason"]


def test_a_target_may_have_a_minimum_skill_of_its_own(judged):
    policy = GatePolicy(name="radio", minimum_skill=0.05, minimum_skill_by_target={"rtt_ms": -0.02})
    assert failed(judged.set(f"{RTT}/skill", -0.019).decide(policy)) == []
    assert check(judged.decide(policy), "skill.rtt_ms")["threshold"] == -0.02
    assert failed(judged.set(f"{RTT}/skill", -0.02).decide(policy)) == ["skill.rtt_ms"]
    jitter = f"{CHALLENGER}/per_target/jitter_ms/skill"
    assert failed(judged.set(f"{RTT}/skill", 0.1).set(jitter, 0.05).decide(policy)) == ["skill.jitter_ms"]


def test_where_the_mape_is_left_out_the_wape_stands_in_beside_that_of_the_baseline(judged):
    judged.set("comparison/models/challenger/per_target/packet_loss/wape", 93.0)
    judged.set("comparison/models/mean_15_minutes/per_target/packet_loss/wape", 103.0)
    decision = judged.decide(GatePolicy(name="idle loss", mape_excluded_targets=["packet_loss"]))
    found = check(decision, "wape.packet_loss")
    assert (found["value"], found["threshold"], found["verdict"]) == (93.0, 103.0, "info")
    assert "mean 15 minutes" in found["sentence"]
    assert "the WAPE is shown instead" in check(decision, "mape.packet_loss")["sentence"]


def test_the_decision_records_where_the_policy_came_from():
    decided = Judgement().decide(POLICIES["relative"], policy_origin="policies/mine.yaml")["policy"]
    assert (decided["name"], decided["version"], decided["origin"]) == ("relative", 1, "policies/mine.yaml")
    assert decided["thresholds"]["minimum_average_correlation"] is None
    assert Judgement().decide()["policy"]["origin"] == "shipped with bwpredict"
