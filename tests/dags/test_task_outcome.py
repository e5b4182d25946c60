import logging
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from airflow.sdk.definitions.retry_policy import RetryAction
from bwpredict_airflow.notifier import AlertNotifier, compose
from bwpredict_airflow.step_tasks import run_step
from bwpredict_airflow.task_errors import NO_RETRY_ON_A_VERDICT, Interrupted, Stopped, one_line_errors

from bwpredict.config import RunConfig, Settings
from bwpredict.errors import (
    BwPredictError,
    ConfigError,
    ConflictError,
    GateRejected,
    StoreUnreachableError,
    TelemetryError,
    UnknownOutcomeError,
    ValidationFailed,
)
from bwpredict.pipeline.steps import plan, snapshot

NOW = datetime(2026, 11, 1, tzinfo=UTC)


def stopped_by(error: BwPredictError) -> Stopped:
    with pytest.raises(Stopped) as stop, one_line_errors():
        raise error
    return stop.value


def retry_of(error: BwPredictError) -> RetryAction:
    return NO_RETRY_ON_A_VERDICT.evaluate(stopped_by(error), try_number=1, max_tries=2).action


@pytest.mark.parametrize("error", [ValidationFailed, GateRejected, ConfigError, TelemetryError, ConflictError])
def test_a_verdict_or_an_unusable_input_is_not_tried_again(error: type[BwPredictError]):
    assert retry_of(error("so it is.")) is RetryAction.FAIL


@pytest.mark.parametrize("error", [StoreUnreachableError, UnknownOutcomeError])
def test_a_store_that_did_not_answer_is_tried_again(error: type[BwPredictError]):
    assert isinstance(stopped_by(error("no answer.")), Interrupted)
    assert retry_of(error("no answer.")) is RetryAction.RETRY


def test_any_other_error_keeps_its_stack_trace_and_airflows_own_retries():
    with pytest.raises(ZeroDivisionError), one_line_errors():
        _ = 1 / 0
    decided = NO_RETRY_ON_A_VERDICT.evaluate(ZeroDivisionError(), try_number=1, max_tries=2)
    assert decided.action is RetryAction.DEFAULT


def test_the_reason_is_logged_once_and_travels_with_the_stop(caplog: pytest.LogCaptureFixture):
    stop = stopped_by(GateRejected("The skill is too low."))
    assert stop.reason == "The skill is too low."
    assert stop.code == GateRejected.exit_code
    assert [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR] == [stop.reason]
    assert not caplog.records[0].exc_info


def test_a_step_hands_on_a_path_and_a_checksum(tmp_path):
    (tmp_path / "telemetry").mkdir()
    run = RunConfig(
        run_id="r1",
        version="v20261101_000000",
        month="2026-10",
        telemetry=str(tmp_path / "telemetry"),
        registry=str(tmp_path / "registry"),
        code_version="abc",
        created_at=datetime(2026, 11, 1, tzinfo=UTC).isoformat(),
    )
    planned = plan(run, tmp_path)
    handed = run_step(lambda _: planned, {"path": planned.path, "sha256": planned.sha256})
    assert handed == {"path": planned.path, "sha256": planned.sha256}
    with pytest.raises(Stopped) as stop:
        run_step(snapshot, handed)
    assert "telemetry" in stop.value.reason


def context(**more: object) -> dict[str, object]:
    return {"dag": SimpleNamespace(dag_id="retrain"), "run_id": "manual__2026-11-01T00:00:00+00:00", **more}


def settings(tmp_path) -> Settings:
    return Settings(work=tmp_path, registry=str(tmp_path / "registry"), base_url="https://airflow.example/")


def test_the_alert_links_to_the_run_and_gives_the_reason(tmp_path):
    failed = context(ti=SimpleNamespace(task_id="snapshot"), exception=stopped_by(TelemetryError("October is empty.")))
    text = compose(failed, settings(tmp_path), now=NOW).alert.text
    assert "https://airflow.example/dags/retrain/runs/manual__2026-11-01T00%3A00%3A00%2B00%3A00" in text
    assert "stopped at the step snapshot: October is empty." in text


def test_an_unexpected_error_is_named_by_its_type(tmp_path):
    failed = context(ti=SimpleNamespace(task_id="train"), exception=MemoryError("out of memory"))
    assert "MemoryError: out of memory" in compose(failed, settings(tmp_path), now=NOW).alert.text


def test_a_run_that_timed_out_alerts_once_and_a_failed_task_does_not_alert_twice(caplog, monkeypatch, tmp_path):
    monkeypatch.setenv("BWPREDICT_WORK", str(tmp_path))
    monkeypatch.setenv("BWPREDICT_REGISTRY", str(tmp_path / "registry"))
    monkeypatch.delenv("BWPREDICT_ALERT_URLS", raising=False)
    AlertNotifier()(context(reason="task_failure"))
    assert not caplog.records
    AlertNotifier()(context(reason="timed_out", ti=SimpleNamespace(task_id="train")))
    assert "timed_out" in caplog.text
    assert "No alert URL is configured" in caplog.text
