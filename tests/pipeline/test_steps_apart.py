"""The run step by step, each step on a machine that has nothing but the store of work areas."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count

import pytest

from bwpredict.cli.main import main
from bwpredict.config import GatePolicy, RunConfig, TrainingConfig
from bwpredict.documents import read_document
from bwpredict.errors import StoreUnreachableError, WorkAreaError
from bwpredict.pipeline import steps
from bwpredict.pipeline.run_history import downloadable_file, recent_runs, run_summary
from bwpredict.registry.promotion import read_production
from bwpredict.simulation.fleet import FleetConfig
from bwpredict.simulation.writer import write_partitioned
from bwpredict.store.factory import open_store
from bwpredict.workspace import areas
from bwpredict.workspace.references import local_file

TINY = TrainingConfig(epochs=1, batch_size=64, windows_per_epoch=640, validation_windows=500)
LENIENT = GatePolicy(
    name="any model",
    minimum_average_correlation=-1,
    minimum_accuracy_percent=-100,
    maximum_average_mape_percent=1000,
    minimum_skill=-1,
    within_link_correlation_margin=2,
    maximum_latency_p99_ms=10_000,
)
TRAIN = (
    "import sys; from bwpredict.pipeline import steps; from bwpredict.workspace.references import Reference;"
    " steps.train(Reference(*sys.argv[1:]))"
)


@pytest.fixture(scope="module")
def telemetry(tmp_path_factory):
    return write_partitioned(FleetConfig(links=3, days=9, start="2026-09-01", seed=5), tmp_path_factory.mktemp("t"))


@pytest.fixture
def another_machine(tmp_path, monkeypatch):
    """Each call makes this process a machine whose folder for work areas is empty; returns the folder."""
    numbers = count()

    def machine():
        folder = tmp_path / f"machine-{next(numbers)}"
        monkeypatch.setenv("BWPREDICT_WORK", str(folder))
        return folder

    return machine


@pytest.fixture
def run(telemetry, tmp_path, s3_bucket, monkeypatch):
    """A run whose work area is shared by an S3 server."""
    monkeypatch.setenv("BWPREDICT_WORK_STORE", f"s3://{s3_bucket}/work")
    return RunConfig(
        run_id="scheduled__2026-10-01T00:00:00+00:00",
        version="v20261001_000000",
        month="2026-09",
        telemetry=str(telemetry),
        registry=str(tmp_path / "registry"),
        code_version="test",
        created_at=datetime(2026, 10, 1, tzinfo=UTC).isoformat(),
        training=TINY,
        policy=LENIENT,
    )


def validated(run, another_machine):
    """The run up to its validation: the reference of the profile."""
    reference = steps.plan(run, another_machine())
    another_machine()
    reference = steps.snapshot(reference)
    another_machine()
    days = steps.plan_shards(reference)
    shards = []
    for some in (days[0][:4], days[0][4:]):
        another_machine()
        shards.append(steps.check_shard(reference, some))
        assert steps.shard_label(shards[-1])
    another_machine()
    return steps.aggregate_validation(shards)


@pytest.mark.slow
def test_a_retraining_comes_to_production_and_is_seen_by_machines_that_ran_none_of_it(
    run, another_machine, monkeypatch, tmp_path
):
    reference = validated(run, another_machine)
    for step in (steps.train, steps.export, steps.compare, steps.decide, steps.publish):
        another_machine()
        assert not reference.path.startswith("/")
        reference = step(reference)
    another_machine()
    assert steps.announce(reference)["version"] == run.version
    assert read_production(open_store(run.registry)).version == run.version

    work = another_machine()
    (seen,) = recent_runs(work, 5)
    assert (seen.verdict, len(seen.files)) == ("bootstrap", 2)
    assert replace(run_summary(another_machine(), run.run_id), area=seen.area) == seen
    assert downloadable_file(another_machine(), run.run_id, "predictions_scatter.png").stat().st_size > 10_000
    with pytest.raises(WorkAreaError, match="has no run"):
        run_summary(another_machine(), "another")

    another_machine()
    replay = ["--policy", "guide", "--run", run.run_id, "--output", str(tmp_path / "new.json")]
    monkeypatch.setattr("sys.argv", ["bwpredict", "decide", *replay])
    with pytest.raises(SystemExit):
        main()
    assert read_document(tmp_path / "new.json", "decision")["run_id"] == run.run_id


@pytest.mark.slow
def test_a_training_that_is_killed_is_continued_on_a_machine_that_has_none_of_it(run, another_machine, monkeypatch):
    long = TINY.model_copy(update={"windows_per_epoch": 3200, "epochs": 3})
    profile = validated(run.model_copy(update={"training": long}), another_machine)
    another_machine()
    environment = os.environ | {"BWPREDICT_CHECKPOINT_SECONDS": "0", "OMP_NUM_THREADS": "1"}
    with subprocess.Popen([sys.executable, "-c", TRAIN, profile.path, profile.sha256], env=environment) as training:
        there = another_machine() / run.run_id
        try:
            while not (there / "resume" / "train.pth").exists():
                assert training.poll() is None
                areas.fetch(there, "resume/train.pth")
                time.sleep(0.05)
        finally:
            training.kill()
    assert training.returncode == -signal.SIGKILL

    area = another_machine() / run.run_id
    steps.train(profile)
    assert read_document(area / "history.json", "training_history")["interruptions"] == 1
    areas.fetch(another := another_machine() / run.run_id)
    assert (another / "best_model.pth").read_bytes() == (area / "best_model.pth").read_bytes()
    assert not (another / "resume").exists()


@pytest.mark.slow
def test_trials_of_a_search_are_run_one_by_one_on_any_machine(run, another_machine):
    study = steps.open_study(validated(run, another_machine), "study", "median")
    for number in range(2):
        another_machine()
        assert steps.trial(study, 2).startswith(f"trial {number}")
    another_machine()
    assert "nothing to do" in steps.trial(study, 2)
    proposal = steps.propose(study, 2)
    assert local_file(proposal).name == "training_study.yaml"


def test_a_file_that_the_store_does_not_have_is_named(run, another_machine):
    planned = steps.plan(run, another_machine())
    another_machine()
    with pytest.raises(WorkAreaError, match="BWPREDICT_WORK_STORE"):
        steps.snapshot(steps.Reference(planned.path.replace("run.json", "gone.json"), planned.sha256))


def test_a_run_whose_store_cannot_be_reached_says_so_in_one_sentence(run, another_machine, monkeypatch):
    monkeypatch.setenv("BWPREDICT_WORK_STORE", "s3://no-such-bucket")
    with pytest.raises(StoreUnreachableError, match=r"^s3 bucket 'no-such-bucket' .*\.$"):
        steps.plan(run, another_machine())
