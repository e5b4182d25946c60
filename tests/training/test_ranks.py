"""One training over two gloo processes on this machine, and the answers to little memory."""

import signal
import socket
import threading
import time

import numpy as np
import psutil
import pytest
from small_training import CONFIG, small_split

from bwpredict import schema
from bwpredict.config import TrainingConfig, load
from bwpredict.errors import ConfigError, RankError, TelemetryError
from bwpredict.training.checkpointing import Resume
from bwpredict.training.distributed.process_group import partition_links
from bwpredict.training.trainer import train

STOPPED_WITHIN_SECONDS = 60
SAME_LOSS = 0.1
"""Relative, between one process and two: each draws its own sequences."""


def free_port():
    with socket.socket() as one:
        one.bind(("localhost", 0))
        return one.getsockname()[1]


def kill_rank_when_there_is(path, killed):
    """Kill rank 1 of this process as soon as there is a state to continue from."""
    while not path.is_file():
        time.sleep(0.05)
    for child in psutil.Process().children(recursive=True):
        if "bwpredict.training.distributed.worker" in child.cmdline() and child.environ().get("RANK") == "1":
            child.send_signal(signal.SIGKILL)
            killed.append(time.monotonic())


@pytest.mark.slow
def test_a_rank_that_dies_stops_the_others_and_the_next_run_ends_with_the_losses_of_one_rank(tmp_path):
    config = CONFIG.model_copy(update={"ranks": 2, "windows_per_epoch": 192})
    split, states, killed = small_split(), tmp_path / "train.pth", []
    threading.Thread(target=kill_rank_when_there_is, args=(states, killed), daemon=True).start()
    with pytest.raises(RankError, match=r"rank 1 of 2 was killed by SIGKILL.*continues from its last checkpoint"):
        train(split, config, tmp_path / "best.pth", resume=Resume(states, 0))
    assert time.monotonic() - killed[0] < STOPPED_WITHIN_SECONDS
    assert not [child for child in psutil.Process().children(recursive=True) if "rank" in " ".join(child.cmdline())]
    two = train(split, config, tmp_path / "best.pth", resume=Resume(states, 0)).history
    assert two["ranks"] == 2
    assert two["interruptions"] == 1
    one = train(split, config.model_copy(update={"ranks": 1}), tmp_path / "one.pth").history
    for each, other in zip(two["records"], one["records"], strict=True):
        assert each["validation_loss"] == pytest.approx(other["validation_loss"], rel=SAME_LOSS), each


def test_more_ranks_than_cards_are_refused_before_anything_starts(tmp_path, monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    config = CONFIG.model_copy(update={"ranks": 2})
    with pytest.raises(ConfigError, match="ranks=2: each rank needs its own GPU, and this machine has 1"):
        train(small_split(), config, tmp_path / "best.pth")


@pytest.mark.slow
def test_what_a_rank_cannot_go_on_with_is_told_as_by_one_process(tmp_path):
    split = small_split()
    split["train"].frame.values[:, schema.FEATURES.index("rtt_ms")] = 7.0
    with pytest.raises(TelemetryError, match="rtt_ms: constant"):
        train(split, CONFIG.model_copy(update={"ranks": 2}), tmp_path / "best.pth")


def test_a_batch_too_small_for_its_ranks_is_refused():
    with pytest.raises(ConfigError, match="batch_size 8 is less than two windows for each of 5 ranks"):
        load(TrainingConfig, {"batch_size": 8, "ranks": 5}, origin="parameters")


def test_links_are_shared_out_so_that_every_machine_has_some():
    assert partition_links(np.array([5, 0, 3, 9, 1]), 2) == [0, 3, 5]
    assert partition_links(np.array([5, 1]), 2) == [0, 1, 2]
    with pytest.raises(ConfigError, match="3 machines cannot share the training windows of 2 links"):
        partition_links(np.array([5, 0, 3]), 3)
