import json
from pathlib import Path

import pytest
from whole_airflow import STEPS

from bwpredict.documents import read_document
from bwpredict.registry.promotion import read_history, read_production
from bwpredict.store.factory import open_store

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

VERDICTS = ("reject", "broken_telemetry", "empty_month")


def ended(run, step):
    """All steps before `step` succeeded, `step` failed at its first try, and none after it ran."""
    place = STEPS.index(step)
    expected = {name: "success" if STEPS.index(name) < place else "upstream_failed" for name in STEPS}
    return run["state"] == "failed" and run["tasks"] == expected | {step: "failed"} and run["tries"][step] == 1


def decision_of(run):
    return read_document(Path(run["area"]) / "decision.json", "decision")


def test_the_first_month_is_published_as_a_bootstrap(scenarios):
    run = scenarios.runs["bootstrap"]
    assert run["tasks"] == dict.fromkeys(STEPS, "success")
    assert decision_of(run)["outcome"] == "bootstrap"
    assert decision_of(run)["policy"]["name"].startswith("guide (overridden: ")


def test_a_better_challenger_takes_the_place_of_the_champion(scenarios):
    run, store = scenarios.runs["promote"], open_store(str(scenarios.registry))
    assert run["tasks"] == dict.fromkeys(STEPS, "success")
    assert decision_of(run)["outcome"] == "promote"
    first, second = read_history(store)
    assert (first.version, first.month) == (decision_of(scenarios.runs["bootstrap"])["version"], "2026-08")
    assert (second.version, second.month) == (decision_of(run)["version"], "2026-09")
    assert second.replaced == first.version
    assert read_production(store) == second


def test_a_rejected_challenger_ends_red_at_decide_and_production_stays(scenarios):
    run = scenarios.runs["reject"]
    assert ended(run, "decide")
    assert decision_of(run)["outcome"] == "reject"
    assert decision_of(run)["reason"] in scenarios.log_of("reject")
    assert (Path(run["area"]) / "model_card.html").exists()
    published = [move.version for move in read_history(open_store(str(scenarios.registry)))]
    assert decision_of(run)["version"] not in published


def test_where_the_test_days_cannot_tell_the_run_is_green_and_production_stays(scenarios):
    run = scenarios.runs["keep"]
    assert run["state"] == "success"
    assert run["tasks"] == dict.fromkeys(STEPS, "success") | {"publish": "skipped"}
    assert decision_of(run)["outcome"] == "keep"
    assert "3 test days are too few to tell" in decision_of(run)["reason"]
    assert decision_of(run)["reason"] in scenarios.log_of("keep")
    assert run["asset_events"] == []
    published = [move.version for move in read_history(open_store(str(scenarios.registry)))]
    assert decision_of(run)["version"] not in published


def test_a_model_trained_elsewhere_goes_through_the_tasks_and_is_not_trained(scenarios):
    run = scenarios.runs["judge"]
    assert run["tasks"] == dict.fromkeys(STEPS, "success") | {"publish": "skipped"}
    decision = decision_of(run)
    assert decision["outcome"] == "keep"
    assert decision["trained_elsewhere"]["name"] == "guest.onnx"
    assert decision["trained_elsewhere"]["sentence"] in decision["reason"]
    assert not (Path(run["area"]) / "best_model.pth").exists()
    assert "epoch 1/1" not in scenarios.log_of("judge")


def test_a_dry_run_publishes_nothing(scenarios):
    run = scenarios.runs["dry_run"]
    assert run["state"] == "success"
    assert run["tasks"] == dict.fromkeys(STEPS, "success") | {"publish": "skipped"}
    assert "This is a dry run" in scenarios.log_of("dry_run")


def test_broken_telemetry_stops_the_run_before_training(scenarios):
    run = scenarios.runs["broken_telemetry"]
    assert ended(run, "validate")
    result = read_document(Path(run["area"]) / "validation.json", "validation")
    broken = [check["sentence"] for check in result["checks"] if not check["passed"] and check["severity"] == "error"]
    assert broken
    assert all(sentence in scenarios.log_of("broken_telemetry") for sentence in broken[:3])
    assert (Path(run["area"]) / "validation" / "data_docs" / "index.html").exists()


def test_an_unknown_month_stops_at_pull_with_a_sentence(scenarios):
    assert ended(scenarios.runs["empty_month"], "snapshot")
    assert "2031-01" in scenarios.log_of("empty_month").split("task_id=snapshot")[1]


@pytest.mark.parametrize("name", VERDICTS)
def test_a_verdict_leaves_its_reason_in_the_log_and_no_stack_trace(scenarios, name):
    log = scenarios.log_of(name)
    assert "Traceback" not in log
    assert "[error    ]" in log


@pytest.mark.parametrize("name", ["bootstrap", "promote"])
def test_the_log_of_a_good_run_has_no_error_and_no_chatter_of_great_expectations(scenarios, name):
    log = scenarios.log_of(name)
    assert "[error    ]" not in log
    assert "[great_expectations" not in log
    assert "epoch 1/1" in log


def test_only_a_published_model_sends_an_asset_event_and_names_its_version(scenarios):
    events = {name: run["asset_events"] for name, run in scenarios.runs.items()}
    assert {name for name, sent in events.items() if sent} == {"bootstrap", "promote"}
    (event,) = events["promote"]
    assert event["version"] == decision_of(scenarios.runs["promote"])["version"]
    assert (event["month"], event["kind"]) == ("2026-09", "promotion")
    assert set(event["metrics"]) == {"average_correlation", "average_mape", "skill"}
    assert set(event["metrics"]["skill"]) == {"throughput_mbps", "rtt_ms", "packet_loss", "jitter_ms"}


def test_each_failed_run_sends_one_alert_that_says_what_failed_and_where_to_look(scenarios):
    rejected, recovered, broken, empty, kept, stays = scenarios.alerts
    assert "Recovered: " in kept["title"]  # a run in which production stays is no incident
    assert "production unchanged for 1 run in a row" in stays["title"]
    assert "3 test days are too few to tell" in stays["message"]
    assert "Recovered: bandwidth_predictor_retrain: model" in recovered["title"]
    assert scenarios.runs["promote"]["run_id"] in recovered["message"]
    assert "was rejected" in rejected["title"]
    assert "must be above 0.99" in rejected["message"]
    assert "model_card.html" in rejected["message"]
    assert "telemetry failed validation" in broken["title"]
    assert "data_docs/index.html" in broken["message"]
    assert "snapshot failed" in empty["title"]
    served = [move.version for move in read_history(open_store(str(scenarios.registry)))]
    for alert, name, version in zip(
        (rejected, broken, empty), VERDICTS, (served[0], served[1], served[1]), strict=True
    ):
        assert scenarios.runs[name]["run_id"] in alert["message"]
        assert f"In production: {version}, unchanged by this run" in alert["message"]
        assert "/dags/bandwidth_predictor_retrain/runs/" in alert["message"]
    assert "Traceback" not in json.dumps(scenarios.alerts)
