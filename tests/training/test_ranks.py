"""One training over two gloo processes on this machine, and the answers to little memory."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from small_training import CONFIG, small_split
from two_ranks import WEIGHTS, gradients

from bwpredict import schema
from bwpredict.config import TrainingConfig, load
from bwpredict.errors import ConfigError, RankError, TelemetryError
from bwpredict.models.network import Contract, Forecaster
from bwpredict.training.batches import load as load_batch
from bwpredict.training.checkpointing import Resume
from bwpredict.training.distributed.process_group import ALONE
from bwpredict.training.loss import BatchLoss
from bwpredict.training.trainer import train

HERE = Path(__file__).parent
HELPERS = HERE.parent / "helpers"
STOPPED_WITHIN_SECONDS = 60
SAME_LOSS = 2e-3
"""Relative, between one rank and two: sums in another order, which Adam's first steps enlarge."""
SAME_LOSS_WITH_DROPOUT = 0.05
"""Relative: each rank draws its own."""
NOTHING_AT_RANDOM = {"highway_dropout": 0.0, "doubted_share": 0.0}
"""For the highway: what is left then is rounding."""


def free_port():
    with socket.socket() as one:
        one.bind(("localhost", 0))
        return one.getsockname()[1]


@pytest.mark.slow
def test_two_ranks_have_the_gradient_and_the_statistics_of_one_with_the_whole_batch(tmp_path):
    port = str(free_port())
    environment = os.environ | {"PYTHONPATH": f"{HELPERS}:{HERE.parents[1]}", "OMP_NUM_THREADS": "1"}
    paths = [tmp_path / f"{rank}.pth" for rank in (0, 1)]
    processes = [
        subprocess.Popen([sys.executable, str(HERE / "two_ranks.py"), str(rank), port, str(path)], env=environment)
        for rank, path in enumerate(paths)
    ]
    assert [process.wait(250) for process in processes] == [0, 0]
    expected = gradients(ALONE)
    for path in paths:
        for name, value in torch.load(path, weights_only=True).items():
            largest = float(expected[name].abs().max())
            torch.testing.assert_close(value, expected[name], rtol=0, atol=1e-4 * largest + 1e-6, msg=name)


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
    config = CONFIG.model_copy(update={"ranks": 2, "windows_per_epoch": 192, **NOTHING_AT_RANDOM})
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
        tolerance = SAME_LOSS if each["stage"] == "highway" else SAME_LOSS_WITH_DROPOUT
        for loss in ("train_loss", "validation_loss"):
            assert each[loss] == pytest.approx(other[loss], rel=tolerance), each


@pytest.mark.slow
def test_what_a_rank_cannot_go_on_with_is_told_as_by_one_process(tmp_path):
    split = small_split()
    split["train"].frame.values[:, schema.FEATURES.index("rtt_ms")] = 7.0
    with pytest.raises(TelemetryError, match="rtt_ms: constant"):
        train(split, CONFIG.model_copy(update={"ranks": 2}), tmp_path / "best.pth")


def test_a_batch_too_small_for_its_ranks_is_refused():
    with pytest.raises(ConfigError, match="batch_size 8 is less than two windows for each of 5 ranks"):
        load(TrainingConfig, {"batch_size": 8, "ranks": 5}, origin="parameters")


def test_parts_of_a_batch_computed_one_after_another_make_the_same_step(tmp_path):
    """The highway has no batch norm; the layers' batch norms see one part at a time."""
    config = CONFIG.model_copy(update={"architecture": "dense", **NOTHING_AT_RANDOM})
    whole, parts = (
        train(small_split(), config.model_copy(update=update), tmp_path / "best.pth").history["records"]
        for update in ({}, {"accumulation_steps": 5})
    )
    for one, other in zip(whole, parts, strict=True):
        assert one["train_loss"] == pytest.approx(other["train_loss"], rel=1e-5)
        assert one["validation_loss"] == pytest.approx(other["validation_loss"], rel=1e-5)


def test_layers_that_are_computed_twice_end_with_the_same_weights_bit_for_bit(tmp_path):
    """Dropout repeats itself, and batch norms count a batch once."""
    once, twice = (
        train(small_split(), CONFIG.model_copy(update={"activation_checkpointing": flag}), tmp_path / "best.pth").model
        for flag in (False, True)
    )
    for name, value in once.state_dict().items():
        np.testing.assert_array_equal(value, twice.state_dict()[name], err_msg=name)


def saved_bytes(*, recompute):
    """What the forward pass keeps for the backward pass."""
    model = Forecaster(Contract(CONFIG.window_size, 15, 60), "guide").train()
    model.layers.recompute = recompute
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(
        lambda tensor: kept.append(tensor.nbytes) or tensor, lambda same: same
    ):
        BatchLoss(model, WEIGHTS)(*load_batch(small_split()["train"], np.arange(256), torch.device("cpu")))
    return sum(kept)


def test_layers_that_are_computed_twice_keep_less_in_memory():
    assert saved_bytes(recompute=True) < 0.7 * saved_bytes(recompute=False)
