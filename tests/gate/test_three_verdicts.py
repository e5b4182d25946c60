"""Promote, keep, reject: when the test days show enough, and what the decision says when they do not."""

import pytest
from gate_documents import FORCED, apart, check, failed, on_target, undecided, worse_link

from bwpredict import schema
from bwpredict.config import GatePolicy
from bwpredict.documents import decode_document, encode_document
from bwpredict.errors import DocumentError
from bwpredict.gate.decision import attempt_sentence, check_rows, shown_outcome, summary
from bwpredict.gate.overrides import publication_reason

DIFFERENCE = "comparison/difference"
RTT = f"{DIFFERENCE}/per_target/rtt_ms"
MEAN = f"{DIFFERENCE}/weighted"
EQUAL_WEIGHTS = {"weights": dict.fromkeys(schema.TARGETS, 1.0)}
AGAINST = ("champion_error", "champion_pooled")


def mean_is(judged, percent, half_width):
    return judged.set(MEAN, apart(percent, half_width) | EQUAL_WEIGHTS)


# percent and half-width of the mean, the verdict: at most 1 % at the upper end, worse where the lower end is above 0
@pytest.mark.parametrize(
    ("percent", "half_width", "outcome"),
    [
        (0.0, 1.0, "promote"),
        (0.5, 0.4, "promote"),  # worse, and shown to be within the limit
        (0.0, 1.01, "keep"),
        (0.9, 0.95, "keep"),
        (1.5, 1.5, "keep"),
        (0.9, 0.8, "reject"),
        (5.0, 0.5, "reject"),
    ],
)
def test_the_interval_of_the_mean_gives_one_of_three_verdicts(judged, percent, half_width, outcome):
    assert mean_is(judged, percent, half_width).decide()["outcome"] == outcome


# of one target: at most 3 % at the upper end, worse where the lower end is above 1 %
@pytest.mark.parametrize(
    ("percent", "half_width", "outcome"),
    [(2.0, 0.99, "promote"), (2.0, 1.01, "keep"), (2.5, 1.5, "keep"), (2.5, 1.4, "reject"), (9.0, 0.1, "reject")],
)
def test_the_interval_of_a_target_gives_one_of_three_verdicts(judged, percent, half_width, outcome):
    judged.differs("rtt_ms", percent, half_width)
    assert judged.decide()["outcome"] == outcome
    judged.set(RTT, apart(percent, half_width) | {"pooled": on_target(percent, 0.1)["pooled"]})
    if outcome != "promote" and percent + 0.1 <= 3:
        assert {*failed(judged.decide()), *undecided(judged.decide())} == {"champion_error.rtt_ms"}


def test_the_headline_is_a_sentence_with_the_figure_and_the_limit(judged):
    decision = mean_is(judged, 0.2, 1.5).decide()
    assert decision["reason"] == (
        "Production stays: The error over all targets may be up to 1.7 % above production's; the limit is 1 %,"
        " and the test days do not settle it."
    )
    assert summary(decision).splitlines()[1] == f"- {check(decision, 'champion_mean')['headline']}"


def test_no_headline_names_the_id_of_a_check(judged):
    judged.differs("rtt_ms", 4.0).differs("packet_loss", 0.0, 9.0).set("latency/p99_ms", 40.0)
    decision = mean_is(judged, 0.0, 3.0).decide()
    told = summary(decision)
    assert decision["outcome"] == "reject"
    assert not [one["id"] for one in decision["checks"] if one["id"] in told]


def test_what_is_broken_rejects_although_the_test_days_cannot_tell(judged):
    decision = mean_is(judged, 0.0, 3.0).set("latency/p99_ms", 40.0).decide()
    assert decision["outcome"] == "reject"
    assert decision["reason"].startswith("Rejected: 99 of 100 single-window forecasts")


@pytest.mark.parametrize("days", [0, 1, 3])
@pytest.mark.parametrize("rule", ["non-inferior", "superior", "expected"])
def test_fewer_than_four_test_days_cannot_tell_and_never_pass(judged, days, rule):
    decision = judged.few_days(days).decide(GatePolicy(champion_rule=rule))
    assert (decision["outcome"], failed(decision)) == ("keep", [])
    assert "champion_mean" in undecided(decision)
    assert f"{days} test days are too few to tell" in decision["reason"]


def test_intervals_that_are_missing_from_enough_days_are_a_fault_and_reject(judged):
    assert set(failed(judged.few_days(4).decide())) >= {"champion_mean", "champion_error.rtt_ms"}


def test_a_champion_rule_of_superior_keeps_production_until_the_mean_is_shown_to_be_better(judged):
    policy = GatePolicy(champion_rule="superior")
    assert mean_is(judged, -1.0, 0.9).decide(policy)["outcome"] == "promote"
    assert mean_is(judged, -1.0, 1.0).decide(policy)["outcome"] == "keep"
    assert mean_is(judged, 0.0, 0.0).decide(policy)["outcome"] == "keep"
    assert mean_is(judged, 1.0, 0.9).decide(policy)["outcome"] == "reject"


@pytest.mark.parametrize(
    ("percent", "half_width", "outcome"),
    [(-0.1, 9.0, "promote"), (0.0, 9.0, "promote"), (0.1, 9.0, "keep"), (0.1, 0.05, "reject")],
)
def test_the_rule_expected_goes_by_the_estimate_of_the_mean(judged, percent, half_width, outcome):
    policy = GatePolicy(champion_rule="expected", pooled_margin_percent=100)
    assert mean_is(judged, percent, half_width).decide(policy)["outcome"] == outcome


def test_the_rule_expected_refuses_a_target_that_is_shown_to_be_worse(judged):
    policy = GatePolicy(champion_rule="expected", pooled_margin_percent=100)
    assert judged.differs("rtt_ms", 4.0, 3.1).decide(policy)["outcome"] == "promote"
    assert failed(judged.differs("rtt_ms", 4.0, 2.9).decide(policy)) == ["champion_error.rtt_ms"]


# by its estimate, at most 3 %: a few large links decide how wide its interval is
@pytest.mark.parametrize(
    ("percent", "half_width", "outcome"),
    [(3.0, 9.0, "promote"), (3.1, 9.0, "keep"), (3.1, 2.2, "keep"), (3.1, 2.0, "reject")],
)
def test_the_guard_over_all_windows_goes_by_its_estimate(judged, percent, half_width, outcome):
    pooled = {"percent": percent, "low": percent - half_width, "high": percent + half_width}
    judged.differs("rtt_ms", percent).set(RTT, apart(-0.5) | {"pooled": pooled})
    decision = judged.decide()
    assert decision["outcome"] == outcome
    assert {*failed(decision), *undecided(decision)} == (set() if outcome == "promote" else {"champion_pooled.rtt_ms"})


def test_a_large_link_that_got_worse_is_seen_by_the_guard_over_all_windows(judged):
    pooled = {"percent": 6.0, "low": 4.0, "high": 8.0}
    judged.differs("rtt_ms", 6.0).set(RTT, apart(-0.5) | {"pooled": pooled})
    decision = judged.decide()
    assert failed(decision) == ["champion_pooled.rtt_ms"]
    assert "RTT MAE over all windows is shown to be above production's, by 4 to 8 %" in decision["reason"]


def test_more_than_two_in_a_hundred_worse_links_reject_and_are_named(judged):
    judged.set(f"{DIFFERENCE}/links/judged", 100)
    judged.set(f"{DIFFERENCE}/links/worse", [worse_link(node, bound=11.0) for node in (3, 4)])
    assert failed(judged.decide()) == []
    assert "3 → 900 by 17 % (RTT)" in check(judged.decide(), "links")["sentence"]
    judged.set(f"{DIFFERENCE}/links/worse", [worse_link(node, bound=11.0) for node in (3, 4, 5, 6)])
    decision = judged.decide()
    assert failed(decision) == ["links"]
    assert "On 4 of 100 links the error is more than 10 % above production's" in decision["reason"]
    assert "and 1 more" in decision["reason"]


def test_a_link_within_the_margin_is_no_worse_link(judged):
    judged.set(f"{DIFFERENCE}/links/worse", [worse_link(node, bound=9.9) for node in range(9)])
    assert check(judged.decide(), "links")["value"] == 0


@pytest.mark.parametrize("worse", [None, {}, [7], [{"node_id": 1, "peer_id": 2}]])
def test_links_that_are_not_told_of_reject(judged, worse):
    assert failed(judged.set(f"{DIFFERENCE}/links/worse", worse).decide()) == ["links"]


def test_days_that_follow_one_another_are_shown_with_a_caution(judged):
    calm = check(judged.decide(), "autocorrelation")
    assert (calm["verdict"], calm["value"]) == ("info", 0.1)
    assert "caution" not in calm["sentence"]
    noted = check(judged.set(f"{RTT}/autocorrelation", 0.45).decide(), "autocorrelation")
    assert (noted["verdict"], noted["value"]) == ("info", 0.45)
    assert "with caution" in noted["sentence"]


@pytest.mark.parametrize(
    "change", [{"passed": True}, {"outcome": "promote"}, {"outcome": "reject"}, {"case": "no_champion"}]
)
def test_a_keep_that_contradicts_itself_is_no_document(judged, change):
    decision = mean_is(judged, 0.0, 3.0).decide()
    assert (decision["outcome"], decision["passed"]) == ("keep", False)
    with pytest.raises(DocumentError):
        encode_document("decision", {**decision, **change}, name="decision.json")


def test_an_open_check_says_in_the_table_that_it_cannot_tell(judged):
    decision = mean_is(judged, 0.0, 3.0).decide()
    assert [row[0] for row in check_rows(decision)].count("undecided") == 1


def test_a_decision_of_before_there_were_three_verdicts_is_still_read(judged):
    decision = judged.set("latency/p99_ms", 40.0).decide()
    old = [{key: value for key, value in one.items() if key != "headline"} for one in decision["checks"]]
    encode_document("decision", {**decision, "checks": old}, name="decision.json")
    assert "it is 40 ms" in summary({**decision, "checks": old})


@pytest.mark.parametrize(("forced", "shown"), [(False, "promote"), (True, "forced")])
def test_a_decision_in_the_form_of_the_first_release_is_still_read(judged, forced, shown):
    decision = judged.decide(**({"override": FORCED} if forced else {}))
    later = {"override", "attempt", "trained_elsewhere", "champion_sha256"}
    old = {key: value for key, value in decision.items() if key not in later}
    old["policy"] = {key: value for key, value in old["policy"].items() if key != "origin"}
    old["checks"] = [
        {key: value for key, value in one.items() if key not in ("headline", "interval")} for one in old["checks"]
    ]
    read = decode_document("decision", encode_document("decision", old, name="decision.json"), name="decision.json")
    assert (shown_outcome(read), attempt_sentence(read), publication_reason(read, None)) == (shown, "", None)
    assert summary(read) == read["reason"]
    assert len(check_rows(read)) == len(read["checks"])
