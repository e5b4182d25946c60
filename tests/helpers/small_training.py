"""A training of seconds, and a process that kills itself within it: `python small_training.py FOLDER POINT`.

POINT is where: `train` or `warm_start` (after the second step there), `writing` (while the state is written), `never`.
"""

from __future__ import annotations

import os
import signal
import sys
from collections import Counter
from pathlib import Path

import torch
from frames import make_frame

from bwpredict.config import SplitConfig, TrainingConfig
from bwpredict.datasets.windows import index_windows, split_windows
from bwpredict.models.checkpoint import load_checkpoint
from bwpredict.training import checkpointing
from bwpredict.training.checkpointing import Resume
from bwpredict.training.trainer import continue_champion, train

CONFIG = TrainingConfig(
    epochs=4,
    batch_size=32,
    window_size=5,
    windows_per_epoch=96,
    validation_windows=64,
)


def small_split(config=CONFIG, seed=0, minutes=(900,)):
    """Of links that were measured for this many minutes each."""
    frame = make_frame([list(range(one)) for one in minutes], seed=seed)
    return split_windows(index_windows(frame, config.window_size, config.horizon_minutes), SplitConfig())


def train_and_continue(folder: Path, config=CONFIG, split=None, every_seconds=0.0):
    """Both trainings, each continued from what the folder holds."""
    split = split or small_split(config)
    first = train(split, config, folder / "first.pth", resume=Resume(folder / "train.pth", every_seconds))
    champion = load_checkpoint(folder / "first.pth")  # a training changes the model that it is given
    states = Resume(folder / "warm_start.pth", every_seconds)
    return first, continue_champion(champion, split, config, folder / "warm.pth", resume=states)


def _die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)


def _die_after(function, times=1, key=lambda *arguments: None, wanted=None):
    calls = Counter()

    def wrapped(*arguments, **options):
        result = function(*arguments, **options)
        calls[key(*arguments)] += 1
        if calls[wanted] == times:
            _die()
        return result

    return wrapped


def _arrange(point: str) -> None:
    if point == "writing":
        Path.replace = _die_at_the_state(Path.replace)
    elif point != "never":
        save = checkpointing.Resume.save_if_due
        checkpointing.Resume.save_if_due = _die_after(save, 2, lambda *arguments: arguments[4], point)


def _die_at_the_state(replace):
    def wrapped(path, target):
        if Path(target).name == "train.pth":
            _die()
        return replace(path, target)

    return wrapped


if __name__ == "__main__":
    torch.set_num_threads(1)
    _arrange(sys.argv[2])
    train_and_continue(Path(sys.argv[1]))
