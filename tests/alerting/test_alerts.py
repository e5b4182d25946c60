import logging
import subprocess
import sys
from datetime import UTC, datetime

import pytest

from bwpredict.alerting.alerts import MAX_FINDINGS, Alert, compose, production_stays, send, served

ALERT = Alert("bandwidth_predictor_retrain: publish failed", "Run r1 stopped.")
NOW = datetime(2026, 11, 1, 0, 14, tzinfo=UTC)
RUN = {
    "dag_id": "bandwidth_predictor_retrain",
    "run_id": "manual__2026-10",
    "run_url": "https://airflow/runs/1",
    "since": NOW,
    "production": "v20261001_000000, unchanged by this run",
}


def told(**run: object) -> Alert:
    return compose(**RUN, **run).alert


def test_a_rejection_says_which_run_which_check_by_how_much_and_where_to_look(decision):
    alert = told(failed_step="publish", decision=decision, report_url="https://x/card.html")
    assert alert.title == "bandwidth_predictor_retrain: model v20261101_000412 was rejected"
    assert "manual__2026-10" in alert.body
    assert "publish" in alert.body
    assert decision["reason"] in alert.body
    assert "The average MAPE over the targets must be below 5 %; it is 7.402 %" in alert.body
    assert "Run: https://airflow/runs/1" in alert.body
    assert "Report: https://x/card.html" in alert.body


def test_checks_that_passed_are_left_out_of_an_alert(decision):
    assert "forecasts must take at most" not in told(failed_step="publish", decision=decision).body


def test_a_value_that_could_not_be_measured_is_said_to_be_so(decision):
    decision["checks"] = [check for check in decision["checks"] if check["value"] is None]
    assert "must be above 0. The value could not be computed" in told(failed_step="publish", decision=decision).body


def test_a_failed_validation_lists_each_error_and_no_warning(validation):
    alert = told(failed_step="validate", validation=validation)
    assert alert.title == "bandwidth_predictor_retrain: telemetry failed validation"
    assert "1 of 3 checks of the telemetry failed." in alert.body
    assert "Measured: packet_loss: 12 of 400 values are outside 0 to 1; expected 0 to 1\n" in alert.body
    assert "drift" not in alert.body


def test_a_check_that_could_not_be_evaluated_is_in_the_alert(validation):
    validation["checks"][1] |= {"evaluated": False}
    assert "throughput_mbps: has drifted" in told(failed_step="validate", validation=validation).body


def test_an_alert_has_the_five_lines_that_a_person_on_call_needs(decision, validation):
    for run in ({"decision": decision}, {"validation": validation}, {"error": "out of memory\nat line 3"}):
        lines = told(failed_step="train", **run).body.splitlines()
        assert [line.partition(": ")[0] for line in lines] == ["What", "Since", "Measured", "In production", "To do"]
        assert all(line.partition(": ")[2] for line in lines)
        assert lines[1:2] + lines[3:4] == [
            "Since: 2026-11-01 00:14 UTC",
            "In production: v20261001_000000, unchanged by this run",
        ]


def test_a_production_that_stays_for_long_is_told_with_the_reason_and_the_drift(decision):
    drift = "Drift since the champion's training data: RTT."
    reason = f"Production stays: RTT error may be up to 4 % above production's; the limit is 3 %. {drift}"
    alert = production_stays(**RUN, count=3, decision=decision | {"reason": reason}).alert
    assert alert.title == "bandwidth_predictor_retrain: production unchanged for 3 runs in a row"
    assert reason in alert.body


def test_what_is_served_is_said_as_it_is():
    assert served("v1", promoted_by="run r0", run_id="r1") == "v1, unchanged by this run"
    assert served("v1", promoted_by="run r1", run_id="r1") == "v1, which this run put there before it failed"
    assert served(None, promoted_by=None, run_id="r1") == "nothing yet"


def test_the_same_trouble_in_another_run_has_the_same_cause_and_another_has_not(decision):
    def cause(error):
        return compose(**RUN, failed_step="snapshot", error=error).cause

    assert cause("run a1b2 of 2026-10: bucket x does not answer") == cause(
        "run ffe0 of 2026-11: bucket x does not answer"
    )
    assert cause("bucket x does not answer") != cause("bucket y does not answer")
    assert compose(**RUN, failed_step="decide", decision=decision).cause.startswith("decide: ")


def test_another_error_is_named_with_its_type_and_cut_when_long():
    alert = told(failed_step="train", error=MemoryError("x" * 10_000))
    assert alert.title == "bandwidth_predictor_retrain: train failed"
    assert "MemoryError: xxx" in alert.body
    assert len(alert.body) < 1_000


def test_an_unknown_reason_points_to_the_log():
    assert "see the step's log" in told(failed_step="train").body


def test_many_findings_are_counted_not_listed(decision):
    failed = next(check for check in decision["checks"] if check["verdict"] == "fail")
    decision["checks"] = [failed] * (MAX_FINDINGS + 5)
    body = told(failed_step="publish", decision=decision).body
    assert body.count("The average MAPE over") == 1 + MAX_FINDINGS  # the reason names the first, too
    assert "; and 5 more, see the report" in body


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
    assert "alert URL 1 (json://127.0.0.1) did not accept the alert" in caplog.text
    assert ALERT.body in caplog.text
    assert "s3cr3t" not in caplog.text
    assert "user" not in caplog.text


def test_a_target_that_fails_does_not_keep_the_others_from_theirs(receiver, caplog):
    assert send(["json://127.0.0.1:1/", receiver.url()], ALERT) is False
    assert len(receiver.received) == 1
    assert "1 of 2 alert URLs accepted the alert" in caplog.text


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
    code = (
        "import sys, bwpredict.alerting.alerts; print({'apprise', 'torch', 'matplotlib', 'jinja2'} & set(sys.modules))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"
