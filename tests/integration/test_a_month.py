import subprocess
from itertools import pairwise
from urllib.parse import quote

from runs import Api, Registry
from stack import AIRFLOW, Stack

WITHOUT_TELEMETRY = "2031-01"


def test_two_triggers_at_once_while_the_monthly_run_is_on_wait_their_turn_and_each_comes_to_its_own_end(
    api: Api, registry: Registry, monthly: str
):
    api.wait_for_task(monthly, "snapshot", "running", "success")
    by_hand, doomed = api.trigger(), api.trigger(month=WITHOUT_TELEMETRY)
    runs = [monthly, by_hand, doomed]
    assert [api.ended(run) for run in runs] == ["success", "success", "failed"], "\n".join(map(api.story, runs))
    assert api.tasks(doomed)["snapshot"]["state"] == "failed"
    times = sorted((api.run(run)["start_date"], api.run(run)["end_date"]) for run in runs)
    assert all(before[1] <= after[0] for before, after in pairwise(times))
    registry.bwpredict("verify")
    assert len(registry.versions()) == 2
    assert registry.read("production.json")["version"] == max(registry.versions())


def test_training_ran_on_the_gpu_worker_and_everything_else_on_the_other(api: Api, monthly: str):
    tasks = api.tasks(monthly)
    assert tasks["train"]["queue"] == "gpu"
    assert {name for name, task in tasks.items() if task["hostname"] == "gpu-worker"} == {"train"}
    ran = {name for name, task in tasks.items() if task["state"] == "success"}
    assert {tasks[name]["hostname"] for name in ran - {"train"}} == {"worker"}


def test_the_workers_shared_nothing_but_the_store_of_work_areas(stack: Stack, registry: Registry, monthly: str):
    found = {name for name in AIRFLOW if (stack.work(name) / monthly).exists()}
    # The DAG's notifier reads the decision, in the DAG processor.
    assert found - {"dag-processor"} == {"worker", "gpu-worker"}
    kept = registry.work_area(monthly)
    assert {"run.json", "best_model.pth", "model_card.html", "publication.json"} <= kept.keys()
    assert not [name for name in kept if name.startswith(("frame-", "resume/"))]


def test_the_pages_show_a_run_from_the_store_of_work_areas(stack: Stack, api: Api, registry: Registry, monthly: str):
    page = f"of/default/runs/{quote(monthly, safe='')}"
    version = registry.read_of_run(monthly, "run.json")["version"]
    assert f"<h1>{version}</h1>" in api.page(f"{page}/files/model_card.html")
    assert "Great Expectations" in api.page(f"{page}/files/validation/data_docs/index.html")
    assert "Bootstrap: " in api.page(page)
    assert page in api.page("of/default/")
    assert not (stack.work("api-server") / monthly / "telemetry").exists()


def test_the_logs_of_tasks_are_in_the_bucket_and_in_the_interface(
    stack: Stack, api: Api, registry: Registry, monthly: str
):
    kept = [key for key in registry.objects("bwpredict-logs") if "task_id=train" in key]
    assert kept
    assert "epoch" in api.log(monthly, "train")
    assert not list((stack.folder / "gpu-worker" / "logs").rglob("task_id=train/*.log"))


def test_what_was_published_verifies_and_its_asset_event_tells_the_version(api: Api, registry: Registry, monthly: str):
    assert "production" in registry.bwpredict("status")
    events = api.ask("GET", "assets/events?limit=100")["asset_events"]
    assert {event["extra"]["version"] for event in events} == registry.versions()


def test_figures_for_prometheus_are_sent(stack: Stack, monthly: str):
    assert any(name.startswith("airflow.dagrun.duration.success") for name in stack.metrics)


def test_no_secret_is_in_any_log(stack: Stack, registry: Registry, monthly: str):
    logs = [path.read_text(errors="replace") for path in stack.folder.rglob("*.log")]
    kept = [
        registry.client.get_object(Bucket="bwpredict-logs", Key=key)["Body"].read().decode(errors="replace")
        for key in registry.objects("bwpredict-logs")
    ]
    assert kept
    for name, value in stack.variables.items():
        assert not [text for text in (*logs, *kept) if value in text], name


def test_the_health_checks_of_the_compose_file_pass(stack: Stack, monthly: str):
    asked = {name: subprocess.Popen(stack.health_check(name), env=stack.environment(name)) for name in AIRFLOW}
    assert {name: process.wait(900) for name, process in asked.items()} == dict.fromkeys(AIRFLOW, 0)


def test_the_health_check_of_a_worker_that_is_not_there_fails(stack: Stack, monthly: str):
    command = [part.replace("gpu@", "nobody@") for part in stack.health_check("gpu-worker")]
    assert subprocess.run(command, env=stack.environment("gpu-worker"), check=False).returncode != 0
