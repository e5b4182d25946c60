"""What people do to runs that have ended: clear a task, back-fill a month. On a whole Airflow."""

import json
from http import HTTPStatus

import pytest
import yaml
from airflow_server import JSON, running_airflow
from whole_airflow import DAG, DAG_ID, LENIENT_POLICY, SMALL_TRAINING, STEPS, contents, wait_for_run, wait_until

from bwpredict.simulation.fleet import FleetConfig
from bwpredict.simulation.writer import write_partitioned

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Its first model, of 2026-08, is in production."""
    root = tmp_path_factory.mktemp("whole-airflow")
    for start in ("2026-08-01", "2026-09-01"):
        write_partitioned(FleetConfig(links=3, days=10, start=start, seed=5), root / "telemetry")
    (root / "policies").mkdir()
    (root / "policies" / "lenient.yaml").write_text(yaml.safe_dump(LENIENT_POLICY))
    models = {"models": [{"name": "default", "policy": "lenient", "training": SMALL_TRAINING}]}
    (root / "models.yaml").write_text(yaml.safe_dump(models))
    with running_airflow(
        root,
        "standalone",
        BWPREDICT_POLICIES=str(root / "policies"),
        BWPREDICT_MODELS=str(root / "models.yaml"),
        AIRFLOW__CORE__PARALLELISM="2",
    ) as server:
        server.api("PATCH", DAG, {"is_paused": False})
        run = server.api("POST", f"{DAG}/dagRuns", {"logical_date": None, "conf": {"month": "2026-08"}}).json
        ended = wait_for_run(server, run["dag_run_id"])
        assert ended["state"] == "success", ended
        assert ended["note"].startswith("Bootstrap: "), ended
        yield server


@pytest.fixture(scope="module")
def first_run(whole):
    """The run that published the first model."""
    runs = whole.api("GET", f"{DAG}/dagRuns?run_type=manual&order_by=run_after").json["dag_runs"]
    return runs[0]["dag_run_id"]


@pytest.mark.parametrize("step", STEPS)
def test_clearing_a_task_of_a_finished_run_runs_it_again_and_changes_nothing_in_the_registry(whole, first_run, step):
    before = published(whole)
    again = {"dag_run_id": first_run, "task_ids": [step], "only_failed": False, "dry_run": False}
    whole.api("POST", f"{DAG}/clearTaskInstances", again)
    assert wait_for_run(whole, first_run)["state"] == "success"
    task = task_of(whole, first_run, step)
    assert (task["state"], task["try_number"]) == ("success", 2)
    assert published(whole) == before


def test_clearing_the_verdict_of_a_rejected_run_rejects_again_and_publishes_nothing(whole):
    before = published(whole)
    conf = {"month": "2026-09", "gate_overrides": {"minimum_skill": 0.99}}
    run = whole.api("POST", f"{DAG}/dagRuns", {"logical_date": None, "conf": conf}).json["dag_run_id"]
    assert wait_for_run(whole, run)["state"] == "failed"
    decision = (whole.root / "work" / run / "decision.json").read_bytes()
    again = {"dag_run_id": run, "task_ids": ["decide"], "only_failed": False, "dry_run": False}
    whole.api("POST", f"{DAG}/clearTaskInstances", again | {"include_downstream": True})
    ended = wait_for_run(whole, run)
    assert ended["state"] == "failed"
    assert ended["note"].startswith("Rejected: ")
    assert task_of(whole, run, "publish")["state"] == "upstream_failed"
    assert (whole.root / "work" / run / "decision.json").read_bytes() == decision
    assert published(whole) == before


def test_a_back_fill_gives_what_the_month_would_have_given_and_moves_nothing(whole, first_run):
    before = published(whole)
    day = "2026-09-01T00:00:00Z"
    asked = {"dag_id": DAG_ID, "from_date": day, "to_date": day, "dag_run_conf": {"month": "2026-08"}}
    wait_until(lambda: ask_for_a_back_fill(whole, asked), lambda status: status == HTTPStatus.OK)
    (run,) = wait_until(lambda: whole.api("GET", f"{DAG}/dagRuns?run_type=backfill").json["dag_runs"], bool)
    assert wait_for_run(whole, run["dag_run_id"])["state"] == "success"
    assert task_of(whole, run["dag_run_id"], "publish")["state"] == "skipped"
    decision = json.loads((whole.root / "work" / run["dag_run_id"] / "decision.json").read_text())
    assert (decision["month"], decision["outcome"], decision["champion_version"]) == ("2026-08", "bootstrap", None)
    assert published(whole) == before


def ask_for_a_back_fill(whole, asked):
    """Airflow refuses it on SQLite while another of its parts writes, or has just done so: then one asks again."""
    answer = whole.send("POST", "/api/v2/backfills", content=json.dumps(asked), headers=whole.headers("admin") | JSON)
    assert answer.status in (HTTPStatus.OK, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.CONFLICT), answer
    return answer.status


def task_of(whole, run, step):
    place = 0 if step == "check" else -1
    return whole.api("GET", f"{DAG}/dagRuns/{run.replace('+', '%2B')}/taskInstances/{step}/{place}").json


def published(whole):
    """Everything that consumers may read; what was alerted about is in the registry too, and comes and goes."""
    return {name: content for name, content in contents(whole.root / "registry").items() if "alerts/" not in name}
