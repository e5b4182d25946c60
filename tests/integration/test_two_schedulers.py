"""Two schedulers on one PostgreSQL: no event or unpausing starts a run that nobody asked for; a month has one model."""

import json
import time
from datetime import UTC, datetime
from http import HTTPStatus

import pytest
import yaml
from airflow_server import JSON, running_airflow
from stack import running_postgres
from whole_airflow import DAG_ID, LENIENT_POLICY, SMALL_TRAINING, runs_of, started_runs_of, wait_for_run, wait_until

from bwpredict.registry.promotion import read_history
from bwpredict.simulation.fleet import FleetConfig
from bwpredict.simulation.writer import write_partitioned
from bwpredict.store.factory import open_store

MINUTELY, TWINS = f"{DAG_ID}__minutely", f"{DAG_ID}__twins"
ANNOUNCED, ANSWER = "bandwidth_model_announced", f"{DAG_ID}_on_degradation"
EVENTS = 12
SECONDS_TO_START_A_RUN = 20


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    root = tmp_path_factory.mktemp("schedulers")
    minutely = {"name": "minutely", "telemetry": str(root / "nothing"), "schedule": "* * * * *"}
    write_partitioned(FleetConfig(links=3, days=10, start="2026-09-01", seed=5), root / "september")
    twins = {"name": "twins", "telemetry": str(root / "september"), "schedule": None, "policy": "lenient"}
    models = [minutely, twins | {"registry": str(root / "twins"), "training": SMALL_TRAINING}]
    (root / "models.yaml").write_text(yaml.safe_dump({"models": models}))
    (root / "policies").mkdir()
    (root / "policies" / "lenient.yaml").write_text(yaml.safe_dump(LENIENT_POLICY))
    with (
        running_postgres() as database,
        running_airflow(
            root,
            "standalone",
            further_schedulers=1,
            AIRFLOW__DATABASE__SQL_ALCHEMY_CONN=database,
            AIRFLOW__CORE__PARALLELISM="2",
            AIRFLOW__SCHEDULER__SCHEDULER_HEARTBEAT_SEC="1",
            BWPREDICT_MODELS=str(root / "models.yaml"),
            BWPREDICT_POLICIES=str(root / "policies"),
        ) as server,
    ):
        wait_until(lambda: jobs_of(server, "SchedulerJob"), lambda jobs: len(jobs) == 2)
        yield server


def test_a_refused_form_and_the_unpausing_before_it_start_nothing(whole):
    unpause(whole, DAG_ID)
    for conf, why in (
        ({"month": "2026-13", "dry_run": True}, "not a month; expected YYYY-MM"),
        ({"polcy": "guide"}, "polcy: unknown param. Did you mean policy?"),
    ):
        refused = trigger(whole, conf)
        assert refused.status == HTTPStatus.BAD_REQUEST
        assert why in refused.json["detail"]
    time.sleep(SECONDS_TO_START_A_RUN)
    assert started_runs_of(whole, DAG_ID) == []
    assert at(whole.api("GET", f"/dags/{DAG_ID}").json["next_dagrun_run_after"]) > datetime.now(UTC)


def test_a_run_that_was_due_before_the_dag_was_unpaused_is_skipped_and_the_next_one_is_not(whole):
    wait_until(lambda: datetime.now(UTC).second, lambda second: 5 < second < 40)
    unpaused = datetime.now(UTC)
    unpause(whole, MINUTELY)

    def after() -> list:
        return [run for run in runs_of(whole, MINUTELY) if at(run["run_after"]) > unpaused]

    asked_for = wait_until(after, bool)[0]
    assert wait_for_run(whole, asked_for["dag_run_id"], MINUTELY)["note"].startswith("Stopped at snapshot: ")
    whole.api("PATCH", f"/dags/{MINUTELY}", {"is_paused": True})
    before = [run for run in runs_of(whole, MINUTELY) if at(run["run_after"]) <= unpaused]
    assert before
    for run in before:
        assert run["state"] == "success"
        assert run["note"].startswith("Skipped: the DAG was unpaused on ")
        assert set(states(whole, MINUTELY, run).values()) == {"skipped"}


def test_no_event_of_a_new_model_starts_two_runs(whole):
    """Airflow may give an event that arrives while a run is created no run: the consumer reads `production.json`."""
    unpause(whole, ANNOUNCED)
    for number in range(EVENTS):
        send_event(whole, "bandwidth_model", {"number": number})
        time.sleep(number % 3 / 2)
    wait_until(lambda: runs_of(whole, ANNOUNCED), all_successful)
    time.sleep(15)  # a scheduler that takes an event a second time does so within its next loops
    runs = wait_until(lambda: runs_of(whole, ANNOUNCED), all_successful)
    events = wait_until(lambda: events_of(whole, "bandwidth_model"), lambda events: len(events) == EVENTS)
    assert all(len(event["created_dagruns"]) <= 1 for event in events)
    started = {run["run_id"] for event in events for run in event["created_dagruns"]}
    assert {run["dag_run_id"] for run in runs} == started


def all_successful(runs):
    return bool(runs) and all(run["state"] == "success" for run in runs)


def test_a_degraded_day_is_answered_with_one_retraining_whatever_is_repeated(whole):
    unpause(whole, ANSWER)
    for count in (1, 2):
        send_event(whole, "bandwidth_model_degraded", {"day": "2026-10-04"})
        answers = wait_until(lambda: runs_of(whole, ANSWER), lambda runs, count=count: len(runs) == count)
        for answer in answers:
            assert wait_for_run(whole, answer["dag_run_id"], ANSWER)["state"] == "success"
    first = min(answers, key=lambda run: run["run_after"])
    again = {"dag_run_id": first["dag_run_id"], "task_ids": ["retrain"], "only_failed": False, "dry_run": False}
    whole.api("POST", f"/dags/{ANSWER}/clearTaskInstances", again)
    assert wait_for_run(whole, first["dag_run_id"], ANSWER)["state"] == "success"
    assert [states(whole, ANSWER, answer) for answer in answers] == [{"retrain": "skipped"}] * 2
    (retraining,) = started_runs_of(whole, DAG_ID)
    assert retraining["dag_run_id"] == "degraded__2026-10-04"
    assert retraining["conf"] == {"month": "2026-10", "history_months": 2}


def test_of_two_runs_for_one_month_one_publishes(whole):
    unpause(whole, TWINS)
    asked = [trigger(whole, {"month": "2026-09"}, TWINS).json["dag_run_id"] for _ in range(2)]
    first, second = (wait_for_run(whole, run_id, TWINS) for run_id in asked)
    assert [first["state"], second["state"]] == ["success", "success"]
    published = [states(whole, TWINS, run)["publish"] for run in (first, second)]
    assert sorted(published) == ["skipped", "success"]
    (production,) = read_history(open_store(str(whole.root / "twins")))
    other = (first, second)[published.index("skipped")]
    assert production.version in other["note"]


def trigger(server, conf, dag_id=DAG_ID):
    body = json.dumps({"logical_date": None, "conf": conf})
    return server.send("POST", f"/api/v2/dags/{dag_id}/dagRuns", content=body, headers=server.headers("admin") | JSON)


def unpause(server, dag_id):
    server.api("PATCH", f"/dags/{dag_id}", {"is_paused": False})


def states(server, dag_id, run):
    path = f"/dags/{dag_id}/dagRuns/{run['dag_run_id'].replace('+', '%2B')}/taskInstances"
    return {task["task_id"]: task["state"] for task in server.api("GET", path).json["task_instances"]}


def asset_id(server, name):
    found = server.api("GET", f"/assets?name_pattern={name}&limit=100").json["assets"]
    return next(asset["id"] for asset in found if asset["name"] == name)


def send_event(server, name, extra):
    server.api("POST", "/assets/events", {"asset_id": asset_id(server, name), "extra": extra})


def events_of(server, name):
    """Airflow answers 500 while a run that an event created waits: the response demands the start of each run."""
    path = f"/api/v2/assets/events?asset_id={asset_id(server, name)}&limit=100"
    answer = server.get(path, "admin")
    return [] if answer.status == 500 else answer.json["asset_events"]


def jobs_of(server, kind):
    return server.api("GET", f"/jobs?job_type={kind}&is_alive=true").json["jobs"]


def at(text):
    return datetime.fromisoformat(text)
