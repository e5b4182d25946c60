"""Many small steps for the worse: the challenger against the best of the earlier champions."""

import pytest
from bench_gate import creep
from gate_documents import EARLIER, apart, check, failed, undecided

from bwpredict import schema
from bwpredict.config import GatePolicy

WEIGHTED = "comparison/anchor/difference/weighted"
WEIGHTS = {"weights": dict.fromkeys(schema.TARGETS, 1.0)}


@pytest.mark.parametrize(
    ("percent", "half_width", "outcome"),
    [(1.0, 0.9, "promote"), (1.0, 1.1, "keep"), (3.0, 1.1, "keep"), (3.0, 0.9, "reject")],
)
def test_the_mean_may_not_be_worse_than_that_of_an_earlier_champion_by_the_margin(judged, percent, half_width, outcome):
    decision = judged.set(WEIGHTED, apart(percent, half_width) | WEIGHTS).decide()
    assert decision["outcome"] == outcome
    assert [*failed(decision), *undecided(decision)] == ([] if outcome == "promote" else ["anchor_mean"])
    if outcome == "reject":
        assert f"above that of the earlier champion {EARLIER}, by 2.1 to 3.9 %" in decision["reason"]


def test_the_margin_is_the_policys_and_without_one_nothing_is_judged(judged):
    judged.set(WEIGHTED, apart(3.0, 0.9) | WEIGHTS)
    assert judged.decide(GatePolicy(anchor_margin_percent=4.0))["outcome"] == "promote"
    assert check(judged.decide(GatePolicy(anchor_margin_percent=None)), "anchor_mean")["verdict"] == "info"


def test_where_nothing_served_before_the_champion_it_is_said(judged):
    noted = check(judged.set("comparison/anchor", None).decide(), "anchor_mean")
    assert (noted["verdict"], "No model served before" in noted["sentence"]) == ("info", True)


def test_a_comparison_that_does_not_tell_of_earlier_champions_fails(judged):
    assert failed(judged.drop("comparison/anchor").decide()) == ["anchor_mean"]


def test_earlier_champions_that_cannot_be_run_are_said_to_be_so(judged):
    judged.set("comparison/anchor/version", None).set("comparison/anchor/difference", None)
    judged.set("comparison/anchor/left_out", {EARLIER: "made for windows of 30"})
    assert "None of them can be compared" in check(judged.decide(), "anchor_mean")["sentence"]


def test_a_decline_in_steps_that_pass_alone_ends_at_the_margin():
    with_anchor, without = creep(links=100, days=5, months=18), creep(links=100, days=5, months=18, anchored=False)
    assert with_anchor["worse than the first by percent"] <= 2.0
    assert without["worse than the first by percent"] > with_anchor["worse than the first by percent"]
