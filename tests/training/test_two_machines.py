"""One training over two machines that meet by rendezvous: here both are this one, each with an agent of its own."""

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from small_training import CONFIG, small_split
from test_ranks import SAME_LOSS, STOPPED_WITHIN_SECONDS, free_port

from bwpredict.errors import RankError
from bwpredict.store.factory import open_store
from bwpredict.training.checkpointing import Resume
from bwpredict.training.distributed.job import JOB
from bwpredict.training.trainer import train

pytestmark = pytest.mark.slow
TWO = CONFIG.model_copy(update={"ranks": 2, "windows_per_epoch": 192})
LINKS = (900, 600, 900, 300)
"""Minutes of each."""


@pytest.fixture
def rendezvous(monkeypatch):
    endpoint = f"localhost:{free_port()}"
    monkeypatch.setenv("BWPREDICT_RANK_NODES", "2")
    monkeypatch.setenv("BWPREDICT_RANK_RENDEZVOUS", endpoint)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return endpoint


@pytest.fixture
def other_machine(rendezvous, tmp_path):
    """`torchrun` by hand, as soon as the first machine has written the job; ended with the test."""
    job, started = tmp_path / "train.ranks", []
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--nnodes", "2", "--nproc-per-node", "1"),
        *("--rdzv-backend", "c10d", "--rdzv-endpoint", rendezvous, "--rdzv-id", "bwpredict"),
        *("-m", "bwpredict.training.distributed.worker", str(job)),
    ]

    def join():
        while not (job / JOB).is_file():
            time.sleep(0.05)
        started.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))

    thread = threading.Thread(target=join, daemon=True)
    thread.start()
    yield started
    thread.join(5)
    for process in started:
        process.terminate()
        process.wait(30)


@pytest.fixture
def work_store(rendezvous, monkeypatch, s3_bucket):
    """All that the machines share: an S3 server."""
    uri = f"s3://{s3_bucket}/work"
    monkeypatch.setenv("BWPREDICT_WORK_STORE", uri)
    return uri


@contextmanager
def joining(work_store, folder):
    """The other machine, whose own folder is another one, joins by the address in the store."""
    started, done = [], threading.Event()
    environment = os.environ | {"TMPDIR": str(folder)}

    def join():
        while not (names := [key for key in open_store(work_store).keys() if key.endswith(JOB)]):  # noqa: SIM118
            if done.wait(0.1):
                return
        address = f"{work_store}/{names[0].removesuffix('/' + JOB)}"
        started.append(
            subprocess.Popen((sys.executable, "-m", "bwpredict.training.distributed.node", address), env=environment)
        )

    folder.mkdir()
    thread = threading.Thread(target=join, daemon=True)
    thread.start()
    try:
        yield started
    finally:
        done.set()
        thread.join(5)
        for process in started:
            process.terminate()
            process.wait(30)


def ranks_of(process):
    return [
        child
        for child in psutil.Process(process.pid).children(recursive=True)
        if child.status() != psutil.STATUS_ZOMBIE and "bwpredict.training.distributed.worker" in child.cmdline()
    ]


def test_two_machines_end_with_the_losses_of_one_rank(other_machine, tmp_path, monkeypatch):
    config = TWO
    split = small_split(minutes=LINKS)
    two = train(split, config, tmp_path / "best.pth", resume=Resume(tmp_path / "train.pth", 0)).history
    assert two["ranks"] == 2
    assert two["windows"] == {name: len(part) for name, part in split.parts.items()}
    assert other_machine[0].wait(60) == 0
    monkeypatch.delenv("BWPREDICT_RANK_NODES")
    one = train(split, config.model_copy(update={"ranks": 1}), tmp_path / "one.pth").history
    for each, other in zip(two["records"], one["records"], strict=True):
        assert each["validation_loss"] == pytest.approx(other["validation_loss"], rel=SAME_LOSS), each


@pytest.mark.parametrize("killed", ["rank", "machine"])
def test_a_machine_whose_other_one_dies_stops_with_the_reason(other_machine, tmp_path, killed):
    state, times = Path(tmp_path, "train.pth"), []

    def kill():
        while not state.is_file():
            time.sleep(0.05)
        agent = psutil.Process(other_machine[0].pid)
        victims = ranks_of(agent) if killed == "rank" else [*agent.children(recursive=True), agent]
        for each in victims:
            os.kill(each.pid, signal.SIGKILL)
        times.append(time.monotonic())

    threading.Thread(target=kill, daemon=True).start()
    with pytest.raises(RankError, match=r"of 2 .*on another machine.*continues from its last checkpoint"):
        train(small_split(minutes=LINKS), TWO, tmp_path / "best.pth", resume=Resume(state, 0))
    assert time.monotonic() - times[0] < STOPPED_WITHIN_SECONDS
    assert not [child for child in ranks_of(psutil.Process()) if "torch.distributed.run" not in child.cmdline()]


def test_two_machines_that_share_nothing_but_a_store_go_on_from_the_checkpoint_of_the_first(work_store, tmp_path):
    whole = Resume(tmp_path / "whole.pth", 0)
    with joining(work_store, tmp_path / "other"):
        uninterrupted = train(small_split(minutes=LINKS), TWO, tmp_path / "whole-best.pth", resume=whole).history
    assert uninterrupted["ranks"] == 2
    assert list(open_store(work_store).keys()) == []

    state = tmp_path / "train.pth"

    def kill(started):
        while not state.is_file():
            time.sleep(0.05)
        os.kill(ranks_of(started[0])[0].pid, signal.SIGKILL)

    with joining(work_store, tmp_path / "killed") as started:
        threading.Thread(target=kill, args=(started,), daemon=True).start()
        with pytest.raises(RankError, match="continues from its last checkpoint"):
            train(small_split(minutes=LINKS), TWO, tmp_path / "best.pth", resume=Resume(state, 0))
    assert list(open_store(work_store).keys()) == []

    with joining(work_store, tmp_path / "again") as started:
        continued = train(small_split(minutes=LINKS), TWO, tmp_path / "best.pth", resume=Resume(state, 0)).history
        assert started[0].wait(60) == 0
    assert continued["interruptions"] == 1
    assert losses(continued) == pytest.approx(losses(uninterrupted), rel=SAME_LOSS)


def losses(history):
    return [each["validation_loss"] for each in history["records"]]
