"""Targets that the telemetry lacks: they are not judged, and replace no champion that forecasts them."""

from gate_documents import Judgement

from bwpredict import schema

ABSENT = ["throughput_mbps", "jitter_ms"]


def without(judgement: Judgement, names=ABSENT) -> Judgement:
    """The documents as of telemetry that lacks these targets."""
    comparison = judgement.documents["comparison"]
    comparison["absent_targets"] = list(names)
    comparison["targets"] = [name for name in schema.TARGETS if name not in names]
    for model in comparison["models"].values():
        for name in names:
            model["per_target"][name] = dict.fromkeys(model["per_target"][name])
    for name in names:
        del comparison["intervals"]["per_target"][name]
        if comparison["difference"]:
            comparison["difference"]["per_target"][name] = None
    return judgement


def test_what_is_left_is_judged_and_the_decision_names_what_is_not():
    decision = without(Judgement().without_champion()).decide()
    assert decision["outcome"] == "bootstrap"
    told = [check for check in decision["checks"] if check["target"] in ABSENT]
    assert [check["verdict"] for check in told] == ["not_applicable"] * 2
    assert told[0]["sentence"] == (
        "Throughput: the telemetry lacks it, or training never saw it change; it is neither forecast nor judged."
    )


def test_a_champion_that_forecasts_the_target_stays():
    decision = without(Judgement()).set("comparison/champion_absent_targets", ["jitter_ms"]).decide()
    assert decision["outcome"] == "reject"
    failed = [check["sentence"] for check in decision["checks"] if check["verdict"] == "fail"]
    assert failed == [
        (
            "Throughput: the telemetry lacks it, or training never saw it change, but the champion forecasts it;"
            " check its collector."
        )
    ]


def test_a_champion_of_unknown_targets_stays():
    assert without(Judgement()).decide()["outcome"] == "reject"


def test_a_champion_that_lacked_the_same_targets_may_be_followed():
    decision = without(Judgement()).set("comparison/champion_absent_targets", ABSENT).decide()
    assert decision["outcome"] == "promote"


def test_figures_that_are_missing_for_another_reason_still_fail():
    judgement = without(Judgement().without_champion()).set("comparison/targets", list(schema.TARGETS))
    assert judgement.decide()["outcome"] == "reject"


def test_no_target_at_all_is_nothing_to_pass():
    judgement = without(Judgement().without_champion(), schema.TARGETS)
    decision = judgement.decide() if not judgement.documents["comparison"]["targets"] else None
    assert decision is None or decision["outcome"] == "reject"
