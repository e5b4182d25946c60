"""The alert about a month whose model is late, and which runs publish."""

import asyncio
from types import SimpleNamespace

import pytest
from airflow.sdk.exceptions import AirflowSkipException
from bwpredict_airflow.deadline import send_deadline_alert
from bwpredict_airflow.task_errors import skip_unless_to_publish
from fixtures_alerts import running_receiver

RUN = {
    "dag_id": "bandwidth_predictor_retrain",
    "dag_run_id": "scheduled__2026-11-01",
    "queued_at": "2026-11-01T00:00:02Z",
    "state": "running",
}


def test_a_run_that_still_goes_on_is_told_of_with_its_address(monkeypatch):
    with running_receiver() as receiver:
        monkeypatch.setenv("BWPREDICT_ALERT_URLS", receiver.url())
        monkeypatch.setenv("BWPREDICT_BASE_URL", "https://airflow.example")
        asyncio.run(send_deadline_alert({"dag_run": RUN}))
    (alert,) = receiver.received
    assert alert["title"] == "bandwidth_predictor_retrain: the month's model is late"
    assert "https://airflow.example/dags/bandwidth_predictor_retrain/runs/scheduled__2026-11-01" in alert["message"]


@pytest.mark.parametrize("state", ["success", "failed"])
def test_a_run_that_has_ended_is_not_late(monkeypatch, state):
    with running_receiver() as receiver:
        monkeypatch.setenv("BWPREDICT_ALERT_URLS", receiver.url())
        asyncio.run(send_deadline_alert({"dag_run": RUN | {"state": state}}))
    assert receiver.received == []


@pytest.mark.parametrize(
    ("run_type", "dry_run", "past_months", "publishes"),
    [
        ("scheduled", False, False, True),
        ("manual", False, False, True),
        ("manual", True, False, False),
        ("backfill", False, False, False),
        ("backfill", False, True, True),
        ("backfill", True, True, False),
    ],
)
def test_dry_runs_never_publish_and_back_fills_only_where_that_is_asked_for(run_type, dry_run, past_months, publishes):
    context = {
        "ti": SimpleNamespace(xcom_pull=lambda **_: {"outcome": "promote", "reason": "Promote: all is well."}),
        "params": {"dry_run": dry_run, "publish_past_months": past_months},
        "dag_run": SimpleNamespace(run_type=run_type),
    }
    if publishes:
        skip_unless_to_publish(context)
    else:
        with pytest.raises(AirflowSkipException):
            skip_unless_to_publish(context)


def test_a_run_whose_test_days_cannot_tell_skips_its_publication_with_the_reason():
    decided = {"outcome": "keep", "reason": "Production stays: 3 test days are too few to tell."}
    context = {
        "ti": SimpleNamespace(xcom_pull=lambda **_: decided),
        "params": {"dry_run": False, "publish_past_months": False},
        "dag_run": SimpleNamespace(run_type="scheduled"),
    }
    with pytest.raises(AirflowSkipException, match="3 test days are too few to tell"):
        skip_unless_to_publish(context)
