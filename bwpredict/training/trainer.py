"""What is trained after what: a model from scratch, a pruned model's weights, the champion's weights."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from bwpredict import schema
from bwpredict.datasets.sequences import Floats, Sequences
from bwpredict.datasets.windows import Split, WindowIndex
from bwpredict.errors import TelemetryError
from bwpredict.models.compression import non_zero_share, prune_weights
from bwpredict.models.network import Contract, Forecaster
from bwpredict.training import progress as progresses
from bwpredict.training.checkpointing import Resume, identity
from bwpredict.training.distributed.process_group import SINGLE, ProcessGroup
from bwpredict.training.loop import Stage, run_stage
from bwpredict.training.post_fit import confirm
from bwpredict.training.progress import OnEpoch, Progress, Training

if TYPE_CHECKING:
    from bwpredict.config import TrainingConfig

logger = logging.getLogger(__name__)

SEQUENCES_FOR_SCALES = 64
"""Days of some links."""
FINE_TUNE_RATE_SHARE = 0.25
"""Of the learning rate: what pruning left is nearly right already."""
WARM_RATE_SHARE = 0.25
"""Of the learning rate: what the champion knows is nearly right already."""
WARM_EPOCHS_SHARE = 1 / 3


def train(
    split: Split,
    config: TrainingConfig,
    checkpoint: Path,
    *,
    absent: frozenset[str] = frozenset(),
    on_epoch: OnEpoch | None = None,
    device: torch.device | None = None,
    resume: Resume | None = None,
    group: ProcessGroup = SINGLE,
    start: Forecaster | None = None,
) -> Training:
    """Fit a model on the training part, choosing the epoch by the validation part; nothing else is looked at.

    `absent` targets are filled constants: they do not count in the loss. The best model is written to `checkpoint`
    whenever it gets better; an exception of `on_epoch` ends the training. With `resume`, a training that was killed is
    continued. Same telemetry, configuration and machine: same weights on CPU. With `config.ranks` > 1, processes of
    their own train, and `on_epoch` is not called: the first of them logs its epochs. They are given `start`, the
    untrained model: none of them sees all telemetry, which its scales are measured on.

    Raises:
        DivergedError: the learning rate is so large that the loss is no longer finite.
        RankError: a process died.
        TelemetryError: a target never changes, so there is nothing to learn.
    """
    if config.ranks > group.count:
        new = new_model(split["train"], config, absent)
        return _distributed("train", new, split, config, checkpoint, absent, resume)

    def fit(progress: Progress) -> Forecaster:
        if resume and resume.stage:
            model = resume.restore(progress).to(progress.weights.device)
        else:
            model = (start or new_model(split["train"], config, absent)).to(progress.weights.device)
            progress.keep(model, 0, progress.validation_loss(model))
        return run_stage(Stage("train", config.epochs), model, progress, resume)

    return _run(fit, start, split, config, checkpoint, absent, on_epoch, device, resume, group)


def prune_and_fine_tune(
    model: Forecaster,
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
    """Prune `config.prune_share` of the model's weights, then train the rest for `config.fine_tune_epochs`.

    `model` is changed. The best pruned model is written to `checkpoint`; its history tells also the validation losses
    before pruning and before fine-tuning. Raises as `train`.
    """
    if config.ranks > group.count:
        return _distributed("fine_tune", model, split, config, checkpoint, absent, resume)

    def fit(progress: Progress) -> Forecaster:
        given = model.to(progress.weights.device)
        notes = progress.notes
        if resume and resume.stage:
            resume.restore(progress)  # the stage sets the weights; `given` has them pruned away for good
            prune_weights(given, config.prune_share)
        else:
            notes["unpruned_validation_loss"] = progress.validation_loss(given)
            prune_weights(given, config.prune_share)
            progress.keep(given, 0, progress.validation_loss(given))
            notes["pruned_validation_loss"] = progress.best_loss
        tuned = run_stage(Stage("fine_tune", config.fine_tune_epochs, FINE_TUNE_RATE_SHARE), given, progress, resume)
        progress.notes |= {"prune_share": config.prune_share, "non_zero_share": non_zero_share(tuned)}
        return tuned

    return _run(fit, model, split, config, checkpoint, absent, on_epoch, device, resume, group)


def continue_champion(
    champion: Forecaster,
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
    """Train the champion's weights further on new telemetry, for a third of the epochs; its scales stay.

    Epoch 0 is the champion as it is. Raises as `train`.
    """
    if config.ranks > group.count:
        return _distributed("warm_start", champion, split, config, checkpoint, absent, resume)

    def fit(progress: Progress) -> Forecaster:
        model = champion.to(progress.weights.device)
        if resume and resume.stage:
            resume.restore(progress)
        else:
            progress.keep(model, 0, progress.validation_loss(model))
            progress.notes["champion_validation_loss"] = progress.best_loss
        epochs = math.ceil(config.epochs * WARM_EPOCHS_SHARE)
        return run_stage(Stage("warm_start", epochs, WARM_RATE_SHARE), model, progress, resume)

    return _run(fit, champion, split, config, checkpoint, absent, on_epoch, device, resume, group)


def _run(
    fit: Callable[[Progress], Forecaster],
    start: Forecaster | None,
    split: Split,
    config: TrainingConfig,
    checkpoint: Path,
    absent: frozenset[str],
    on_epoch: OnEpoch | None,
    device: torch.device | None,
    resume: Resume | None,
    group: ProcessGroup,
) -> Training:
    """What all trainings have around them: seed, continuing, and at the end what validation confirms."""
    if resume:
        if group.count == 1:  # several were told by who started them
            resume.look(identity(split, config, absent, start))
        if over := resume.finished(checkpoint):
            return over
    torch.manual_seed(config.seed)
    device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
    progress = progresses.begin(split, config, checkpoint, absent=absent, on_epoch=on_epoch, device=device, group=group)
    model = fit(progress)
    if group.count == 1:  # else none of them sees all links
        confirm(model, progress.validation, config.validation_windows, progress.weights, config.raw_error_share)
        progress.save(model)
    training = Training(model.cpu().eval(), progresses.history(progress, model, device))
    if resume:
        resume.finish(training, checkpoint)
    return training


def _distributed(
    task: str,
    start: Forecaster,
    split: Split,
    config: TrainingConfig,
    checkpoint: Path,
    absent: frozenset[str],
    resume: Resume | None,
) -> Training:
    """Train in several processes, then choose from the validation part what the model serves."""
    from bwpredict.training.distributed.launcher import run_distributed

    training = run_distributed(task, start, split, config, checkpoint, absent, resume)
    weights = progresses.target_weights(absent, torch.device("cpu"))
    confirm(training.model, split["validation"], config.validation_windows, weights, config.raw_error_share)
    progresses.save(training.model, checkpoint, training.history["best_epoch"], config)
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
