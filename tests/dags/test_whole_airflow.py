"""Clearing, back-fill, approval and the answer to an alarm, in a complete Airflow."""

import json
import time
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

import pytest
import yaml
from airflow_server import JSON, AirflowServer, running_airflow
from degraded_model import ALARM, prepare
from whole_airflow import (
    DAG,
    DAG_ID,
    LENIENT_POLICY,
    SMALL_TRAINING,
    STEPS,
    contents,
    runs_of,
    started_runs_of,
    wait_for_run,
    wait_until,
)

from bwpredict.simulation.fleet import FleetConfig
from bwpredict.simulation.writer import write_partitioned

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

WATCHED = "watched"
"""A second model, which has got worse; its stores are in the folder of this name."""
MONITOR, ANSWER, RETRAIN = (
    f"bandwidth_predictor_{name}__{WATCHED}" for name in ("monitor", "retrain_on_degradation", "retrain")
)
DAG_FOLDER = "airflow.dag_processing.bundles.local.LocalDagBundle"
BUNDLES = [
    {"name": "dags-folder", "classpath": DAG_FOLDER, "kwargs": {}},
    {"name": "approval", "classpath": DAG_FOLDER, "kwargs": {"path": str(Path(__file__).with_name("approval_dags"))}},
]
ENDED = {"success", "failed", "upstream_failed", "skipped"}
ANSWER_DELAY_SECONDS = 20
"""If an answer comes before the scheduler knows that the task waits, Airflow asks again."""
STEP_TIMEOUT_SECONDS = 240
"""On a machine that is busy with others."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The first model of `default`, of 2026-08, is in production."""
    root = tmp_path_factory.mktemp("whole-airflow")
    for start in ("2026-08-01", "2026-09-01"):
        write_partitioned(FleetConfig(links=3, days=10, start=start, seed=5), root / "telemetry")
    (root / "policies").mkdir()
    (root / "policies" / "lenient.yaml").write_text(yaml.safe_dump(LENIENT_POLICY))
    stores = {name: str(root / WATCHED / name) for name in ("telemetry", "registry")}
    prepare(**stores, scratch=root / WATCHED)
    common = {"policy": "lenient", "training": SMALL_TRAINING}
    models = {"models": [{"name": "default", **common}, {"name": WATCHED, **stores, **common}]}
    (root / "models.yaml").write_text(yaml.safe_dump(models))
    with running_airflow(
        root,
        "standalone",
        BWPREDICT_POLICIES=str(root / "policies"),
        BWPREDICT_MODELS=str(root / "models.yaml"),
        AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST=json.dumps(BUNDLES),
        AIRFLOW__CORE__PARALLELISM="2",
        AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT="120",  # on a machine that is busy with others
    ) as server:
        for dag in (DAG_ID, "approval", MONITOR, ANSWER, RETRAIN):
            server.api("PATCH", f"/dags/{dag}", {"is_paused": False})
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


def test_a_run_waits_for_a_person_only_if_asked_to_and_publishes_only_what_was_approved(whole):
    assert ask(whole).wait(*ENDED, task="publish")["publish"] == "success"
    approved, refused = (ask(whole, human_approval=True) for _ in range(2))
    late = ask(whole, human_approval=True, approval_hours=0.001)
    for run in (approved, refused):
        assert run.wait("awaiting_input").get("publish") is None
        assert "all checks passed {{ not a template }}" in run.question["body"]
    time.sleep(ANSWER_DELAY_SECONDS)
    for run, chosen in ((approved, "Approve"), (refused, "Reject")):
        assert run.answer(chosen)
    assert approved.wait(*ENDED, task="publish") == dict.fromkeys(("decide", "approve", "publish"), "success")
    logged = whole.api("GET", "/eventLogs?event=update_hitl_detail&limit=100").json["event_logs"]
    assert {json.loads(entry["extra"])["chosen_options"][0] for entry in logged} == {"Approve", "Reject"}
    assert all(entry["owner"] for entry in logged)
    for run in (refused, late):
        ended = run.wait(*ENDED, task="publish")
        assert (ended["approve"], ended["publish"]) == ("failed", "upstream_failed")


def test_an_answer_in_the_moment_of_the_question_publishes_at_once_or_is_asked_for_again(whole):
    run, answers = ask(whole, human_approval=True), []

    def ended():
        state = run.states().get("approve")
        asked = run.question if state in ("running", "awaiting_input") else None
        if asked and not asked["response_received"]:
            time.sleep(ANSWER_DELAY_SECONDS if answers else 0)
            answers.extend(["Approve"] if run.answer("Approve") else [])
        return state in ENDED

    wait_until(ended, bool, within_seconds=STEP_TIMEOUT_SECONDS, every_seconds=0.05)
    assert 1 <= len(answers) <= 2
    assert run.wait(*ENDED, task="publish") == dict.fromkeys(("decide", "approve", "publish"), "success")


def test_the_scheduler_answers_the_event_of_a_sustained_drop_with_a_retraining_on_the_month_of_the_alarm(whole):
    day = ALARM.isoformat()
    asked = whole.api("POST", f"/dags/{MONITOR}/dagRuns", {"logical_date": None, "conf": {"day": day}}).json
    assert wait_for_run(whole, asked["dag_run_id"], MONITOR)["state"] == "success"
    (answer,) = wait_until(lambda: runs_of(whole, ANSWER), bool)
    assert answer["run_type"] == "asset_triggered"
    assert wait_for_run(whole, answer["dag_run_id"], ANSWER)["state"] == "success"
    (retraining,) = started_runs_of(whole, RETRAIN)
    assert retraining["dag_run_id"] == f"degraded__{day}"
    assert retraining["conf"] == {"month": day[:7], "history_months": 2}


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


@dataclass(frozen=True)
class Asked:
    """A run of the DAG `approval`, and what a person sees of it and does. A server that is busy is asked again."""

    server: AirflowServer
    path: str

    def states(self):
        answer = self.server.get(self.path, "admin")
        tasks = answer.json["task_instances"] if answer.status == HTTPStatus.OK else []
        return {task["task_id"]: task["state"] for task in tasks}

    def wait(self, *states, task="approve"):
        """The states of all tasks once `task` is in one of `states`."""
        return wait_until(self.states, lambda found: found.get(task) in states, within_seconds=STEP_TIMEOUT_SECONDS)

    @property
    def question(self):
        """None: it has not been asked yet."""
        answer = self.server.get(f"{self.path}/approve/-1/hitlDetails", "admin")
        return answer.json if answer.status == HTTPStatus.OK else None

    def answer(self, chosen):
        """Whether Airflow took the answer."""
        content, headers = json.dumps({"chosen_options": [chosen]}), self.server.headers("admin") | JSON
        answer = self.server.send("PATCH", f"{self.path}/approve/-1/hitlDetails", content=content, headers=headers)
        return answer.status == HTTPStatus.OK


def ask(whole, **params):
    """Start a run of the DAG `approval`."""
    run = whole.api("POST", "/dags/approval/dagRuns", {"logical_date": None, "conf": params}).json
    return Asked(whole, f"/api/v2/dags/approval/dagRuns/{run['dag_run_id']}/taskInstances")
