"""What is trained: a model from scratch, or the champion's weights further."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, Unpack

import numpy as np
import torch

from bwpredict import schema
from bwpredict.datasets.sequences import Floats, Sequences
from bwpredict.datasets.windows import Split, WindowIndex
from bwpredict.errors import TelemetryError
from bwpredict.models.network import Contract, Forecaster
from bwpredict.training.checkpointing import Resume, identity
from bwpredict.training.distributed.process_group import SINGLE, ProcessGroup
from bwpredict.training.loop import Stage, run_stage
from bwpredict.training.post_fit import confirm
from bwpredict.training.progress import OnEpoch, Progress, Training, history, save, target_weights

if TYPE_CHECKING:
    from bwpredict.config import TrainingConfig

SEQUENCES_FOR_SCALES = 64
"""Days of some links."""
WARM_RATE_SHARE = 0.25
"""Of the learning rate: what the champion knows is nearly right already."""
WARM_EPOCHS_SHARE = 1 / 3


class Options(TypedDict, total=False):
    """What both trainings take beside telemetry, configuration and checkpoint."""

    absent: frozenset[str]
    """Targets that are filled constants: they do not count in the loss."""
    on_epoch: OnEpoch | None
    """Called after each epoch; an exception ends the training. With `config.ranks` > 1, the first rank logs instead."""
    device: torch.device | None
    """None: a GPU if there is one."""
    resume: Resume | None
    """Continues a training that was killed."""
    group: ProcessGroup
    """Of the process itself, where several train."""


def train(
    split: Split,
    config: TrainingConfig,
    checkpoint: Path,
    *,
    start: Forecaster | None = None,
    **options: Unpack[Options],
) -> Training:
    """Fit a model on the training part, choosing the epoch by the validation part; nothing else is looked at.

    The best model is written to `checkpoint` whenever it gets better. Same telemetry, configuration and machine: same
    weights on CPU. With `config.ranks` > 1, separate processes train. They start from `start`, an untrained model with
    its scales: no process sees all of the telemetry that the scales are measured on.

    Raises:
        DivergedError: the learning rate is so large that the loss is no longer finite.
        RankError: a process died.
        TelemetryError: a target never changes, so there is nothing to learn.
    """
    return _run(Stage("train", config.epochs), start, split, config, checkpoint, **options)


def continue_champion(
    champion: Forecaster, split: Split, config: TrainingConfig, checkpoint: Path, **options: Unpack[Options]
) -> Training:
    """Train the champion's weights further on new telemetry, for a third of the epochs; its scales stay.

    Epoch 0 is the champion as it is. Raises as `train`.
    """
    epochs = math.ceil(config.epochs * WARM_EPOCHS_SHARE)
    return _run(Stage("warm_start", epochs, WARM_RATE_SHARE), champion, split, config, checkpoint, **options)


def _run(
    stage: Stage,
    start: Forecaster | None,
    split: Split,
    config: TrainingConfig,
    checkpoint: Path,
    *,
    absent: frozenset[str] = frozenset(),
    on_epoch: OnEpoch | None = None,
    device: torch.device | None = None,
    resume: Resume | None = None,
    group: ProcessGroup = SINGLE,
) -> Training:
    """Train, from `start` or a new model, then choose from the validation part what the model serves."""
    if config.ranks > group.count:
        from bwpredict.training.distributed.launcher import run_distributed

        start = start or new_model(split["train"], config, absent)
        training = run_distributed(stage.name, start, split, config, checkpoint, absent, resume)
        confirm(training.model, split["validation"], config, target_weights(absent, torch.device("cpu")))
        save(training.model, checkpoint, training.history["best_epoch"], config)
        return training
    if resume:
        if group.count == 1:  # several were told by who started them
            resume.look(identity(split, config, absent, start))
        if over := resume.finished(checkpoint):
            return over
    torch.manual_seed(config.seed)
    device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
    weights = target_weights(absent, device)
    progress = Progress(split, config, weights, checkpoint, on_epoch, group)
    if resume and resume.stage:
        model = resume.restore(progress).to(device)
    else:
        model = (start or new_model(split["train"], config, absent)).to(device)
        progress.keep(model, 0, progress.validate(model)[0])
    model = run_stage(stage, model, progress, resume)
    if group.count == 1:  # else none of them sees all links
        confirm(model, split["validation"], config, weights)
        save(model, checkpoint, progress.best_epoch, config)
    training = Training(model.cpu().eval(), history(progress, model, device))
    if resume:
        resume.finish(training, checkpoint)
    return training


def new_model(train: WindowIndex, config: TrainingConfig, absent: frozenset[str]) -> Forecaster:
    """An untrained model with the scales of the training part. Raises TelemetryError."""
    torch.manual_seed(config.seed)
    cadence = train.frame.cadence_seconds
    contract = Contract(config.window_size, train.horizon_steps * cadence // 60, cadence)
    model = Forecaster(contract, config.architecture)
    daily = Sequences.of(train).daily()
    days = daily.reshape(-1, *daily.shape[2:])
    values = days[..., : len(schema.TARGETS)]
    days = days[np.isfinite(values).all(axis=-1).any(axis=-1)]
    _require_change(values, absent)
    sample = days[np.linspace(0, len(days) - 1, min(len(days), SEQUENCES_FOR_SCALES)).astype(np.int64)]
    levels = model.features.levels(torch.from_numpy(daily)).numpy()
    there = np.isfinite(levels)
    means = np.where(there, levels, 0).sum(axis=2) / np.where(there.any(axis=2), there.sum(axis=2), np.nan)
    model.fit_scales(torch.from_numpy(sample), means)
    return model


def _require_change(values: Floats, absent: frozenset[str]) -> None:
    constant = [
        name
        for place, name in enumerate(schema.TARGETS)
        if name not in absent and np.nanmin(values[..., place]) == np.nanmax(values[..., place])
    ]
    if constant:
        raise TelemetryError(
            f"{', '.join(constant)}: constant in all training windows, so there is nothing to learn;"
            " expected a measurement that changes. Check the collector."
        )
