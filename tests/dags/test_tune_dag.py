"""The DAG of the search: how it is made, and one run of it up to the retraining that takes its result."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from bwpredict.config import RunConfig, TrainingConfig
from bwpredict.store.factory import open_store
from bwpredict.tuning.config_files import parse

TASKS = ["plan", "snapshot", "validate", "open_study", "trial", "propose"]


@pytest.fixture(scope="module")
def dag(facts: dict[str, Any]) -> dict[str, Any]:
    return facts["dags"]["bandwidth_predictor_tune"]


@pytest.fixture(scope="module")
def tasks(dag: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {task["id"]: task for task in dag["tasks"]}


def test_it_is_named_after_its_file_documented_and_run_by_hand_only(dag):
    assert dag["file"] == "bandwidth_predictor_tune"
    assert "tune approve" in dag["doc"]
    assert (dag["timetable"], dag["max_active_runs"]) == ("NullTimetable", 1)


def test_a_study_is_opened_on_validated_telemetry_and_every_trial_comes_before_the_proposal(tasks):
    assert list(tasks) == TASKS
    for before, after in pairwise(TASKS):
        assert after in tasks[before]["downstream"]
    assert tasks["trial"]["mapped"]


def test_trials_run_on_the_gpu_in_a_pool_of_their_own_after_any_retraining(facts, tasks):
    trial, others = tasks["trial"], [task for name, task in tasks.items() if name != "trial"]
    assert (trial["queue"], trial["pool"]) == ("gpu", "tune")
    assert {(task["queue"], task["pool"]) for task in others} == {("default", "default_pool")}
    (train,) = (task for task in facts["dags"]["bandwidth_predictor_retrain"]["tasks"] if task["id"] == "train")
    assert (trial["priority"], train["priority"]) == ([1, "absolute"], [100, "absolute"])
    assert trial["pool"] != train["pool"]


@pytest.mark.parametrize("task", TASKS)
def test_a_task_has_docs_an_owner_a_time_out_an_alert_and_no_retry_on_a_verdict(tasks, dag, task):
    made = tasks[task]
    assert len(made["doc"]) > 40
    assert made["owner"] == "bandwidth-prediction"
    assert 0 < made["timeout_s"] < dag["run_timeout_s"]
    assert made["alerts"] == dag["alerts"] == ["AlertNotifier"]
    assert made["retries"] > 0
    assert made["rules"] == [["Interrupted", "retry"], ["Stopped", "fail"]]


def test_a_run_of_the_default_size_has_time_for_all_its_trials_one_by_one(dag, tasks):
    before_and_after = sum(task["timeout_s"] for name, task in tasks.items() if name != "trial")
    trials = dag["params"]["trials"]["value"] * tasks["trial"]["timeout_s"]
    assert before_and_after + trials <= dag["run_timeout_s"]


def test_the_form_has_title_help_and_type_for_every_param(dag):
    assert set(dag["params"]) == {
        *("month", "history_months", "trials", "pruner", "study", "epochs", "windows_per_epoch", "seed"),
    }
    for param in dag["params"].values():
        assert len(param["description"]) > 20
        assert {"type", "title"} <= set(param["schema"])


@pytest.mark.parametrize("param", ["epochs", "windows_per_epoch", "seed"])
def test_the_budget_of_a_trial_is_that_of_a_retraining(dag, facts, param):
    retrain = facts["dags"]["bandwidth_predictor_retrain"]["params"][param]
    ours = dag["params"][param]
    assert ours["value"] == retrain["value"] == TrainingConfig.model_fields[param].default
    for bound in ("minimum", "maximum"):
        assert ours["schema"].get(bound) == retrain["schema"].get(bound)


@pytest.fixture(scope="module")
def tuned(airflow) -> dict[str, Any]:
    return airflow.json_of("run_tune.py", BWPREDICT_REGISTRY=str(registry_of(airflow)))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_run_maps_its_trials_proposes_the_best_and_a_retraining_takes_it_once_approved(airflow, tuned):
    assert tuned["search"]["state"] == "success"
    mapped = [[task, index, "success"] for task in TASKS for index in (range(4) if task == "trial" else [-1])]
    assert sorted(tuned["search"]["tasks"]) == sorted(mapped)
    labels = tuned["search"]["trials"]
    assert [label.split(":")[0].split(",")[0] for label in labels] == [f"trial {number}" for number in range(4)]

    store = open_store(str(registry_of(airflow)))
    proposed, _ = store.read("training/proposed/august.yaml")
    file = parse(proposed, origin="august")
    assert (file.study.trials, file.study.seed) == (4, 7)
    assert file.study.validation_loss <= file.study.default_validation_loss

    assert tuned["unapproved"]["state"] == "failed"
    assert "august is proposed but not approved" in Path(tuned["unapproved"]["log"]).read_text()
    assert tuned["approved"]["state"] == "success"
    run = RunConfig.model_validate_json((Path(tuned["approved"]["area"]) / "run.json").read_bytes())
    assert run.training == TrainingConfig(**file.training)
    assert (run.training_file.name, run.training_file.approved_by) == ("august", "test")


def registry_of(airflow) -> Path:
    """The search's own: a champion of other telemetry would be one to have drifted from."""
    return airflow.root / "registry-of-the-search"
