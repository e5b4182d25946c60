"""What the gate lets through and what not: a truth table by name."""

import pytest
from gate_documents import CHAMPION, FORCED, SHA256, VERSION, check, failed, passing_comparison

from bwpredict import schema
from bwpredict.config import GatePolicy
from bwpredict.documents import encode_document
from bwpredict.errors import DocumentError
from bwpredict.gate.decision import check_rows, policy_digest, shown_outcome, summary
from bwpredict.gate.overrides import Override, publication_reason

OVERALL = "comparison/models/challenger/overall"
RTT = "comparison/models/challenger/per_target/rtt_ms"


def test_the_documents_of_these_tests_are_documents(judged):
    for kind, document in judged.documents.items():
        encode_document(kind, document, name=kind)


def test_a_challenger_that_passes_everything_is_promoted(judged):
    decision = judged.decide()
    assert decision["outcome"] == "promote"
    assert decision["passed"] is True
    assert decision["case"] == "champion"
    assert decision["champion_version"] == CHAMPION
    noted = ("coverage.", "autocorrelation", "regret")
    assert {one["verdict"] for one in decision["checks"] if not one["id"].startswith(noted)} == {"pass"}
    assert decision["reason"].startswith("Promote: ")
    assert CHAMPION in decision["reason"]


def test_every_check_of_the_issue_is_in_the_decision_once(judged):
    per_target = (
        "skill",
        "within_link_correlation",
        "champion_error",
        "champion_pooled",
        "slices",
        "winkler",
        "coverage",
    )
    ids = [one["id"] for one in judged.decide()["checks"]]
    assert sorted(ids) == sorted(
        [
            "same_model", "test_windows", "non_finite_forecasts", "out_of_bounds_forecasts",
            "average_correlation", "average_mape", "accuracy", "champion_mean", "anchor_mean", "autocorrelation",
            "links", "onnx_checker", "parity", "all_finite", "bounds_kept", "interval_order", "latency_p99",
                "regret",
            *(f"{kind}.{target}" for kind in per_target for target in schema.TARGETS),
        ]
    )  # fmt: skip


# path of the value, one that just passes, one that just fails, the check
THRESHOLDS = [
    (f"{OVERALL}/average_correlation", 0.98, 0.9799999, "average_correlation"),
    (f"{OVERALL}/average_mape", 4.9999999, 5.0, "average_mape"),
    (f"{OVERALL}/accuracy_percent", 98.0, 97.99999, "accuracy"),
    (f"{RTT}/skill", 1e-9, 0.0, "skill.rtt_ms"),
    (f"{RTT}/within_link_correlation", 0.85 - 0.02, 0.8299, "within_link_correlation.rtt_ms"),
    ("comparison/slices/rows/1/per_target/rtt_ms/worse_by_at_least", 3.0, 3.0001, "slices.rtt_ms"),
    ("comparison/test/windows", 500, 499, "test_windows"),
    ("comparison/models/challenger/non_finite_forecasts", 0, 1, "non_finite_forecasts"),
    ("comparison/models/challenger/out_of_bounds_forecasts", 0, 1, "out_of_bounds_forecasts"),
    ("parity/max_relative_error", 1e-3, 1.0001e-3, "parity"),
    ("latency/p99_ms", 10.0, 10.001, "latency_p99"),
]


@pytest.mark.parametrize(("path", "good", "bad", "name"), THRESHOLDS)
def test_at_its_threshold_a_check_is_decided_by_the_words_of_its_sentence(judged, path, good, bad, name):
    assert failed(judged.set(path, good).decide()) == []
    decision = judged.set(path, bad).decide()
    assert failed(decision) == [name]
    assert decision["outcome"] == "reject"
    assert check(decision, name)["value"] == bad


@pytest.mark.parametrize("fact", ["onnx_checker", "all_finite", "bounds_kept"])
def test_an_export_check_that_failed_rejects(judged, fact):
    assert failed(judged.set(f"parity/{fact}", False).decide()) == [fact]


def test_int8_weights_are_judged_by_a_bound_of_their_own_and_the_decision_says_so(judged):
    judged.set("parity/quantized", True)
    parity = check(judged.set("parity/max_relative_error", 0.05).decide(), "parity")
    assert (parity["verdict"], parity["threshold"]) == ("pass", 0.05)
    assert "int8" in parity["sentence"]
    assert failed(judged.set("parity/max_relative_error", 0.0501).decide()) == ["parity"]


@pytest.mark.parametrize("quantized", [False, None, "true", 1])
def test_only_a_model_that_surely_has_int8_weights_gets_their_bound(judged, quantized):
    judged.documents["parity"] |= {"quantized": quantized, "max_relative_error": 0.01}
    decision = judged.decide()
    assert failed(decision) == ["parity"]
    assert "int8" not in check(decision, "parity")["sentence"]


@pytest.mark.parametrize("kept", [False, None, "yes"])
def test_intervals_that_are_not_shown_to_hold_their_forecast_reject(judged, kept):
    assert failed(judged.set("parity/order_kept", kept).decide()) == ["interval_order"]


def test_the_order_of_intervals_is_asked_for_where_either_document_tells_of_some(judged):
    judged.set("comparison/intervals", None).set("parity/order_kept", False)
    assert failed(judged.decide()) == ["interval_order"]
    assert failed(judged.set("parity/order_kept", None).decide()) == []


def test_parity_without_a_single_case_rejects(judged):
    assert failed(judged.set("parity/cases", []).decide()) == ["parity", "all_finite", "bounds_kept", "interval_order"]


def test_a_model_that_only_repeats_the_last_value_is_rejected_although_it_reaches_the_guides_figures(judged):
    judged.on_each_target("challenger", skill=0.0)
    judged.set(f"{OVERALL}/average_correlation", 0.995)
    assert failed(judged.decide()) == [f"skill.{target}" for target in schema.TARGETS]


def test_a_model_worse_than_its_baseline_on_one_target_is_rejected(judged):
    decision = judged.set(f"{RTT}/skill", -0.2).decide()
    assert failed(decision) == ["skill.rtt_ms"]
    assert "mean 15 minutes" in check(decision, "skill.rtt_ms")["sentence"]


def test_a_model_worse_than_the_champion_on_one_target_is_rejected(judged):
    decision = judged.differs("rtt_ms", 3.2).decide()
    assert failed(decision) == ["champion_error.rtt_ms", "champion_pooled.rtt_ms"]
    assert decision["outcome"] == "reject"
    told = "Rejected: RTT error is shown to be above production's, by 2.7 to 3.7 % (estimate 3.2 %); the limit is 3 %."
    assert decision["reason"].startswith(told)


def test_an_average_over_fewer_targets_does_not_pass_for_a_whole_one(judged):
    for figure in judged.documents["comparison"]["models"]["challenger"]["per_target"]["packet_loss"]:
        judged.set(f"comparison/models/challenger/per_target/packet_loss/{figure}", None)
    assert {"skill.packet_loss", "champion_error.packet_loss"} <= set(failed(judged.decide()))


def test_without_a_champion_the_outcome_is_a_bootstrap_that_says_so_not_a_win(judged):
    decision = judged.without_champion().decide()
    assert (decision["outcome"], decision["passed"], decision["case"]) == ("bootstrap", True, "no_champion")
    assert "no champion" in decision["reason"]
    for target in schema.TARGETS:
        against = check(decision, f"champion_error.{target}")
        assert against["verdict"] == "not_applicable"
        assert "no champion" in against["sentence"]
        assert against["value"] is None


def test_without_a_champion_the_absolute_checks_still_reject(judged):
    decision = judged.without_champion().set(f"{OVERALL}/average_correlation", 0.9).decide()
    assert (decision["outcome"], failed(decision)) == ("reject", ["average_correlation"])


def test_forcing_a_bootstrap_without_a_champion_is_an_ordinary_first_model(judged):
    assert judged.without_champion().decide(override=FORCED)["case"] == "no_champion"


def test_a_forced_bootstrap_shows_the_comparison_with_the_champion_without_judging_by_it(judged):
    decision = judged.differs("rtt_ms", 900.0).decide(override=FORCED)
    assert (decision["outcome"], decision["case"]) == ("bootstrap", "forced_bootstrap")
    assert decision["champion_version"] == CHAMPION
    assert decision["force_bootstrap"] is True
    told = "Forced: worse than the champion on 1 of 4 targets (most on RTT: 900 %)."
    assert decision["reason"].startswith(told)
    assert "anna overrode the comparison with the champion: the champion is broken." in decision["reason"]
    assert shown_outcome(decision) == "forced"
    approval = {"approved_by": "bert", "approved_at": "2026-11-01T00:00:00+00:00"}
    assert publication_reason(decision, approval).endswith("broken. bert approved the publication.")
    against = check(decision, "champion_error.rtt_ms")
    assert (against["verdict"], against["severity"], against["threshold"]) == ("info", "warning", 3.0)
    assert against["value"] == pytest.approx(900.5)


def test_a_challenger_trained_on_accepted_telemetry_says_so_and_is_judged_like_any_other(judged):
    accepted = Override(telemetry=True, by="anna", reason="one region was off for a week")
    decision = judged.decide(override=accepted)
    assert (decision["outcome"], decision["case"], shown_outcome(decision)) == ("promote", "champion", "forced")
    told = "anna overrode the validation of the telemetry: one region was off for a week. Promote: "
    assert decision["reason"].startswith(told)
    assert judged.differs("rtt_ms", 900.0).decide(override=accepted)["outcome"] == "reject"


def test_a_decision_that_nobody_overrode_has_no_reason_of_a_person(judged):
    decision = judged.decide()
    assert (decision["override"], shown_outcome(decision)) == (None, "promote")
    assert publication_reason(decision, None) is None


def test_a_forced_bootstrap_does_not_get_around_the_absolute_checks(judged):
    assert judged.set(f"{RTT}/skill", -1.0).decide(override=FORCED)["outcome"] == "reject"


def unusable(judged):
    return judged.drop("comparison/models/champion").set(
        "comparison/champion_problem", "champion.onnx: window of 30, expected 20."
    )


def test_a_champion_that_cannot_be_run_rejects_with_its_problem(judged):
    decision = unusable(judged).decide()
    assert (decision["outcome"], decision["case"], failed(decision)) == ("reject", "unusable_champion", ["champion"])
    assert "window of 30, expected 20" in check(decision, "champion")["sentence"]


def test_a_champion_that_cannot_be_run_can_be_replaced_by_a_forced_bootstrap_only(judged):
    decision = unusable(judged).decide(override=FORCED)
    assert (decision["outcome"], decision["case"]) == ("bootstrap", "forced_bootstrap")
    assert "window of 30" in check(decision, "champion_error.rtt_ms")["sentence"]


def test_a_champion_in_production_without_figures_rejects(judged):
    assert failed(judged.drop("comparison/models/champion").decide()) == ["champion"]


def test_a_champion_whose_own_error_is_undefined_rejects(judged):
    decision = judged.on_each_target("champion", mae=None).decide()
    kinds = ("champion_error", "champion_pooled")
    assert failed(decision) == [f"{kind}.{target}" for kind in kinds for target in schema.TARGETS]
    assert check(decision, "champion_error.rtt_ms")["sentence"].endswith("The value could not be computed.")


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("champion", ["", 7, True, [], {}])
def test_a_champion_that_is_no_version_is_unknown_and_rejects_even_when_forced(judged, champion, force):
    decision = judged.set("comparison/champion_version", champion).decide(override=Override(champion=force))
    assert (decision["outcome"], decision["case"]) == ("reject", "unknown_champion")


@pytest.mark.parametrize("force", [False, True])
def test_a_comparison_that_does_not_tell_of_a_champion_rejects(judged, force):
    decision = judged.without_champion().drop("comparison/champion_version").decide(override=Override(champion=force))
    assert (decision["outcome"], decision["case"]) == ("reject", "unknown_champion")


def test_champion_figures_without_a_champion_reject(judged):
    assert judged.set("comparison/champion_version", None).decide()["case"] == "unknown_champion"


def test_a_comparison_of_another_file_or_version_rejects(judged):
    assert failed(judged.decide(onnx_sha256="c" * 64)) == ["same_model"]
    assert failed(judged.decide(version="v20261102_000000")) == ["same_model"]


@pytest.mark.parametrize(
    ("path", "name"),
    [
        (f"{OVERALL}/average_correlation", "average_correlation"),
        (f"{RTT}/skill", "skill.rtt_ms"),
        ("latency/p99_ms", "latency_p99"),
        ("parity/all_finite", "all_finite"),
    ],
)
def test_a_value_that_could_not_be_computed_fails_and_says_so(judged, path, name):
    found = check(judged.set(path, None).decide(), name)
    assert (found["verdict"], found["value"]) == ("fail", None)
    assert found["sentence"].endswith("could not be computed.")


def test_a_skill_over_no_named_baseline_fails(judged):
    for baseline in (None, "guesswork", 3):
        assert {"skill.rtt_ms", "within_link_correlation.rtt_ms"} == set(
            failed(judged.set(f"{RTT}/baseline", baseline).decide())
        )


IDLE_LOSS = GatePolicy(name="idle loss", mape_excluded_targets=["packet_loss"])


def test_a_mape_is_left_out_only_where_the_policy_says_so_and_the_decision_says_it_too(judged):
    judged.set("comparison/models/challenger/per_target/packet_loss/mape", None)
    judged.set(f"{OVERALL}/average_mape", None)
    assert failed(judged.decide()) == ["average_mape"]
    decision = judged.decide(IDLE_LOSS)
    assert decision["passed"]
    assert check(decision, "average_mape")["value"] == 2.0
    assert "Packet loss" not in check(decision, "average_mape")["sentence"]
    left_out = check(decision, "mape.packet_loss")
    assert left_out["verdict"] == "not_applicable"
    assert "'idle loss' leaves the MAPE out" in left_out["sentence"]


def test_with_a_mape_left_out_the_others_are_still_judged(judged):
    judged.set(f"{RTT}/mape", 20.0)
    assert check(judged.decide(IDLE_LOSS), "average_mape")["value"] == 8.0
    assert failed(judged.decide(IDLE_LOSS)) == ["average_mape"]
    assert failed(judged.set(f"{RTT}/mape", None).decide(IDLE_LOSS)) == ["average_mape"]


def test_with_every_mape_left_out_each_says_so(judged):
    policy = GatePolicy(name="no mape", mape_excluded_targets=list(schema.TARGETS))
    decision = judged.decide(policy)
    assert decision["passed"]
    assert [one["id"] for one in decision["checks"] if one["verdict"] == "not_applicable"] == [
        f"mape.{target}" for target in schema.TARGETS
    ]


def test_the_decision_holds_the_whole_policy_and_its_digest(judged):
    decision = judged.decide()
    assert (decision["policy"]["name"], decision["policy"]["version"]) == ("guide", 1)
    assert GatePolicy(name="guide", version=1, **decision["policy"]["thresholds"]) == GatePolicy()
    assert decision["policy"]["sha256"] == policy_digest(GatePolicy())
    assert policy_digest(GatePolicy(minimum_skill=0.01)) != policy_digest(GatePolicy())
    assert policy_digest(GatePolicy(version=2)) != policy_digest(GatePolicy())


def test_the_decision_names_the_run_the_snapshot_and_the_bytes(judged):
    decision = judged.decide()
    assert decision["version"] == VERSION
    assert decision["challenger_sha256"] == SHA256
    assert (decision["run_id"], decision["month"], decision["snapshot_id"]) == (
        "manual__2026-11-01", "2026-10", "snap-1",
    )  # fmt: skip


def test_the_same_documents_give_the_same_decision_and_are_left_as_they_were(judged):
    assert judged.decide() == judged.decide()
    assert judged.documents["comparison"] == passing_comparison()


@pytest.mark.parametrize(
    "change",
    [
        {"passed": False},
        {"outcome": "reject"},
        {"case": "no_champion"},
        {"outcome": "bootstrap"},
        {"champion_version": None},
        {"checks": []},
    ],
)
def test_a_decision_that_contradicts_itself_is_no_document(judged, change):
    with pytest.raises(DocumentError):
        encode_document("decision", {**judged.decide(), **change}, name="decision.json")


def test_a_decision_with_a_failed_check_cannot_be_made_to_say_it_passed(judged):
    rejected = judged.set("latency/p99_ms", 11.0).decide()
    with pytest.raises(DocumentError):
        encode_document("decision", {**rejected, "passed": True, "outcome": "promote"}, name="decision.json")


def test_the_summary_gives_the_verdict_and_each_failed_check_with_value_and_threshold(judged):
    lines = summary(judged.set("latency/p99_ms", 12.5).set(f"{RTT}/skill", None).decide()).splitlines()
    assert lines[0].startswith("Rejected: RTT: the skill over the best baseline")
    assert lines[0].endswith("The value could not be computed. 2 of 40 checks failed.")
    assert lines[1].endswith("must be above 0. The value could not be computed.")
    assert lines[2].endswith("since other processes may use the machine); it is 12.5 ms.")
    assert len(lines) == 3


def test_the_summary_of_a_pass_is_its_reason(judged):
    decision = judged.decide()
    assert summary(decision) == decision["reason"]


def test_the_table_has_a_row_for_each_check(judged):
    decision = judged.without_champion().decide()
    rows = check_rows(decision)
    assert len(rows) == len(decision["checks"])
    assert ("pass", check(decision, "latency_p99")["sentence"], "0.9 ms", "≤ 10 ms") in rows
    assert ("pass", check(decision, "onnx_checker")["sentence"], "yes", "= yes") in rows
    assert ("not applicable", check(decision, "champion_error.rtt_ms")["sentence"], "n/a", "≤ 3 %") in rows
