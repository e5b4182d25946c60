from typing import Any

import pytest
from whole_airflow import STEPS

from bwpredict.config import GatePolicy, RunConfig, TrainingConfig
from bwpredict.gate.policies import policy_names


@pytest.fixture(scope="module")
def dag(facts: dict[str, Any]) -> dict[str, Any]:
    return facts["dags"]["bandwidth_predictor_retrain"]


@pytest.fixture(scope="module")
def tasks(dag: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {task["id"]: task for task in dag["tasks"]}


def test_the_dag_folder_loads_without_an_error_or_a_warning(facts):
    assert facts["import_errors"] == {}
    assert facts["warnings"] == {}
    assert sorted(facts["dags"]) == [
        "bandwidth_model_announced",
        "bandwidth_predictor_monitor",
        "bandwidth_predictor_retrain",
        "bandwidth_predictor_retrain_on_degradation",
        "bandwidth_predictor_tune",
    ]


def test_loading_the_dag_folder_imports_nothing_heavy(facts):
    assert facts["heavy_modules"] == []


def test_the_dag_is_named_after_its_file_and_documented(dag):
    assert dag["file"] == "bandwidth_predictor_retrain"
    assert "red at `decide`" in dag["doc"]


def test_it_runs_once_for_each_month_with_the_month_as_its_data_interval(dag):
    assert (dag["timetable"], dag["cron"]) == ("UpcomingCronTimetable", "0 0 1 * *")
    assert dag["catchup"] is False
    assert dag["max_active_runs"] == 1


def test_the_tasks_are_the_arrows_of_the_design_in_order(dag):
    assert [task["id"] for task in dag["tasks"]] == STEPS
    assert [task["downstream"] for task in dag["tasks"]] == [[step] for step in STEPS[1:]] + [[]]


def test_only_training_asks_for_the_gpu(tasks):
    assert (tasks["train"]["queue"], tasks["train"]["pool"]) == ("gpu", "gpu")
    assert {(task["queue"], task["pool"]) for name, task in tasks.items() if name != "train"} == {
        ("default", "default_pool")
    }


@pytest.mark.parametrize("step", STEPS)
def test_a_task_has_docs_an_owner_a_time_out_and_an_alert(tasks, dag, step):
    task = tasks[step]
    assert len(task["doc"]) > 40
    assert task["owner"] == "bandwidth-prediction"
    assert 0 < task["timeout_s"] < dag["run_timeout_s"]
    assert task["alerts"] == dag["alerts"] == ["AlertNotifier"]


def test_a_run_has_time_for_all_its_tasks_and_for_training_twice(dag, tasks):
    assert sum(task["timeout_s"] for task in dag["tasks"]) + tasks["train"]["timeout_s"] <= dag["run_timeout_s"]


@pytest.mark.parametrize("step", STEPS)
def test_a_verdict_is_not_tried_again_and_a_store_that_failed_is(tasks, step):
    assert tasks[step]["retries"] > 0
    assert tasks[step]["rules"] == [["Interrupted", "retry"], ["Stopped", "fail"]]


def test_only_publishing_announces_a_new_model(tasks):
    assert {step: task["outlets"] for step, task in tasks.items() if task["outlets"]} == {
        "publish": ["bandwidth_model"]
    }


def test_the_form_shows_what_everybody_needs_and_folds_the_rest_away(dag):
    sections = {name: param["schema"].get("section", "") for name, param in dag["params"].items()}
    shown = [name for name, section in sections.items() if not section]
    assert shown == list(sections)[:4] == ["month", "dry_run", "policy", "human_approval"]
    assert all(section.startswith("Advanced: ") for section in sections.values() if section)


def test_no_field_that_has_a_default_is_marked_as_required(dag):
    types = {name: param["schema"]["type"] for name, param in dag["params"].items()}
    assert [name for name, kind in types.items() if "null" not in kind] == []


def test_the_form_offers_the_months_that_are_there_the_latest_first(describe_dags, tmp_path):
    for day in ("2026-08-31", "2026-10-01", "2026-10-02", "not-a-day"):
        (tmp_path / f"date={day}").mkdir()
    facts = describe_dags(BWPREDICT_TELEMETRY=str(tmp_path))
    for dag_id in ("bandwidth_predictor_retrain", "bandwidth_predictor_tune"):
        month = facts["dags"][dag_id]["params"]["month"]
        assert month["value"] is None
        assert month["schema"]["enum"] == [None, "2026-10", "2026-08"]
        assert month["schema"]["values_display"]["null"] == "The last complete month"


@pytest.mark.parametrize("telemetry", ["s3://bucket/telemetry", "/no/such/folder"])
def test_where_the_months_are_not_at_hand_the_form_takes_any_and_suggests_the_latest(describe_dags, telemetry):
    facts = describe_dags(BWPREDICT_TELEMETRY=telemetry)
    assert facts["import_errors"] == {}
    assert facts["heavy_modules"] == []
    month = facts["dags"]["bandwidth_predictor_retrain"]["params"]["month"]
    assert "enum" not in month["schema"]
    assert len(month["schema"]["examples"]) == 12
    assert "YYYY-MM" in month["description"]


def test_the_form_has_every_param_with_title_help_and_type(dag):
    assert set(dag["params"]) == {
        *("month", "history_months", "architecture", "epochs", "windows_per_epoch", "seed", "training_config"),
        *("policy", "gate_overrides", "force_bootstrap", "accept_telemetry", "override_reason", "dry_run"),
        *("publish_past_months", "challenger_model", "challenger_stream", "trained_through", "trained_on"),
        *("human_approval", "approval_hours"),
    }
    for param in dag["params"].values():
        assert len(param["description"]) > 20
        assert {"type", "title"} <= set(param["schema"])


@pytest.mark.parametrize(
    ("param", "model", "field"),
    [
        ("epochs", TrainingConfig, "epochs"),
        ("windows_per_epoch", TrainingConfig, "windows_per_epoch"),
        ("seed", TrainingConfig, "seed"),
        ("history_months", RunConfig, "history_months"),
        ("month", RunConfig, "month"),
    ],
)
def test_the_form_has_the_defaults_and_bounds_of_the_configuration(dag, param, model, field):
    form, configured = dag["params"][param], model.model_json_schema()["properties"][field]
    assert form["value"] == configured.get("default")
    assert form["schema"].get("pattern") == configured.get("pattern")
    assert form["schema"].get("minimum") == configured.get("minimum")
    highest = configured.get("maximum", configured.get("exclusiveMaximum", 0) - 1)
    assert form["schema"].get("maximum", -1) == highest


def test_the_form_offers_every_threshold_of_the_policy(dag):
    offered = set(dag["params"]["gate_overrides"]["schema"]["properties"])
    assert offered == set(GatePolicy.model_fields) - {"name", "version"}


def test_the_form_offers_the_shipped_policies_by_name_the_guide_first(dag):
    policy = dag["params"]["policy"]
    assert policy["value"] == "guide"
    assert policy["schema"]["enum"] == policy_names()


def test_the_form_offers_the_policies_of_the_users_folder_too(describe_dags, tmp_path):
    (tmp_path / "radio.yaml").write_text("name: radio")
    facts = describe_dags(BWPREDICT_POLICIES=str(tmp_path))
    offered = facts["dags"]["bandwidth_predictor_retrain"]["params"]["policy"]["schema"]["enum"]
    assert offered == ["guide", "relative", "radio"]


MODELS = """
models:
  - name: eu-west
    telemetry: s3://telemetry/eu-west
    policy: relative
    schedule: "0 3 2 * *"
    history_months: 3
    training: {epochs: 7, learning_rate: 0.001}
  - name: by-hand
    telemetry: s3://telemetry/other
    schedule: null
"""


@pytest.fixture(scope="module")
def several(describe_dags, tmp_path_factory) -> dict[str, Any]:
    path = tmp_path_factory.mktemp("models") / "models.yaml"
    path.write_text(MODELS)
    mlflow = "http://mlflow:5000"
    return describe_dags(BWPREDICT_MODELS=str(path), BWPREDICT_MLFLOW_TRACKING_URI=mlflow)


def test_each_model_has_a_dag_of_its_own_and_the_default_keeps_its_id(several):
    assert several["import_errors"] == {}
    assert several["warnings"] == {}
    assert several["heavy_modules"] == []
    of_each = ("monitor", "retrain", "retrain_on_degradation")
    models = ("", "__by-hand", "__eu-west")
    names = [f"bandwidth_predictor_{what}{model}" for what in of_each for model in models]
    names += [f"bandwidth_model_to_mlflow{model}" for model in models]
    assert sorted(several["dags"]) == sorted([*names, "bandwidth_model_announced", "bandwidth_predictor_tune"])


def test_the_dag_of_the_default_model_is_the_same_whatever_other_models_there_are(several, dag):
    assert several["dags"]["bandwidth_predictor_retrain"] == dag


def test_a_model_has_its_own_schedule_form_defaults_and_asset(several, dag):
    model = several["dags"]["bandwidth_predictor_retrain__eu-west"]
    assert (model["timetable"], model["cron"]) == ("UpcomingCronTimetable", "0 3 2 * *")
    different = {"policy": "relative", "history_months": 3, "epochs": 7}
    assert "examples" in model["params"]["month"]["schema"]
    for name, param in model["params"].items():
        assert param["value"] == different.get(name, dag["params"][name]["value"])
        assert param["schema"] == dag["params"][name]["schema"]
    assert [task["outlets"] for task in model["tasks"]][-1] == ["bandwidth_model__eu-west"]
    assert [task["id"] for task in model["tasks"]] == [task["id"] for task in dag["tasks"]]


def test_a_model_without_a_schedule_is_run_by_hand(several):
    assert several["dags"]["bandwidth_predictor_retrain__by-hand"]["timetable"] == "NullTimetable"


def test_a_file_of_models_that_cannot_be_used_is_an_import_error_that_says_why(describe_dags, tmp_path):
    (tmp_path / "models.yaml").write_text("models: [{name: eu-west}]")
    facts = describe_dags(BWPREDICT_MODELS=str(tmp_path / "models.yaml"))
    assert len(facts["import_errors"]) == 3
    assert all("model 'eu-west': telemetry: missing" in error for error in facts["import_errors"].values())


def test_the_tasks_stand_in_groups_that_leave_their_names_alone(dag):
    assert dag["groups"] == {
        "telemetry": ["check", "plan_shards", "snapshot", "validate"],
        "challenger": ["export", "train"],
        "evaluation": ["approve", "compare", "decide"],
    }


def test_a_month_that_is_late_is_told_of_before_its_run_is_ended(dag):
    (deadline,) = dag["deadlines"]
    assert deadline["callback"] == "bwpredict_airflow.deadline.send_deadline_alert"
    assert deadline["reference"] == "RunCreated"
    assert 0 < deadline["interval_s"] < dag["run_timeout_s"]


def test_task_pages_have_buttons_to_what_the_task_wrote(tasks):
    assert {step: task["links"] for step, task in tasks.items() if task["links"]} == {
        "validate": ["Data Docs"],
        "decide": ["Report"],
        "publish": ["Registry entry", "Report"],
    }


def test_the_example_runs_whenever_there_is_another_model(facts):
    example = facts["dags"]["bandwidth_model_announced"]
    assert example["timetable"] == "AssetTriggeredTimetable"
    assert example["assets"] == ["bandwidth_model"]


def test_mlflow_hears_of_a_model_once_production_has_moved(several, facts):
    assert "bandwidth_model_to_mlflow" not in facts["dags"]  # no server is named
    for model in ("", "__eu-west"):
        dag = several["dags"][f"bandwidth_model_to_mlflow{model}"]
        assert (dag["timetable"], dag["assets"]) == ("AssetTriggeredTimetable", [f"bandwidth_model{model}"])
        assert dag["tasks"][0]["retries"] == 3


def test_every_form_can_be_sent_as_it_stands(facts):
    """Airflow's form takes an empty text for missing, and then cannot be sent at all."""
    params = {(dag_id, name): param for dag_id, dag in facts["dags"].items() for name, param in dag["params"].items()}
    assert [where for where, param in params.items() if param["value"] == ""] == []
