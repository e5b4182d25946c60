"""A training that is killed continues, and ends as if it had not been."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from small_training import CONFIG, small_split, train_and_continue

from bwpredict.training.checkpointing import Resume
from bwpredict.training.trainer import train

HELPERS = Path(__file__).parents[1] / "helpers"
TIMES = ("seconds", "duration_seconds", "windows_per_second", "interruptions")


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def train_until_killed(folder, point):
    environment = os.environ | {"PYTHONPATH": f"{HELPERS}:{HELPERS.parents[1]}", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(HELPERS / "small_training.py"), str(folder), point]
    return subprocess.run(command, env=environment, check=False, capture_output=True, text=True, timeout=600)


def assert_same_weights(one, other):
    for name, value in one.model.state_dict().items():
        np.testing.assert_array_equal(value, other.model.state_dict()[name], err_msg=name)


def without_times(document):
    if isinstance(document, dict):
        return {key: without_times(value) for key, value in document.items() if key not in TIMES}
    return [without_times(each) for each in document] if isinstance(document, list) else document


class StoppedError(Exception):
    """What ends a training in the middle, as far as this process goes."""


def stop_after(epoch):
    def on_epoch(record):
        if record["epoch"] == epoch:
            raise StoppedError

    return on_epoch


@pytest.mark.slow
def test_a_training_killed_again_and_again_ends_with_the_same_weights_bit_for_bit(tmp_path):
    folder = tmp_path / "killed"
    for point in ("train", "writing", "warm_start"):
        ended = train_until_killed(folder, point)
        assert ended.returncode == -signal.SIGKILL, ended.stderr
        assert (folder / "train.pth").is_file(), point
    killed = train_and_continue(folder)
    assert killed[0].history["interruptions"] >= 1
    assert killed[1].history["interruptions"] == 1
    for one, other in zip(killed, train_and_continue(tmp_path / "undisturbed"), strict=True):
        assert_same_weights(one, other)
        assert without_times(one.history) == without_times(other.history)


@pytest.fixture
def stopped(tmp_path):
    """A folder with the state of a training that ended in its third epoch."""
    with pytest.raises(StoppedError):
        train(
            small_split(),
            CONFIG,
            tmp_path / "best.pth",
            on_epoch=stop_after(3),
            resume=Resume(tmp_path / "train.pth", 0),
        )
    return tmp_path


def epochs_trained(folder, config=CONFIG, split=None):
    told = []
    train(
        split or small_split(), config, folder / "best.pth", on_epoch=told.append, resume=Resume(folder / "train.pth")
    )
    return [record["epoch"] for record in told]


def test_only_the_epochs_that_are_left_are_trained_and_a_finished_training_not_at_all(stopped):
    assert epochs_trained(stopped) == [3, 4]
    (stopped / "best.pth").unlink()
    assert epochs_trained(stopped) == []
    assert (stopped / "best.pth").is_file()


@pytest.mark.parametrize(
    ("other", "named"),
    [
        ({"config": CONFIG.model_copy(update={"learning_rate": 1e-3})}, "configuration"),
        ({"split": "another"}, "telemetry"),
    ],
)
def test_the_state_of_another_training_is_named_and_not_continued(stopped, caplog, other, named):
    if "split" in other:
        other = {"split": small_split(seed=1)}
    assert epochs_trained(stopped, **other) == [1, 2, 3, 4]
    assert f"is of a training with other {named}; training starts again from the beginning" in caplog.text


def test_the_state_of_other_code_is_not_continued(stopped, caplog):
    state = torch.load(stopped / "train.pth", weights_only=True)
    state["identity"]["code"] = "other"
    torch.save(state, stopped / "train.pth")
    assert epochs_trained(stopped)[0] == 1
    assert "other code" in caplog.text


def test_a_damaged_state_is_named_and_training_begins_anew(stopped, caplog):
    (stopped / "train.pth").write_bytes(b"no state")
    assert epochs_trained(stopped)[0] == 1
    assert "is no state of a training" in caplog.text


def test_a_state_that_cannot_be_written_costs_no_training(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr("bwpredict.training.checkpointing.write_atomically", _full_disk)
    states = Resume(tmp_path / "train.pth", 0)
    states.finish = lambda *_: None
    history = train(small_split(), CONFIG, tmp_path / "best.pth", resume=states).history
    assert len(history["records"]) == 4
    assert "No space left on device" in caplog.text


def _full_disk(path, content):
    raise OSError(28, "No space left on device", str(path))
