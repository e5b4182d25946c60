"""A study small enough for tests; run as a program, it is one worker on the study in the given folder."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from bwpredict.config import SplitConfig, TrainingConfig
from bwpredict.datasets.windows import Split, index_windows, split_windows
from bwpredict.tuning.study import Study, StudySpec, open_study, run_trials

TRAINING = TrainingConfig(
    epochs=2, batch_size=64, windows_per_epoch=256, validation_windows=64, learning_rate=1e-3, seed=3
)
TRIALS = 4


def spec_of(**changes: Any) -> StudySpec:
    fields: dict[str, Any] = {
        "name": "small",
        "training": TRAINING,
        "split": SplitConfig(),
        "telemetry": "data/telemetry",
        "snapshot_id": "abc",
        "code_version": "test",
        "created_at": "2026-11-01T00:00:00+00:00",
    }
    return StudySpec(**(fields | changes))


def split_of_days(days: int = 3) -> Split:
    from frames import whole_days

    return split_windows(index_windows(whole_days(days, links=1), 20, 15), SplitConfig())


def worker(folder: Path, together: int) -> None:
    """Wait until this many workers are ready, then run trials until all are finished; prints each."""
    study, split = open_study(folder, spec_of()), split_of_days()
    ready = folder / "ready"
    ready.mkdir(exist_ok=True)
    (ready / str(time.monotonic_ns())).touch()
    while len(list(ready.iterdir())) < together:
        time.sleep(0.01)
    run_trials(study, split, TRIALS, lambda trial: print(trial.number, flush=True), poll_s=0.05)


class DiedError(Exception):
    """Stands for the end of the process: nothing of the study is tidied up."""


@dataclass
class Script:
    """What training does instead of training: `loss_of(config, epoch)` may raise."""

    loss_of: Callable[[TrainingConfig, int], float] = lambda config, epoch: config.learning_rate + 1 / epoch
    trained: list[TrainingConfig] = field(default_factory=list)

    def train(self, _split: Split, config: TrainingConfig, _checkpoint: Path, **given: Any) -> Any:
        self.trained.append(config)
        records: list[dict[str, float]] = []
        for epoch in range(1, config.epochs + 1):
            place = {"epoch": epoch, "stage_epoch": epoch, "stage_epochs": config.epochs}
            records.append({**place, "validation_loss": self.loss_of(config, epoch)})
            given["on_epoch"](records[-1])
        return SimpleNamespace(history={"records": records})


NO_SPLIT: Any = {"train": SimpleNamespace(frame=SimpleNamespace(filled=None))}


def study_in(folder: Path, **changes: Any) -> Study:
    return open_study(folder, spec_of(**changes))


if __name__ == "__main__":
    worker(Path(sys.argv[1]), int(sys.argv[2]))
