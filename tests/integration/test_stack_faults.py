"""A part of the stack dies in the middle of a run: the run ends well, and publishes once and whole."""

import shutil
import time

import pytest
from faulty_s3 import Asked
from processes import Service, wait_for
from runs import Api, Registry
from stack import Stack

pytestmark = pytest.mark.usefixtures("monthly")

S3_AWAY_SECONDS = 60


def test_a_training_whose_worker_is_killed_is_continued_by_a_worker_that_has_nothing_of_it_but_the_store(
    api: Api, registry: Registry, stack: Stack
):
    run = api.trigger(architecture="guide", epochs=4, windows_per_epoch=3_000)
    wait_for("a state to continue from", lambda: "resume/train.pth" in registry.work_area(run), 600)
    assert api.tasks(run)["train"]["state"] == "running"
    stack["gpu-worker"].kill()
    shutil.rmtree(stack.work("gpu-worker"))
    assert_published_once(run, api, registry)
    train = api.tasks(run)["train"]
    assert train["try_number"] == 2
    assert train["hostname"] == "gpu-worker"
    assert "continuing in" in api.log(run, "train", 2)
    assert registry.read_of_run(run, "history.json")["interruptions"] == 1
    assert not [name for name in registry.work_area(run) if name.startswith("resume/")]


def test_a_run_outlives_a_killed_scheduler_a_redis_without_its_data_and_a_restart_of_postgresql(
    api: Api, registry: Registry, stack: Stack
):
    """One run for three faults, each at a step of its own: a run takes long."""
    run = api.trigger()
    api.wait_for_task(run, "validate", "running")
    before = stack["scheduler"].starts
    stack["scheduler"].kill()

    api.wait_for_task(run, "train", "running")
    assert stack["scheduler"].starts == before + 1
    interrupt(stack["redis"], lost=("appendonlydir", "dump.rdb"))

    api.wait_for_task(run, "compare", "running")
    interrupt(stack["postgres"])

    assert_published_once(run, api, registry)
    wait_for("every service to be healthy", stack.is_healthy)


def test_s3_away_for_a_minute_during_publish_delays_the_publication(api: Api, registry: Registry, stack: Stack):
    outage: dict[str, float] = {}

    def fault(asked: Asked) -> str:
        if not outage and asked.method == "PUT" and asked.key.endswith(".onnx"):
            outage.update(start=time.monotonic(), lost=0)
        away = bool(outage) and time.monotonic() < outage["start"] + S3_AWAY_SECONDS
        if away:
            outage["lost"] += 1
        return "reset lost" if away else ""

    stack.s3.choose = fault
    try:
        run = api.trigger()
        before = registry.read("production.json")
        wait_for("the outage", lambda: outage, 600)
        wait_for("the S3 server to be back", lambda: time.monotonic() > outage["start"] + S3_AWAY_SECONDS + 1)
        assert registry.read("production.json") == before
        assert_published_once(run, api, registry)
        assert outage["lost"] > 1
        assert api.tasks(run)["publish"]["try_number"] > 1
    finally:
        stack.s3.choose = None


def interrupt(service: Service, lost: tuple[str, ...] = ()) -> None:
    service.stop()
    for name in lost:
        path = service.folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    time.sleep(5)
    service.start()


def assert_published_once(run: str, api: Api, registry: Registry) -> None:
    """The run succeeded; its version is in production, moved there once; every version in the registry is whole."""
    assert api.ended(run) == "success", api.story(run)
    version = registry.read_of_run(run, "run.json")["version"]
    assert registry.read("production.json")["version"] == version
    moves = [registry.read(key) for key in registry.objects() if key.startswith("history/")]
    assert [move["version"] for move in moves].count(version) == 1
    registry.bwpredict("verify")
