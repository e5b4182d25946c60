"""One stage of training: epochs over a budget of windows, until patience or epochs run out."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bwpredict.config import TrainingConfig
from bwpredict.datasets.sampling import sample_windows
from bwpredict.datasets.windows import Index
from bwpredict.errors import DivergedError
from bwpredict.models.network import Forecaster, load_checkpoint
from bwpredict.training import memory
from bwpredict.training.checkpointing import Resume, set_random_state
from bwpredict.training.loss import BatchLoss
from bwpredict.training.progress import Progress, Record

logger = logging.getLogger(__name__)

WARM_UP_SHARE = 0.1
LAST_SHARE = 1 / 3
"""Of a stage's epochs: where the loss no longer falls at a high rate, these are next, at a quarter of it and down."""


@dataclass(frozen=True)
class Stage:
    """What is trained, for how long and how fast."""

    name: str
    epochs: int
    """At most."""
    windows: int
    """For each epoch."""
    highway_rate_share: float = 1.0
    """Of the learning rate, for the highway."""
    layers_rate_share: float = 1.0
    least_gain: float = 0.0
    """Share of the validation loss by which an epoch must lower it to be better."""


@dataclass
class _Learning:
    """Everything that steps change, and how far they are."""

    model: Forecaster
    loss: nn.Module
    optimizer: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LambdaLR
    first: int
    """Epoch with which the stage began."""
    last: int
    """Epoch with which it ends at the latest."""
    epoch: int
    patient_since: int
    """Epoch from which on epochs without a better loss count."""
    batches: int = 0
    """Done in this epoch."""
    total: Tensor = field(default_factory=lambda: torch.zeros(()))
    """Of the losses in this epoch, over its windows and all ranks."""
    seconds: float = 0.0
    """Of this epoch, by processes before this one."""

    @property
    def position(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in _POSITION} | {"total": self.total.clone()}

    def next_epoch(self) -> None:
        """Begin the epoch after this one."""
        self.epoch, self.batches, self.total, self.seconds = self.epoch + 1, 0, self.total * 0, 0.0

    def leave_out(self, epochs: int, steps: int) -> None:
        """Go on with the rate as it would be so many epochs later, and be patient anew."""
        self.last, self.patient_since = self.last - epochs, self.epoch
        self.schedule.last_epoch += steps - 1
        self.schedule.step()


_POSITION = ("first", "last", "epoch", "patient_since", "batches")


def run_stage(stage: Stage, model: Forecaster, progress: Progress, resume: Resume | None) -> Forecaster:
    """Train all parameters; returns the best model so far.

    Raises:
        DivergedError: the loss is no longer finite.
    """
    config, budget = progress.config, min(stage.windows, len(progress.train))
    learning = _prepare(stage, model, progress, budget)
    if resume and (state := resume.take(stage.name)):
        _restore(learning, state, progress)
    while True:
        epoch = learning.epoch
        train_loss, seconds = _train_epoch(stage, learning, budget, progress, resume)
        validation_loss = progress.validation_loss(model)
        if not math.isfinite(train_loss + validation_loss):
            raise DivergedError(
                f"the loss is no longer finite in epoch {epoch}: learning_rate={config.learning_rate} is too large."
            )
        better = validation_loss < progress.best_loss * (1 - stage.least_gain)
        if better:
            progress.keep(model, epoch, validation_loss)
        progress.tell(
            Record(
                epoch=epoch,
                stage=stage.name,
                stage_epoch=epoch - learning.first + 1,
                stage_epochs=learning.last - learning.first + 1,
                train_loss=train_loss,
                validation_loss=validation_loss,
                learning_rate=float(learning.schedule.get_last_lr()[0]),
                windows=budget,
                seconds=round(seconds, 3),
                best=better,
            )
        )
        if epoch == learning.last or not _goes_on(stage, learning, budget, progress):
            return load_checkpoint(progress.checkpoint).to(model.offset.device)
        learning.next_epoch()


def _goes_on(stage: Stage, learning: _Learning, budget: int, progress: Progress) -> bool:
    """Whether there is another epoch; out of patience, the rate is lowered first.

    At a high rate the validation loss is noisy, and the best of it comes when the rate is low.
    """
    config = progress.config
    if learning.epoch - max(progress.best_epoch, learning.patient_since) < config.patience_epochs:
        return True
    spare = learning.last - learning.epoch - math.ceil(stage.epochs * LAST_SHARE)
    if spare <= 0:
        logger.info("%s stopped early: no better validation loss for %d epochs", stage.name, config.patience_epochs)
        return False
    logger.info("%s: no better validation loss for %d epochs, so the learning rate goes down now, and %d epochs are"
                " left out", stage.name, config.patience_epochs, spare)  # fmt: skip
    learning.leave_out(spare, spare * _steps_of_an_epoch(budget, config))
    return True


def _prepare(stage: Stage, model: Forecaster, progress: Progress, budget: int) -> _Learning:
    progress.ranks.alike(model)
    optimizer = _optimizer(model, progress.config, stage)
    config = progress.config
    steps = _steps_of_an_epoch(budget, config) * stage.epochs
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _learning_rate_share(step, steps))
    model.highway.dropout, model.doubted_share, model.drift_scale = (
        config.highway_dropout, config.doubted_share, config.drift_scale
    )  # fmt: skip
    if model.layers is not None:
        model.layers.recompute = config.activation_checkpointing
    loss = progress.ranks.parallel(BatchLoss(model, progress.weights, config.raw_error_share))
    first = len(progress.records) + 1
    return _Learning(
        model,
        loss,
        optimizer,
        schedule,
        first=first,
        last=first + stage.epochs - 1,
        epoch=first,
        patient_since=first - 1,
        total=torch.zeros((), device=progress.weights.device),
    )


def _restore(learning: _Learning, state: dict[str, Any], progress: Progress) -> None:
    position = state["position"]
    for name in _POSITION:
        setattr(learning, name, position[name])
    learning.total = position["total"].to(progress.weights.device)
    learning.seconds = position["seconds"]
    learning.model.load_state_dict(state["model"])
    learning.optimizer.load_state_dict(state["optimizer"])
    learning.schedule.load_state_dict(state["schedule"])
    set_random_state(state["random"])


def _steps_of_an_epoch(budget: int, config: TrainingConfig) -> int:
    return math.ceil(budget / config.batch_size)


def _optimizer(model: Forecaster, config: TrainingConfig, stage: Stage) -> torch.optim.Optimizer:
    rate = config.learning_rate
    groups = [{"params": list(model.highway.parameters()), "lr": rate * stage.highway_rate_share}]
    if model.layers is not None:
        groups.insert(0, {"params": list(model.layers.parameters()), "lr": rate * stage.layers_rate_share})
    return torch.optim.AdamW(groups, weight_decay=config.weight_decay, fused=True)


def _train_epoch(
    stage: Stage, learning: _Learning, budget: int, progress: Progress, resume: Resume | None
) -> tuple[float, float]:
    """What is left of the epoch; returns the mean loss on the way, and the seconds it took."""
    config, ranks = progress.config, progress.ranks
    began, before = time.monotonic(), learning.seconds
    order = sample_windows(progress.train, budget, config.draw, seed=config.seed, epoch=learning.epoch)
    learning.model.train()
    with _deterministic(progress.weights.device), memory.kept():
        for number, batch in enumerate(_batches(order, config.batch_size)):
            if number < learning.batches:
                continue
            if ranks.count > 1:  # whatever was drawn before: so a rank continues without a state of its own
                torch.manual_seed(_seed_of(config.seed, ranks.rank, learning.epoch, number))
            _step(learning, batch, progress)
            learning.batches = number + 1
            if resume:
                position = learning.position | {"seconds": before + time.monotonic() - began}
                resume.save_if_due(
                    progress, learning.model, (learning.optimizer, learning.schedule), stage.name, position
                )
    return float(learning.total) / len(order), before + time.monotonic() - began


def _step(learning: _Learning, batch: Index, progress: Progress) -> None:
    """One change of the weights, by this rank's share of the batch, in as many parts as little memory needs."""
    config, ranks = progress.config, progress.ranks
    learning.optimizer.zero_grad(set_to_none=True)
    share = progress.train.share(batch)
    # As many on every rank, since they meet in each.
    parts = np.array_split(share, max(1, min(config.accumulation_steps, len(batch) // (2 * ranks.count))))
    for number, part in enumerate(parts):
        inputs, targets = progress.samples.load(part, config.target_smoothing)
        with ExitStack() as until_last:
            if ranks.count > 1 and number < len(parts) - 1:
                until_last.enter_context(learning.loss.no_sync())  # type: ignore[operator]
            loss = learning.loss(inputs, targets)
            # Ranks' gradients are averaged, parts' are added: each weighs as many windows as it has.
            (loss * (len(part) * ranks.count / len(batch))).backward()
        learning.total += ranks.sum(loss.detach() * len(part))
    torch.nn.utils.clip_grad_norm_(learning.model.parameters(), config.gradient_clip_norm)
    learning.optimizer.step()
    learning.schedule.step()


def _seed_of(*numbers: int) -> int:
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])


def _batches(order: Index, batch_size: int) -> Iterator[Index]:
    """Batches of `order`; a last one of a single window is dropped: batch norm needs two."""
    for begin in range(0, len(order), batch_size):
        batch = order[begin : begin + batch_size]
        if len(batch) >= 2:
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
