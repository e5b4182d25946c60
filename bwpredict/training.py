"""Training: a budget of windows each epoch, the best checkpoint by validation loss, one record an epoch.

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
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bwpredict import schema
from bwpredict.config import TrainingConfig
from bwpredict.errors import DivergedError, TelemetryError
from bwpredict.model import Contract, Forecaster, load_checkpoint, parameter_count, save_checkpoint
from bwpredict.windows import Index, Split, WindowIndex

logger = logging.getLogger(__name__)

WARM_UP_SHARE = 0.1
WINDOWS_FOR_TRANSFORMS = 20_000
EVALUATION_BATCH = 1024

Record = dict[str, float | int | bool]
OnEpoch = Callable[[Record], None]


@dataclass(frozen=True)
class Training:
    """What `train` gives: the best model, and the history document (kind `training_history`)."""

    model: Forecaster
    history: dict[str, Any]


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
    device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(config.seed)
    model = _new_model(split["train"], config, absent).to(device)
    weights = torch.tensor([name not in absent for name in schema.TARGETS], device=device, dtype=torch.float32)
    weights /= weights.sum()
    budget = min(config.windows_per_epoch, len(split["train"]))
    steps = math.ceil(budget / config.batch_size) * config.epochs
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _learning_rate_share(step, steps))
    validation = split["validation"].spread(config.validation_windows)
    records: list[Record] = []
    best_epoch = 0
    with _deterministic(device):
        for epoch in range(1, config.epochs + 1):
            epoch_started = time.monotonic()
            train_loss = _train_epoch(model, split["train"], _draw(split["train"], budget, config, epoch),
                                      config, optimizer, schedule, weights)  # fmt: skip
            seconds = time.monotonic() - epoch_started
            validation_loss = evaluate_loss(model, validation, weights)
            if not math.isfinite(train_loss + validation_loss):
                raise DivergedError(
                    f"the loss is no longer finite in epoch {epoch}: learning_rate={config.learning_rate} is too large."
                )
            better = all(validation_loss < record["validation_loss"] for record in records)
            if better:
                best_epoch = epoch
                save_checkpoint(model, checkpoint, {"epoch": epoch, "training": config.model_dump()})
            records.append(
                {
                    "epoch": epoch,
                    "train_loss": train_loss,
                    "validation_loss": validation_loss,
                    "learning_rate": float(schedule.get_last_lr()[0]),
                    "windows": budget,
                    "seconds": round(seconds, 3),
                    "best": better,
                }
            )
            if on_epoch:
                on_epoch(records[-1])
            if epoch - best_epoch >= config.patience_epochs:
                logger.info("stopped early: no better validation loss for %d epochs", config.patience_epochs)
                break
    model = load_checkpoint(checkpoint)
    history = _history(records, best_epoch, config, model, device, time.monotonic() - started)
    history["windows"] = {name: len(part) for name, part in split.parts.items()}
    return Training(model, history)


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
    model = Forecaster(Contract(config.window_size, horizon_minutes, cadence))
    sample = train.spread(WINDOWS_FOR_TRANSFORMS)
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
        forecast = model(inputs)
    error = (model.in_log_space(forecast) - model.in_log_space(targets)).abs() / model.typical_change
    return (error.mean(dim=0) * weights).sum()


def _batch(index: WindowIndex, which: Index, device: torch.device) -> tuple[Tensor, Tensor]:
    inputs, targets = torch.from_numpy(index.inputs(which)), torch.from_numpy(index.targets(which))
    return inputs.to(device, non_blocking=True), targets.to(device, non_blocking=True)


def _draw(train: WindowIndex, budget: int, config: TrainingConfig, epoch: int) -> Index:
    """[budget] windows for one epoch, without replacement, decided by seed and epoch alone."""
    generator = np.random.default_rng((config.seed, epoch))
    return generator.choice(len(train), size=budget, replace=False, shuffle=True)


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


def _history(
    records: list[Record],
    best_epoch: int,
    config: TrainingConfig,
    model: Forecaster,
    device: torch.device,
    seconds: float,
) -> dict[str, Any]:
    trained = sum(record["windows"] for record in records)
    busy = sum(record["seconds"] for record in records)
    return {
        "records": records,
        "best_epoch": best_epoch,
        "stopped_early": len(records) < config.epochs,
        "duration_seconds": round(seconds, 3),
        "windows_per_second": round(trained / busy, 1) if busy else None,
        "parameters": parameter_count(model),
        "layer_parameters": parameter_count(model.layers),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
        "seed": config.seed,
        "loss": "mean absolute error in log space, in units of the typical change",
    }
