"""What runs beside the monthly one: the DAG that waits for a model, back-fills, a late run, a cleared task."""

from fixtures_alerts import Receiver
from processes import wait_for
from runs import EXAMPLE, Api, Registry, months_ago
from stack import Stack


def test_a_publication_starts_the_dag_that_waits_for_it(api: Api, registry: Registry, monthly: str):
    assert api.ended(monthly) == "success"
    production = registry.read("production.json")["version"]

    def told() -> set[str]:
        ended = api.runs(EXAMPLE, "state=success&")
        return {api.returned(EXAMPLE, run["dag_run_id"], "tell")["version"] for run in ended}

    wait_for(f"{EXAMPLE} to tell of {production}", lambda: production in told())
    assert told() <= registry.versions()


def test_a_run_that_goes_on_for_too_long_is_told_of(stack: Stack, api: Api, monthly: str):
    def late() -> list[str]:
        return [
            alert["message"] for alert in told(stack.alerts, "bandwidth_predictor_retrain: the month's model is late")
        ]

    wait_for("the alert", lambda: [message for message in late() if monthly in message])
    assert all("is still running" in message or "is still queued" in message for message in late())
    assert len(late()) == len(set(late()))


def test_clearing_a_task_of_a_run_that_has_ended_gives_the_same_again(api: Api, registry: Registry, monthly: str):
    assert api.ended(monthly) == "success"
    before, decision = published(registry), registry.read_of_run(monthly, "decision.json")
    api.clear(monthly, "decide")
    assert api.ended(monthly) == "success"
    decide = api.tasks(monthly)["decide"]
    assert (decide["state"], decide["try_number"]) == ("success", 2)
    assert registry.read_of_run(monthly, "decision.json") == decision
    assert published(registry) == before


def test_a_back_fill_of_a_past_month_is_judged_and_moves_nothing(api: Api, registry: Registry, monthly: str):
    assert api.ended(monthly) == "success"
    before = published(registry)
    run = api.back_fill(months_ago(2))
    assert api.ended(run) == "success", api.story(run)
    assert api.tasks(run)["publish"]["state"] == "skipped"
    decision = registry.read_of_run(run, "decision.json")
    assert (decision["month"], decision["champion_version"]) == (months_ago(2), None)
    assert published(registry) == before


def test_a_back_fill_that_is_asked_to_publish_brings_its_month_into_production(
    api: Api, registry: Registry, monthly: str
):
    assert api.ended(monthly) == "success"
    served = registry.read("production.json")["version"]
    run = api.back_fill(months_ago(3), publish_past_months=True)
    assert api.ended(run) == "success", api.story(run)
    production = registry.read("production.json")
    assert production["version"] == registry.read_of_run(run, "run.json")["version"]
    assert production["previous"] == served
    assert registry.read(f"models/{production['version']}/MANIFEST.json")["month"] == months_ago(3)
    registry.bwpredict("verify")


def told(alerts: Receiver, title: str) -> list[dict[str, str]]:
    return [alert for alert in alerts.received if alert["title"] == title]


def published(registry: Registry) -> dict[str, str]:
    """ETag of everything that consumers may read; what was alerted about is there too, and comes and goes."""
    return {key: etag for key, etag in registry.etags().items() if "alerts/" not in key}
