"""The champion's weights as a start, beside a training from scratch: the better of the two is kept."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Unpack

import torch

from bwpredict.config import TrainingConfig
from bwpredict.datasets.windows import Split
from bwpredict.errors import ModelError
from bwpredict.models.checkpoint import load_checkpoint
from bwpredict.models.network import Forecaster
from bwpredict.store.files import write_atomically
from bwpredict.training.progress import Training, target_weights
from bwpredict.training.trainer import Options, continue_champion
from bwpredict.training.validation import served_loss

logger = logging.getLogger(__name__)

CHECKPOINT = "warm_started_model.pth"


def choose(
    scratch: Training,
    champion: Path | None,
    split: Split,
    config: TrainingConfig,
    checkpoint: Path,
    **options: Unpack[Options],
) -> Training:
    """Train the champion further, and keep it if it forecasts the validation windows better than `scratch`.

    The winner is in `checkpoint`; its history has `warm_start`, which describes both. `options` are those of
    `continue_champion`. Where there is no champion, or it is another kind of model, `scratch` is returned.
    """
    if champion is None:
        logger.info("no champion to start from; the model from scratch is kept")
        return scratch
    try:
        before = load_checkpoint(champion)
    except ModelError as error:
        logger.warning("%s The model from scratch is kept.", error)
        return scratch
    if (before.contract, before.architecture) != (scratch.model.contract, scratch.model.architecture):
        logger.warning("the champion has another window, horizon or architecture; the model from scratch is kept")
        return scratch
    weights = target_weights(options.get("absent", frozenset()), torch.device("cpu"))

    def loss(model: Forecaster) -> float:
        """Of the forecasts as served, in typical changes of the model from scratch: the models' own units differ."""
        return served_loss(model, split["validation"], config.validation_windows, weights, scratch.model.typical_change)

    champion_loss = loss(before)
    path = checkpoint.with_name(CHECKPOINT)
    warm = continue_champion(before, split, config, path, **options)
    trainings = {"warm_start": warm, "scratch": scratch}
    losses = {name: loss(each.model) for name, each in trainings.items()}
    windows = {name: sum(record["windows"] for record in each.history["records"]) for name, each in trainings.items()}
    won = min(losses, key=lambda name: losses[name])
    told = {
        "won": won,
        "champion_loss": champion_loss,
        **{f"{name}_loss": value for name, value in losses.items()},
        **{f"{name}_steps": count // config.batch_size for name, count in windows.items()},
    }
    logger.info("validation loss, warm start %.4f, from scratch %.4f (champion %.4f): %s is kept",
                losses["warm_start"], losses["scratch"], champion_loss, won)  # fmt: skip
    if won == "warm_start":
        write_atomically(checkpoint, path.read_bytes())
    path.unlink()
    kept = trainings[won]
    duration = sum(each.history["duration_seconds"] for each in trainings.values())
    return Training(kept.model, kept.history | {"warm_start": told, "duration_seconds": round(duration, 3)})
