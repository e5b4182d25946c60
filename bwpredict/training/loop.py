"""One stage of training: truncated back-propagation through time over streams, and windows beside each chunk.

An update takes the next chunk of its streams, whose state continues from chunk to chunk without a gradient, and a batch
of windows; both weigh the same. What is drawn follows from the seed and the number of the update alone, so that a
training that was killed goes on as if it had not been.
"""

from __future__ import annotations

import logging
import math
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bwpredict.core.progress_bar import bar
from bwpredict.datasets.sequences import Sequences
from bwpredict.errors import DivergedError
from bwpredict.models.checkpoint import load_checkpoint
from bwpredict.models.network import Forecaster
from bwpredict.training.batches import Batch, Sampler
from bwpredict.training.checkpointing import Resume
from bwpredict.training.loss import stream_loss, window_loss
from bwpredict.training.progress import Progress, Record

logger = logging.getLogger(__name__)

STREAMS_SHARE = 1 / 16
"""Streams of an update for each of its windows: a chunk is longer."""
WARM_UP_UPDATES = 100
WARM_UP_SHARE = 0.1
LEAST_RATE_SHARE = 0.02
_STREAMS, _WINDOWS = 0, 1


@dataclass(frozen=True)
class Stage:
    """What a training goes through, for how long and how fast."""

    name: str
    epochs: int
    """At most."""
    rate_share: float = 1.0
    """Of the learning rate."""


@dataclass
class _Learning:
    """Everything that updates change, and how far they are."""

    stage: Stage
    model: Forecaster
    optimizer: torch.optim.Optimizer
    sampler: Sampler
    streams: Batch | None = None
    """Of the current round: as many updates as the streams have chunks."""
    state: Tensor | None = None
    """[streams, state size], after the last chunk."""
    update: int = 0
    """Done in this stage."""
    first: int = 1
    """Epoch with which the stage began."""
    total: float = 0.0
    """Of the losses in this epoch."""
    seconds: float = 0.0
    """Of this epoch, by processes before this one."""

    def position(self) -> dict[str, Any]:
        """What a process that continues needs beside the weights and the optimizer's moments."""
        names = ("update", "first", "total", "seconds", "state")
        return {name: getattr(self, name) for name in names}


def run_stage(stage: Stage, model: Forecaster, progress: Progress, resume: Resume | None) -> Forecaster:
    """Train all parameters; returns the best model so far.

    Raises:
        DivergedError: the loss is no longer finite.
    """
    config = progress.config
    progress.group.broadcast(model)
    model.precision = getattr(torch, config.precision)
    sequences, drift = Sequences.of(progress.split["train"]), model.level_drift.cpu().numpy()
    sampler = Sampler(sequences, model.contract, drift, config.target_smoothing)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
    )
    learning = _Learning(stage, model, optimizer, sampler, first=len(progress.records) + 1)
    if resume and (found := resume.take(stage.name)):
        _restore(learning, found, progress)
    updates = progress.updates_per_epoch
    total, hidden = stage.epochs * updates, not progress.group.is_first
    with bar(stage.name, "updates", total, done=learning.update, hidden=hidden) as shown:
        return _run_epochs(learning, updates, progress, resume, shown)


def _run_epochs(learning: _Learning, updates: int, progress: Progress, resume: Resume | None, shown: Any) -> Forecaster:
    stage, model, config = learning.stage, learning.model, progress.config
    while True:
        epoch = len(progress.records) + 1
        stage_epoch = epoch - learning.first + 1
        seconds = _train_epoch(learning, stage_epoch * updates, progress, resume, shown)
        train_loss = progress.group.total(learning.total) / progress.group.count / updates
        validation_loss, skill = progress.validate(model)
        shown.set_postfix_str(f"validation loss {validation_loss:.4f}, skill {skill:.1%}")
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
                stage=stage.name,
                stage_epoch=stage_epoch,
                stage_epochs=stage.epochs,
                train_loss=train_loss,
                validation_loss=validation_loss,
                skill=skill,
                learning_rate=config.learning_rate * _rate_share(learning, learning.update - 1, updates),
                windows=updates * config.batch_size,
                seconds=round(seconds, 3),
                best=better,
            )
        )
        learning.total, learning.seconds = 0.0, 0.0
        out_of_patience = epoch - max(progress.best_epoch, learning.first - 1) >= config.patience_epochs
        if out_of_patience and stage_epoch < stage.epochs:
            logger.info("%s stopped early: no better validation loss for %d epochs", stage.name, config.patience_epochs)
        if out_of_patience or stage_epoch == stage.epochs:
            return load_checkpoint(progress.checkpoint).to(model.change_width.device)


def _restore(learning: _Learning, found: dict[str, Any], progress: Progress) -> None:
    learning.model.load_state_dict(found["model"])
    learning.optimizer.load_state_dict(found["optimizer"])
    for name, value in found["position"].items():
        setattr(learning, name, value)
    if progress.group.count > 1:
        learning.state = None  # that of the first process' links
    if learning.state is not None:
        learning.state = learning.state.to(learning.model.change_width.device)


def _train_epoch(learning: _Learning, until: int, progress: Progress, resume: Resume | None, shown: Any) -> float:
    """Train the rest of the epoch, on CPU with deterministic kernels; return the seconds of the whole epoch."""
    began, before = time.monotonic(), learning.seconds
    learning.model.train()
    deterministic = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(learning.model.change_width.device.type == "cpu")
    try:
        while learning.update < until:
            _update(learning, progress)
            shown.update()
            learning.seconds = before + time.monotonic() - began
            if resume:
                resume.save_if_due(
                    progress, learning.model, learning.optimizer, learning.stage.name, learning.position()
                )
    finally:
        torch.use_deterministic_algorithms(deterministic)
    return learning.seconds


def _update(learning: _Learning, progress: Progress) -> None:
    """One change of the weights, by the mean of all processes' gradients."""
    config, model, group = progress.config, learning.model, progress.group
    device = model.change_width.device
    numbers = (config.seed, learning.first, group.rank)
    torch.manual_seed(int(np.random.SeedSequence((*numbers, learning.update)).generate_state(1)[0]))
    count = math.ceil(config.batch_size / group.count)
    loss = _stream_loss(learning, progress, max(1, round(count * STREAMS_SHARE)), numbers)
    windows = learning.sampler.windows(count, (*numbers, _WINDOWS, learning.update)).to(device)
    loss = loss + window_loss(model, windows, progress.weights, config.raw_error_share)
    learning.optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    group.average_gradients(model)
    torch.nn.utils.clip_grad_norm_(model.parameters(), config.gradient_clip_norm)
    rate = config.learning_rate * _rate_share(learning, learning.update, progress.updates_per_epoch)
    for parameters in learning.optimizer.param_groups:
        parameters["lr"] = rate
    learning.optimizer.step()
    learning.total += float(loss.detach()) / 2
    learning.update += 1


def _stream_loss(learning: _Learning, progress: Progress, count: int, numbers: tuple[int, ...]) -> Tensor:
    """The loss of the next chunk; the state continues."""
    model = learning.model
    device = model.change_width.device
    number, chunk = divmod(learning.update, learning.sampler.chunks)
    if chunk == 0 or learning.streams is None:
        learning.streams = learning.sampler.streams(count, (*numbers, _STREAMS, number))
    if chunk == 0 or learning.state is None:
        learning.state = model.empty_state(count)
    part = learning.streams.chunk(chunk).to(device)
    raw = model.follow(part.samples, learning.state)
    learning.state = raw.state.detach()
    return stream_loss(model, raw, part, progress.weights, progress.config.raw_error_share)


def _rate_share(learning: _Learning, update: int, updates: int) -> float:
    """Linear warm-up, then a cosine (Loshchilov & Hutter, SGDR, 2017)."""
    steps = learning.stage.epochs * updates
    warm_up = max(1, min(WARM_UP_UPDATES, round(WARM_UP_SHARE * steps)))
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, update / steps)))
    share = LEAST_RATE_SHARE + (1 - LEAST_RATE_SHARE) * cosine
    return learning.stage.rate_share * min(1.0, (update + 1) / warm_up) * share
