"""The DAG that watches the model in production, and the one that answers it."""

from pathlib import Path
from typing import Any

import pytest
from fixtures_alerts import running_receiver
from jinja2 import Environment

HELPERS = str(Path(__file__).parents[1] / "helpers")
TASKS = ["score", "metrics", "tell", "degraded"]


@pytest.fixture(scope="module")
def watch(facts: dict[str, Any]) -> dict[str, Any]:
    return facts["dags"]["bandwidth_predictor_monitor"]


def test_it_runs_every_day_and_only_its_last_task_announces(watch):
    assert (watch["timetable"], watch["cron"], watch["catchup"]) == ("UpcomingCronTimetable", "0 2 * * *", False)
    assert [task["id"] for task in watch["tasks"]] == TASKS
    assert [task["outlets"] for task in watch["tasks"]] == [[], [], [], ["bandwidth_model_degraded"]]
    assert all(task["alerts"] == ["AlertNotifier"] and len(task["doc"]) > 40 for task in watch["tasks"])


def test_the_answer_waits_for_the_event(facts):
    answer = facts["dags"]["bandwidth_predictor_retrain_on_degradation"]
    assert answer["timetable"] == "AssetTriggeredTimetable"
    assert [task["id"] for task in answer["tasks"]] == ["retrain"]


@pytest.fixture(scope="module")
def ended(airflow, tmp_path_factory):
    """How the runs ended, and the alerts that were sent."""
    root = tmp_path_factory.mktemp("monitored")
    stores = {f"BWPREDICT_{name.upper()}": str(root / name) for name in ("telemetry", "registry", "work")}
    with running_receiver() as receiver:
        runs = airflow.json_of("run_monitor.py", BWPREDICT_ALERT_URLS=receiver.url(), PYTHONPATH=HELPERS, **stores)
        yield runs, receiver.received


@pytest.mark.slow
def test_on_the_day_an_alarm_begins_people_are_told_and_the_event_is_sent_once(ended):
    runs, alerts = ended
    assert runs["alarm"]["tasks"] == dict.fromkeys(TASKS, "success")
    (event,) = runs["alarm"]["asset_events"]
    assert (event["day"], event["version"]) == ("2026-11-04", "v20261102_000000")
    assert "skill.rtt_ms" in event["alarms"]
    assert runs["day_after"]["state"] == "success"
    assert runs["day_after"]["tasks"]["degraded"] == "skipped"
    assert runs["day_after"]["asset_events"] == []
    assert [alert["title"].partition(":")[0] for alert in alerts] == [
        "v20261102_000000 has got worse",
        "bandwidth_predictor_monitor",
    ]
    assert "ALARM: the skill of rtt_ms is" in Path(runs["alarm"]["log"]).read_text()


@pytest.mark.slow
def test_a_day_without_telemetry_is_red_and_told(ended):
    runs, alerts = ended
    assert runs["no_telemetry"]["tasks"]["score"] == "failed"
    assert "has no partition of this day" in alerts[-1]["message"]
    assert "Traceback" not in Path(runs["no_telemetry"]["log"]).read_text()


def test_the_answer_retrains_on_the_month_of_the_alarm_in_a_run_named_after_the_day(facts):
    """The templates, on what Airflow gives them: for each asset the list of its events."""
    (task,) = facts["dags"]["bandwidth_predictor_retrain_on_degradation"]["tasks"]
    events = {"asset": [Event("2026-10-31"), Event("2026-11-04")]}

    def rendered(template: str) -> str:
        return Environment(autoescape=True).from_string(template).render(triggering_asset_events=events)

    assert rendered(task["triggers"]["conf"]["month"]) == "2026-11"
    assert rendered(task["triggers"]["run_id"]) == "degraded__2026-11-04"


class Event:
    """What the template reads of an asset event."""

    def __init__(self, day: str) -> None:
        self.extra = {"day": day}
