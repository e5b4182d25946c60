"""What people do to runs that have ended: clear a task, back-fill a month. On a whole Airflow."""

import json

import pytest
from whole_airflow import DAG, DAG_ID, contents, wait_for_run, wait_until

STEPS = ["plan", "pull", "validate", "train", "export", "compare", "decide", "publish"]

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("step", STEPS)
def test_clearing_a_task_of_a_finished_run_runs_it_again_and_changes_nothing_in_the_registry(airflow, first_run, step):
    before = contents(airflow.root / "registry")
    again = {"dag_run_id": first_run, "task_ids": [step], "only_failed": False, "dry_run": False}
    airflow.api("POST", f"{DAG}/clearTaskInstances", again)
    assert wait_for_run(airflow, first_run)["state"] == "success"
    task = airflow.api("GET", f"{DAG}/dagRuns/{first_run.replace('+', '%2B')}/taskInstances/{step}").json
    assert (task["state"], task["try_number"]) == ("success", 2)
    assert contents(airflow.root / "registry") == before


def test_a_back_fill_gives_what_the_month_would_have_given_and_moves_nothing(airflow, first_run):
    before = contents(airflow.root / "registry")
    day = "2026-09-01T00:00:00Z"
    asked = {"dag_id": DAG_ID, "from_date": day, "to_date": day, "dag_run_conf": {"month": "2026-08"}}
    airflow.api("POST", "/backfills", asked)
    (run,) = wait_until(lambda: airflow.api("GET", f"{DAG}/dagRuns?run_type=backfill").json["dag_runs"], bool)
    assert wait_for_run(airflow, run["dag_run_id"])["state"] == "success"
    path = f"{DAG}/dagRuns/{run['dag_run_id'].replace('+', '%2B')}/taskInstances/publish"
    assert airflow.api("GET", path).json["state"] == "skipped"
    decision = json.loads((airflow.root / "work" / run["dag_run_id"] / "decision.json").read_text())
    assert (decision["month"], decision["outcome"], decision["champion_version"]) == ("2026-08", "bootstrap", None)
    assert contents(airflow.root / "registry") == before
