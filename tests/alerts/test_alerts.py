import logging
import subprocess
import sys

import pytest

from bwpredict.alerts import MOST_FINDINGS, Alert, compose, send

ALERT = Alert("bandwidth_predictor_retrain: publish failed", "Run r1 stopped.")
RUN = {"dag_id": "bandwidth_predictor_retrain", "run_id": "manual__2026-10", "run_url": "https://airflow/runs/1"}


def test_a_rejection_says_which_run_which_check_by_how_much_and_where_to_look(decision):
    alert = compose(**RUN, failed_step="publish", decision=decision, report_url="https://x/card.html")
    assert alert.title == "bandwidth_predictor_retrain: model v20261101_000412 was rejected"
    assert "manual__2026-10" in alert.body
    assert "publish" in alert.body
    assert decision["reason"] in alert.body
    assert "The average MAPE over the targets must be below 5 %. (value 7.402 %, threshold < 5 %)" in alert.body
    assert "Run: https://airflow/runs/1" in alert.body
    assert "Report: https://x/card.html" in alert.body


def test_checks_that_passed_are_left_out_of_an_alert(decision):
    assert "forecasts must take at most" not in compose(**RUN, failed_step="publish", decision=decision).body


def test_a_value_that_could_not_be_measured_is_said_to_be_so(decision):
    assert "(value n/a, threshold > 0)" in compose(**RUN, failed_step="publish", decision=decision).body


def test_a_failed_validation_lists_each_error_and_no_warning(validation):
    alert = compose(**RUN, failed_step="validate", validation=validation)
    assert alert.title == "bandwidth_predictor_retrain: telemetry failed validation"
    assert "1 of 3 checks of the telemetry failed." in alert.body
    assert "- packet_loss: 12 of 400 values lie outside 0 to 1; expected 0 to 1." in alert.body
    assert "drift" not in alert.body


def test_a_check_that_could_not_be_evaluated_is_in_the_alert(validation):
    validation["checks"][1] |= {"evaluated": False}
    assert "- throughput_mbps: has drifted" in compose(**RUN, failed_step="validate", validation=validation).body


def test_the_model_in_production_is_named_when_known():
    alert = compose(**RUN, failed_step="train", error="out of memory", production="v20261001_000000")
    assert "In production, unchanged: v20261001_000000" in alert.body


def test_another_error_is_named_with_its_type_and_cut_when_long():
    alert = compose(**RUN, failed_step="train", error=MemoryError("x" * 10_000))
    assert alert.title == "bandwidth_predictor_retrain: train failed"
    assert "MemoryError: xxx" in alert.body
    assert len(alert.body) < 1_000


def test_an_unknown_reason_points_to_the_log():
    assert "see the step's log" in compose(**RUN, failed_step="train").body


def test_many_findings_are_counted_not_listed(decision):
    failed = next(check for check in decision["checks"] if check["verdict"] == "fail")
    decision["checks"] = [failed] * (MOST_FINDINGS + 5)
    body = compose(**RUN, failed_step="publish", decision=decision).body
    assert body.count("\n- The average MAPE") == MOST_FINDINGS
    assert "- and 5 more" in body


def test_an_alert_arrives_at_every_url(receiver):
    assert send([receiver.url(), receiver.url()], ALERT) is True
    assert [(note["title"], note["message"]) for note in receiver.received] == [(ALERT.title, ALERT.body)] * 2
    assert receiver.received[0]["type"] == "failure"


def test_an_alert_with_nowhere_to_go_is_logged(caplog):
    with caplog.at_level(logging.WARNING):
        assert send([], ALERT) is False
    assert ALERT.body in caplog.text
    assert "BWPREDICT_ALERT_URLS" in caplog.text


@pytest.mark.parametrize("credentials", ["", "user:s3cr3t-password@"])
def test_a_target_that_fails_is_logged_without_its_secrets(receiver, caplog, credentials):
    receiver.status = 500
    with caplog.at_level(1):
        assert send([receiver.url(credentials)], ALERT) is False
    assert "alert URL 1 (json://127.0.0.1) did not take the alert" in caplog.text
    assert ALERT.body in caplog.text
    assert "s3cr3t" not in caplog.text
    assert "user" not in caplog.text


def test_a_target_that_fails_does_not_keep_the_others_from_theirs(receiver, caplog):
    assert send(["json://127.0.0.1:1/", receiver.url()], ALERT) is False
    assert len(receiver.received) == 1
    assert "1 of 2 alert URLs took the alert" in caplog.text


@pytest.mark.parametrize(
    "url", ["s3cr3t", "nosuch://s3cr3t/x", "json://[s3cr3t", "tgram://s3cr3t/", "://s3cr3t", "slack://s3cr3t/s3cr3t"]
)
def test_a_url_that_is_none_is_logged_without_its_secrets(caplog, url):
    with caplog.at_level(1):
        assert send([url], ALERT) is False
    assert "alert URL 1" in caplog.text
    assert "s3cr3t" not in caplog.text


def test_loggers_are_as_before_after_sending(receiver):
    send([receiver.url()], ALERT)
    assert not logging.getLogger("apprise").disabled
    assert not logging.getLogger("urllib3.connectionpool").disabled


def test_importing_alerts_is_light():
    code = "import sys, bwpredict.alerts; print({'apprise', 'torch', 'matplotlib', 'jinja2'} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"
