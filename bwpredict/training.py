"""Training in two stages: the highway first, which is quick, then the guide's layers beside it.

Each epoch sees a budget of windows; the best checkpoint by validation loss is kept, one record an epoch.
The loss is the mean absolute error in log space, in units of the typical change: nearly the relative
error, with every target weighing the same, and its optimum is the median that MAE and MAPE ask for.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bwpredict import schema
from bwpredict.compression import non_zero_share, prune_weights
from bwpredict.config import TrainingConfig
from bwpredict.errors import DivergedError, TelemetryError
from bwpredict.model import Contract, Forecaster, load_checkpoint, parameter_count, save_checkpoint
from bwpredict.sampling import draw
from bwpredict.windows import Index, Split, WindowIndex

logger = logging.getLogger(__name__)

WARM_UP_SHARE = 0.1
SAMPLES_FOR_TRANSFORMS = 400_000
"""20,000 windows of 20 samples: solving the linear forecast costs more the longer the window."""
EVALUATION_BATCH = 1024
HIGHWAY_WINDOWS = 3
"""The highway sees this many times the windows of an epoch: it takes a tenth of the time for each."""
HIGHWAY_RATE_SHARE = 0.1
"""Once the layers join, the trained highway moves at this share of their learning rate."""
FINE_TUNE_RATE_SHARE = 0.25
"""Of the learning rate: what pruning left is nearly right already."""
CHANGE_SHARES = tuple(round(0.05 * step, 2) for step in range(27))
SHARE_BLOCKS = 40
SURE = 1.645
"""Standard errors: one in twenty useless models would look better than its anchor by this much."""


class Record(TypedDict):
    """One finished epoch."""

    epoch: int
    """Counts from 1, through all stages."""
    stage: str
    stage_epoch: int
    stage_epochs: int
    """At most so many in this stage."""
    train_loss: float
    validation_loss: float
    learning_rate: float
    windows: int
    seconds: float
    best: bool


OnEpoch = Callable[[Record], None]


@dataclass(frozen=True)
class Training:
    """What `train` gives: the best model, and the history document (kind `training_history`)."""

    model: Forecaster
    history: dict[str, Any]


@dataclass
class _Progress:
    """What one training has to hand on from epoch to epoch."""

    split: Split
    config: TrainingConfig
    weights: Tensor
    """[targets], of each target in the loss; 0 where it is absent."""
    validation: WindowIndex
    checkpoint: Path
    on_epoch: OnEpoch | None
    records: list[Record]
    best_epoch: int = 0
    """0: none was better than the start, the solved linear forecast."""
    best_loss: float = math.inf

    def keep(self, model: Forecaster, epoch: int, validation_loss: float) -> None:
        """Make the model of this epoch the best one."""
        self.best_epoch, self.best_loss = epoch, validation_loss
        self.save(model)

    def tell(self, record: Record) -> None:
        """Keep the record of a finished epoch."""
        self.records.append(record)
        if self.on_epoch:
            self.on_epoch(record)

    def save(self, model: Forecaster) -> None:
        """Write the model to the checkpoint, as that of the best epoch."""
        save_checkpoint(model, self.checkpoint, {"epoch": self.best_epoch, "training": self.config.model_dump()})


def train(
    split: Split,
    config: TrainingConfig,
    checkpoint: Path,
    *,
    absent: frozenset[str] = frozenset(),
    on_epoch: OnEpoch | None = None,
    device: torch.device | None = None,
) -> Training:
    """Fit a model on the training part, choosing the epoch by the validation part; nothing else is looked at.

    `absent` targets are filled constants: they do not count in the loss. The best model is written to
    `checkpoint` whenever it gets better; an exception of `on_epoch` ends the training. Same windows,
    configuration and machine: same weights on CPU.

    Raises:
        DivergedError: the learning rate is so large that the loss is no longer finite.
        TelemetryError: a target never changes, so there is nothing to learn.
    """
    started = time.monotonic()
    torch.manual_seed(config.seed)
    model = _new_model(split["train"], config, absent).to(device or _device())
    progress = _start(model, split, config, checkpoint, absent, on_epoch)
    if config.highway_epochs:
        model = _stage("highway", model, config.highway_epochs, HIGHWAY_WINDOWS * config.windows_per_epoch, progress)
    if config.architecture == "guide":
        model = _with_layers(model)
        progress.save(model)
        model = _stage("layers", model, config.epochs, config.windows_per_epoch, progress)
    return _finish(model, progress, started)


def prune_and_fine_tune(
    model: Forecaster,
    split: Split,
    config: TrainingConfig,
    checkpoint: Path,
    *,
    absent: frozenset[str] = frozenset(),
    on_epoch: OnEpoch | None = None,
    device: torch.device | None = None,
) -> Training:
    """Prune `config.prune_share` of the model's weights, then train the rest for `config.fine_tune_epochs`.

    `model` is changed. The best pruned model is written to `checkpoint`; its history tells also the
    validation losses before pruning and before fine-tuning.

    Raises:
        ConfigError: as `train`.
    """
    started = time.monotonic()
    torch.manual_seed(config.seed)
    model = model.to(device or _device())
    progress = _start(model, split, config, checkpoint, absent, on_epoch)
    losses = {"unpruned_validation_loss": progress.best_loss}
    prune_weights(model, config.prune_share)
    progress.keep(model, 0, evaluate_loss(model, progress.validation, progress.weights))
    losses["pruned_validation_loss"] = progress.best_loss
    tuned = _finish(
        _stage("fine_tune", model, config.fine_tune_epochs, config.windows_per_epoch, progress), progress, started
    )
    non_zero = {"prune_share": config.prune_share, "non_zero_share": non_zero_share(tuned.model)}
    return Training(tuned.model, {**tuned.history, **losses, **non_zero})


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _start(
    model: Forecaster,
    split: Split,
    config: TrainingConfig,
    checkpoint: Path,
    absent: frozenset[str],
    on_epoch: OnEpoch | None,
) -> _Progress:
    """The model as it is becomes the best one so far."""
    counted = torch.tensor([name not in absent for name in schema.TARGETS], device=model.offset.device).float()
    validation = split["validation"].spread(config.validation_windows)
    progress = _Progress(split, config, counted / counted.sum(), validation, checkpoint, on_epoch, [])
    progress.keep(model, 0, evaluate_loss(model, validation, progress.weights))
    return progress


def _finish(model: Forecaster, progress: _Progress, started: float) -> Training:
    """Keep of the trained parts what validation confirms, and write the checkpoint for the last time."""
    device = model.offset.device
    _choose_change_share(model, progress)
    progress.save(model)
    return Training(model.cpu().eval(), _history(progress, model, device, time.monotonic() - started))


def _stage(name: str, model: Forecaster, epochs: int, windows: int, progress: _Progress) -> Forecaster:
    """Train all parameters for at most `epochs` of `windows` each; returns the best model so far."""
    config, train_part = progress.config, progress.split["train"]
    budget = min(windows, len(train_part))
    optimizer = _optimizer(model, config, name)
    steps = math.ceil(budget / config.batch_size) * epochs
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _learning_rate_share(step, steps))
    first = len(progress.records) + 1
    for epoch in range(first, first + epochs):
        began = time.monotonic()
        order = draw(train_part, budget, config.draw, seed=config.seed, epoch=epoch)
        with _deterministic(model.offset.device):
            train_loss = _train_epoch(model, train_part, order, config, optimizer, schedule, progress.weights)
        seconds = time.monotonic() - began
        validation_loss = evaluate_loss(model, progress.validation, progress.weights)
        if not math.isfinite(train_loss + validation_loss):
            raise DivergedError(
                f"the loss is no longer finite in epoch {epoch}: learning_rate={config.learning_rate} is too large."
            )
        better = validation_loss < progress.best_loss
        if better:
            progress.keep(model, epoch, validation_loss)
        progress.tell(
            Record(
                epoch=epoch,
                stage=name,
                stage_epoch=epoch - first + 1,
                stage_epochs=epochs,
                train_loss=train_loss,
                validation_loss=validation_loss,
                learning_rate=float(schedule.get_last_lr()[0]),
                windows=budget,
                seconds=round(seconds, 3),
                best=better,
            )
        )
        if epoch - max(progress.best_epoch, first - 1) >= config.patience_epochs:
            logger.info("%s stopped early: no better validation loss for %d epochs", name, config.patience_epochs)
            break
    return load_checkpoint(progress.checkpoint).to(model.offset.device)


def _optimizer(model: Forecaster, config: TrainingConfig, stage: str) -> torch.optim.Optimizer:
    rate = config.learning_rate * (FINE_TUNE_RATE_SHARE if stage == "fine_tune" else 1)
    trained_before = stage == "layers" and config.highway_epochs > 0
    groups = [{"params": list(model.highway.parameters()), "lr": rate * (HIGHWAY_RATE_SHARE if trained_before else 1)}]
    if model.layers is not None:
        groups.insert(0, {"params": list(model.layers.parameters()), "lr": rate})
    return torch.optim.AdamW(groups, weight_decay=config.weight_decay, fused=True)


def _with_layers(model: Forecaster) -> Forecaster:
    """The same model with the guide's layers beside the highway: they give 0 until they are trained."""
    grown = Forecaster(model.contract, "guide")
    grown.load_state_dict(model.state_dict(), strict=False)
    return grown.to(model.offset.device)


def _choose_change_share(model: Forecaster, progress: _Progress) -> None:
    """Shrink the trained parts, target by target, to the share of their change that validation confirms.

    Where the best share is not better than the bare anchor by `SURE` standard errors (over blocks of neighbouring
    windows, which are not independent), the share is 0: the forecast is then the simple baseline that it grew from.
    """
    errors = _errors_by_share(model, progress)
    best = errors.mean(axis=0).argmin(axis=0)
    gains = np.stack([errors[:, 0, target] - errors[:, share, target] for target, share in enumerate(best)], axis=1)
    sure = gains.mean(axis=0) > SURE * gains.std(axis=0, ddof=1) / math.sqrt(len(gains))
    shares = np.where(sure, np.array(CHANGE_SHARES)[best], 0.0)
    model.change_share.copy_(torch.from_numpy(np.where(progress.weights.cpu() > 0, shares, 1.0)))


def _errors_by_share(model: Forecaster, progress: _Progress) -> npt.NDArray[np.float64]:
    """[blocks, CHANGE_SHARES, targets], mean absolute error in log space on blocks of the validation windows."""
    model.eval()
    blocks = np.array_split(np.arange(len(progress.validation)), min(SHARE_BLOCKS, len(progress.validation)))
    shares = torch.tensor(CHANGE_SHARES, device=progress.weights.device)[:, None, None]
    errors = []
    with torch.inference_mode():
        for block in blocks:
            inputs, targets = _batch(progress.validation, block, progress.weights.device)
            anchor, change = model.anchor_and_change(inputs)
            wanted = (model.in_log_space(targets) - anchor) / model.typical_change
            errors.append((model.bounded(shares * change) - wanted).abs().mean(dim=1).cpu().numpy())
    return np.stack(errors).astype(np.float64)


def evaluate_loss(model: Forecaster, index: WindowIndex, weights: Tensor) -> float:
    """The loss on all windows of an index, without dropout."""
    model.eval()
    total = 0.0
    with torch.inference_mode():
        for begin in range(0, len(index), EVALUATION_BATCH):
            inputs, targets = _batch(index, np.arange(begin, min(begin + EVALUATION_BATCH, len(index))), weights.device)
            total += float(_loss(model, inputs, targets, weights)) * len(inputs)
    return total / len(index)


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
    return model


def _train_epoch(
    model: Forecaster,
    train: WindowIndex,
    order: Index,
    config: TrainingConfig,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LambdaLR,
    weights: Tensor,
) -> float:
    """One pass over `order`; returns the mean loss on the way."""
    model.train()
    total = torch.zeros((), device=weights.device)
    for batch in _batches(order, config.batch_size):
        inputs, targets = _batch(train, batch, weights.device)
        loss = _loss(model, inputs, targets, weights)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), config.gradient_clip_norm)
        optimizer.step()
        schedule.step()
        total += loss.detach() * len(batch)
    return float(total) / len(order)


def _loss(model: Forecaster, inputs: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    with torch.autocast(weights.device.type, dtype=torch.bfloat16, enabled=weights.device.type == "cuda"):
        anchor, change = model.anchor_and_change(inputs)
    wanted = (model.in_log_space(targets) - anchor) / model.typical_change
    return ((change - wanted).abs().mean(dim=0) * weights).sum()


def _batch(index: WindowIndex, which: Index, device: torch.device) -> tuple[Tensor, Tensor]:
    inputs, targets = torch.from_numpy(index.inputs(which)), torch.from_numpy(index.targets(which))
    return inputs.to(device, non_blocking=True), targets.to(device, non_blocking=True)


def _batches(order: Index, batch_size: int) -> Iterator[Index]:
    """Batches of `order`; a last one of a single window is dropped, since batch norm needs two."""
    for begin in range(0, len(order), batch_size):
        batch = order[begin : begin + batch_size]
        if len(batch) > 1:
            yield batch


def _learning_rate_share(step: int, steps: int) -> float:
    """Linear warm-up, then a cosine to zero (Loshchilov & Hutter, SGDR, 2017)."""
    warm_up = max(1, round(steps * WARM_UP_SHARE))
    if step < warm_up:
        return (step + 1) / warm_up
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warm_up) / max(1, steps - warm_up))))


@contextmanager
def _deterministic(device: torch.device) -> Iterator[None]:
    """Deterministic kernels on CPU within the block; the setting before it is restored after."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(device.type == "cpu")
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


def _history(progress: _Progress, model: Forecaster, device: torch.device, seconds: float) -> dict[str, Any]:
    records = progress.records
    rates = {
        stage: _windows_per_second([record for record in records if record["stage"] == stage])
        for stage in dict.fromkeys(record["stage"] for record in records)
    }
    return {
        "records": records,
        "best_epoch": progress.best_epoch,
        "stopped_early": records[-1]["stage_epoch"] != records[-1]["stage_epochs"],
        "duration_seconds": round(seconds, 3),
        "windows_per_second": _windows_per_second(records),
        "windows_per_second_by_stage": rates,
        "parameters": parameter_count(model),
        "layer_parameters": 0 if model.layers is None else parameter_count(model.layers),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
        "seed": progress.config.seed,
        "loss": "mean absolute error in log space, in units of the typical change",
        "windows": {name: len(part) for name, part in progress.split.parts.items()},
    }


def _windows_per_second(records: list[Record]) -> float | None:
    busy = sum(record["seconds"] for record in records)
    return round(sum(record["windows"] for record in records) / busy, 1) if busy else None
