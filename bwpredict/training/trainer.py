"""What is trained after what: a model from scratch, a pruned model's weights, the champion's weights."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from pathlib import Path

import torch

from bwpredict import schema
from bwpredict.config import TrainingConfig
from bwpredict.datasets.windows import Split, WindowIndex
from bwpredict.errors import TelemetryError
from bwpredict.models.compression import non_zero_share, prune_weights
from bwpredict.models.network import Contract, Forecaster
from bwpredict.training import progress as progresses
from bwpredict.training.checkpointing import Resume, identity
from bwpredict.training.distributed.launcher import over_ranks
from bwpredict.training.distributed.process_group import ALONE, Ranks
from bwpredict.training.level_drift import measure_level_drift
from bwpredict.training.loop import Stage, run_stage
from bwpredict.training.post_fit import confirm
from bwpredict.training.progress import OnEpoch, Progress, Training

logger = logging.getLogger(__name__)

SAMPLES_FOR_TRANSFORMS = 400_000
"""20,000 windows of 20 samples: solving the linear forecast costs more the longer the window."""
HIGHWAY_WINDOWS = 3
"""The highway sees this many times the windows of an epoch: it takes a tenth of the time for each."""
HIGHWAY_RATE_SHARE = 0.1
"""Once the layers join, the trained highway moves at this share of their learning rate."""
LAYERS_LEAST_GAIN = 0.002
"""What the layers must lower the validation loss by to be kept: the validation days are the next ones after those of
the training, and a smaller gain there is none on later days (docs/accuracy.md)."""
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
    ranks: Ranks = ALONE,
    start: Forecaster | None = None,
) -> Training:
    """Fit a model on the training part, choosing the epoch by the validation part; nothing else is looked at.

    `absent` targets are filled constants: they do not count in the loss. The best model is written to
    `checkpoint` whenever it gets better; an exception of `on_epoch` ends the training. With `resume`, a training
    that was killed is continued. Same windows, configuration and machine: same weights on CPU. With
    `config.ranks` > 1, processes of its own train, and `on_epoch` is not called: the first rank logs its epochs.
    They are given `start`, the untrained model: none of them sees all windows, which its transforms are fitted to.

    Raises:
        DivergedError: the learning rate is so large that the loss is no longer finite.
        RankError: a rank died.
        TelemetryError: a target never changes, so there is nothing to learn.
    """
    if config.ranks > ranks.count:
        torch.manual_seed(config.seed)
        new = _new_model(split["train"], config, absent)
        return over_ranks("train", new, split, config, checkpoint, absent, resume)

    def fit(progress: Progress) -> Forecaster:
        stage_before = resume.stage if resume else None
        if resume and stage_before:
            model = resume.restore(progress).to(progress.weights.device)
        else:
            model = (start or _new_model(split["train"], config, absent)).to(progress.weights.device)
            progress.keep(model, 0, progress.validation_loss(model))
        if config.highway_epochs and stage_before != "layers":
            model = run_stage(_highway_stage(config), model, progress, resume)
        if config.architecture == "guide":
            if stage_before != "layers":
                model = _with_layers(model)
                progress.save(model)
            model = run_stage(_layers_stage(config), model, progress, resume)
            if config.highway_epochs and progress.best_epoch <= _epochs_of_the_highway(progress):
                logger.info(
                    "the guide's layers lowered the validation loss by less than %.1f %%, so they add nothing to the"
                    " forecasts; --architecture dense gives the same ones in less time", 100 * LAYERS_LEAST_GAIN
                )  # fmt: skip
        return model

    return _run(fit, start, split, config, checkpoint, absent, on_epoch, device, resume, ranks)


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
    ranks: Ranks = ALONE,
) -> Training:
    """Prune `config.prune_share` of the model's weights, then train the rest for `config.fine_tune_epochs`.

    `model` is changed. The best pruned model is written to `checkpoint`; its history tells also the
    validation losses before pruning and before fine-tuning.

    Raises:
        ConfigError: as `train`.
    """
    if config.ranks > ranks.count:
        return over_ranks("fine_tune", model, split, config, checkpoint, absent, resume)

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
        tuned = run_stage(_fine_tune_stage(config), given, progress, resume)
        progress.notes |= {"prune_share": config.prune_share, "non_zero_share": non_zero_share(tuned)}
        return tuned

    return _run(fit, model, split, config, checkpoint, absent, on_epoch, device, resume, ranks)


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
    ranks: Ranks = ALONE,
) -> Training:
    """Train the champion's weights further on new telemetry, for a third of the epochs of the last stage.

    Its scales stay: the weights were learnt with them. Epoch 0 is the champion as it is.

    Raises:
        ConfigError: as `train`.
    """
    if config.ranks > ranks.count:
        return over_ranks("warm_start", champion, split, config, checkpoint, absent, resume)

    def fit(progress: Progress) -> Forecaster:
        model = champion.to(progress.weights.device)
        if resume and resume.stage:
            resume.restore(progress)
        else:
            progress.keep(model, 0, progress.validation_loss(model))
            progress.notes["champion_validation_loss"] = progress.best_loss
        return run_stage(_warm_stage(config), model, progress, resume)

    return _run(fit, champion, split, config, checkpoint, absent, on_epoch, device, resume, ranks)


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
    ranks: Ranks,
) -> Training:
    """What all trainings have around them: seed, continuing, and at the end what validation confirms."""
    if resume:
        if ranks.count == 1:  # several were told by who started them
            resume.look(identity(split, config, absent, start))
        if over := resume.finished(checkpoint):
            return over
    torch.manual_seed(config.seed)
    device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
    progress = progresses.begin(split, config, checkpoint, absent=absent, on_epoch=on_epoch, device=device, ranks=ranks)
    model = fit(progress)
    confirm(model, progress.validation, progress.weights, config.raw_error_share)
    progress.save(model)
    training = Training(model.cpu().eval(), progresses.history(progress, model, device))
    if resume:
        resume.finish(training, checkpoint)
    return training


def _highway_stage(config: TrainingConfig) -> Stage:
    return Stage("highway", config.highway_epochs, HIGHWAY_WINDOWS * config.windows_per_epoch)


def _epochs_of_the_highway(progress: Progress) -> int:
    return sum(record["stage"] == "highway" for record in progress.records)


def _layers_stage(config: TrainingConfig) -> Stage:
    if config.highway_epochs == 0:
        return Stage("layers", config.epochs, config.windows_per_epoch)
    return Stage("layers", config.epochs, config.windows_per_epoch, HIGHWAY_RATE_SHARE, least_gain=LAYERS_LEAST_GAIN)


def _fine_tune_stage(config: TrainingConfig) -> Stage:
    share = FINE_TUNE_RATE_SHARE
    return Stage("fine_tune", config.fine_tune_epochs, config.windows_per_epoch, share, share)


def _warm_stage(config: TrainingConfig) -> Stage:
    last = _layers_stage(config) if config.architecture == "guide" else _highway_stage(config)
    epochs = math.ceil(last.epochs * WARM_EPOCHS_SHARE)
    return Stage("warm_start", epochs, last.windows, WARM_RATE_SHARE * last.highway_rate_share, WARM_RATE_SHARE)


def _with_layers(model: Forecaster) -> Forecaster:
    """The same model with the guide's layers beside the highway: they give 0 until they are trained."""
    grown = Forecaster(model.contract, "guide")
    grown.load_state_dict(model.state_dict(), strict=False)
    return grown.to(model.offset.device)


def _new_model(train: WindowIndex, config: TrainingConfig, absent: frozenset[str]) -> Forecaster:
    cadence = train.frame.cadence_seconds
    horizon_minutes = train.horizon_steps * cadence // 60
    model = Forecaster(Contract(config.window_size, horizon_minutes, cadence), "dense")
    sample = train.spread(SAMPLES_FOR_TRANSFORMS // config.window_size)
    targets = sample.targets()
    constant = [
        name
        for name, column in zip(schema.TARGETS, targets.T, strict=True)
        if name not in absent and column.min() == column.max()
    ]
    if constant:
        raise TelemetryError(
            f"{', '.join(constant)}: constant in all training windows, so there is nothing to learn;"
            " expected a measurement that changes. Check the collector."
        )
    model.fit_transforms(torch.from_numpy(sample.inputs()), torch.from_numpy(targets))
    model.level_drift.copy_(measure_level_drift(model, train))
    return model
