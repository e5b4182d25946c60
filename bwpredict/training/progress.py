"""What one training hands on from epoch to epoch: the best model so far, a record of each epoch, the history."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

import torch
from torch import Tensor

from bwpredict import schema
from bwpredict.datasets.windows import Split
from bwpredict.models.checkpoint import save_checkpoint
from bwpredict.models.network import Forecaster, parameter_count
from bwpredict.training.distributed.process_group import SINGLE, ProcessGroup
from bwpredict.training.validation import validation_losses

if TYPE_CHECKING:
    from bwpredict.config import TrainingConfig

logger = logging.getLogger(__name__)


class Record(TypedDict):
    """One finished epoch."""

    epoch: int
    """Counts from 1, through all stages."""
    stage: str
    stage_epoch: int
    stage_epochs: int
    """At most this many in this stage."""
    train_loss: float
    validation_loss: float
    skill: float
    """On the validation part, as `Progress.validate` gives it."""
    learning_rate: float
    windows: int
    """Windows of the window head; a chunk of a stream comes with every sixteenth."""
    seconds: float
    best: bool


OnEpoch = Callable[[Record], None]
PASSES_PER_EPOCH = 2
"""An epoch draws at most this many times the windows of the training part: little telemetry is overfitted soon."""


@dataclass(frozen=True)
class Training:
    """What a training gives: the best model, and the history document (kind `training_history`)."""

    model: Forecaster
    history: dict[str, Any]


@dataclass
class Progress:
    """How far one training is, and what it works with."""

    split: Split
    config: TrainingConfig
    weights: Tensor
    """[targets], of each target in the loss; 0 where it is absent."""
    checkpoint: Path
    """The best model so far; each process writes a separate file."""
    on_epoch: OnEpoch | None = None
    group: ProcessGroup = SINGLE
    records: list[Record] = field(default_factory=list)
    best_epoch: int = 0
    """0: none was better than the start, which forecasts its anchor."""
    best_loss: float = math.inf
    started: float = field(default_factory=time.monotonic)
    spent_seconds: float = 0.0
    """By processes that were killed before this one."""
    interruptions: int = 0

    @cached_property
    def updates_per_epoch(self) -> int:
        """Changes of the weights."""
        most = PASSES_PER_EPOCH * self.group.total(len(self.split["train"]))
        return math.ceil(min(self.config.windows_per_epoch, most) / self.config.batch_size)

    def validate(self, model: Forecaster) -> tuple[float, float]:
        """Loss and skill on the validation part: of both, the mean over windows and streams.

        The skill is the share by which the median's absolute error, in log space and typical changes, is below that of
        the anchor, the mean of the last minutes.
        """
        found = validation_losses(model, self.split["validation"], self.config, self.weights)
        means = []
        for sums in found.tolist():
            loss, error, anchor_error, count = map(self.group.total, sums)
            means += [(loss / count, error / count, anchor_error / count)] if count else []
        loss, error, anchor_error = (sum(values) / len(means) for values in zip(*means, strict=True))
        return loss, 1 - error / anchor_error if anchor_error else 0.0

    def keep(self, model: Forecaster, epoch: int, validation_loss: float) -> None:
        """Make the model of this epoch the best one."""
        self.best_epoch, self.best_loss = epoch, validation_loss
        save(model, self.checkpoint, epoch, self.config)

    def tell(self, record: Record) -> None:
        """Keep the record of a finished epoch."""
        self.records.append(record)
        if self.on_epoch:
            self.on_epoch(record)

    @property
    def seconds(self) -> float:
        """Wall-clock time of the training, without the pauses between a kill and its resumption."""
        return self.spent_seconds + time.monotonic() - self.started


def save(model: Forecaster, checkpoint: Path, epoch: int, config: TrainingConfig) -> None:
    """Write the model as that of an epoch."""
    save_checkpoint(model, checkpoint, {"epoch": epoch, "training": config.model_dump()})


def target_weights(absent: frozenset[str], device: torch.device) -> Tensor:
    """[targets], of each in the loss: all the same, and 0 for those that are absent."""
    counted = torch.tensor([name not in absent for name in schema.TARGETS], device=device).float()
    return counted / counted.sum()


def history(progress: Progress, model: Forecaster, device: torch.device) -> dict[str, Any]:
    """The history document of a training that is over."""
    records = progress.records
    busy = sum(record["seconds"] for record in records)
    return {
        "records": records,
        "best_epoch": progress.best_epoch,
        "stopped_early": records[-1]["stage_epoch"] != records[-1]["stage_epochs"],
        "duration_seconds": round(progress.seconds, 3),
        "interruptions": progress.interruptions,
        "windows_per_second": round(sum(record["windows"] for record in records) / busy, 1) if busy else None,
        "parameters": parameter_count(model),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
        "ranks": progress.group.count,
        "seed": progress.config.seed,
        "loss": "absolute error of the median and pinball loss of the bounds, in log space, in typical changes",
        "windows": {name: len(part) for name, part in progress.split.parts.items()},
    }


def log_epoch(record: Record) -> None:
    """An `OnEpoch` that says how the training gets on."""
    left = timedelta(seconds=round((record["stage_epochs"] - record["stage_epoch"]) * record["seconds"]))
    logger.info(
        "%s: epoch %d/%d  training loss %.4f  validation loss %.4f%s  skill %.1f %%  %s windows/s  at most %s left",
        record["stage"],
        record["stage_epoch"],
        record["stage_epochs"],
        record["train_loss"],
        record["validation_loss"],
        " (best)" if record["best"] else "",
        100 * record["skill"],
        f"{record['windows'] / max(record['seconds'], 1e-3):,.0f}",
        left,
    )
