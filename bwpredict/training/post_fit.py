"""What validation confirms: for each horizon and target, how much memory counts, and how much the network does.

The network's share is 0 where it is not surely better than the best simple forecast. Errors of neighbouring
minutes, and of links at the same time, are correlated, so the standard errors are computed over blocks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

from bwpredict.datasets.windows import WindowIndex
from bwpredict.models.features import SIMPLE_FORECASTS
from bwpredict.models.network import MODES, Forecaster
from bwpredict.training.loss import importance
from bwpredict.training.validation import Observation, observations
from bwpredict.training.warm_up import measure_warm_up

if TYPE_CHECKING:
    from bwpredict.config import TrainingConfig

SHARES = tuple(round(0.1 * step, 1) for step in range(11))
CONFIDENCE = 0.95
"""One in twenty useless networks would look better than the simple forecasts by chance."""

Floats = npt.NDArray[np.float64]


@torch.no_grad()
def confirm(model: Forecaster, validation: WindowIndex, config: TrainingConfig, weights: Tensor) -> None:
    """Set what the model serves, and how long its streams warm up.

    A target of weight 0 was not learnt: its last value is served.
    """
    _choose_memory(model, validation, config)
    for mode in range(len(MODES)):
        cells = _cells(model, validation, config, mode)
        if cells is None:
            continue
        simple, share = _choice(cells)
        learnt = weights.cpu().numpy() > 0
        model.network_share[mode] = torch.from_numpy(np.where(learnt, share, 0.0))
        chosen = (np.arange(len(SIMPLE_FORECASTS))[:, None, None] == simple).astype(np.float32)
        model.simple_weights[mode] = torch.from_numpy(chosen)
    if minutes := measure_warm_up(model, validation, weights):
        model.warm_up_minutes.fill_(minutes)


def _choose_memory(model: Forecaster, validation: WindowIndex, config: TrainingConfig) -> None:
    """Of warm forecasts, the share of the stream's in them that errs least; the rest is from the last samples alone."""
    warm, total = MODES.index("warm"), None
    for seen in observations(model, validation, config.validation_windows, (warm,)):
        window, stream = model.window_quantiles(seen.features)[:, 0, :, 1], seen.stream[:, 0, :, 1]
        shares = torch.tensor(SHARES, device=stream.device)[:, None, None]
        forecasts = window[:, None] + shares * (stream - window)[:, None]
        errors, _ = _errors(model, seen, forecasts, config.raw_error_share)
        total = errors.double().sum(dim=0) + (0 if total is None else total)
    if total is not None:
        model.memory_share[warm] = torch.tensor(SHARES, device=total.device)[total.argmin(dim=0)]


@dataclass(frozen=True)
class _Cells:
    """Sums over the forecasts of one link in one block of time."""

    errors: Floats
    """[cells, simple, shares, horizons, targets]"""
    counts: Floats
    """[cells, horizons, targets]"""
    block: npt.NDArray[np.int64]
    """[cells], which of the blocks of time, counted from 0."""


def _choice(cells: _Cells) -> tuple[npt.NDArray[np.int64], Floats]:
    """[horizons, targets] each: the simple forecast, and the network's share."""
    total = cells.errors.sum(axis=0)
    best_simple = total[:, 0].argmin(axis=0)
    simple, share = np.divmod(total.reshape(-1, *total.shape[2:]).argmin(axis=0), len(SHARES))
    place = np.indices(simple.shape)
    gains = cells.errors[:, best_simple, 0, *place] - cells.errors[:, simple, share, *place]
    sure = _surely_positive(gains, cells)
    return np.where(sure, simple, best_simple), np.where(sure, np.array(SHARES)[share], 0.0)


def _surely_positive(gains: Floats, cells: _Cells) -> npt.NDArray[np.bool_]:
    """[horizons, targets], of the gains' sums [cells, horizons, targets].

    The standard error is the larger of those over cells and over blocks of time.
    """
    from scipy.stats import t as student  # slow to import

    count = np.maximum(cells.counts.sum(axis=0), 1)
    mean = gains.sum(axis=0) / count
    residuals = gains - mean * cells.counts
    by_block = np.zeros((int(cells.block.max()) + 1, *mean.shape))
    np.add.at(by_block, cells.block, residuals)
    sure: npt.NDArray[np.bool_] = mean > 0
    for clustered in (residuals, by_block):
        number = len(clustered)
        if number < 2:
            return np.zeros_like(sure)
        error = np.sqrt(np.square(clustered).sum(axis=0) * number / (number - 1)) / count
        sure &= mean > student.ppf(CONFIDENCE, number - 1) * error
    return sure


def _cells(model: Forecaster, validation: WindowIndex, config: TrainingConfig, mode: int) -> _Cells | None:
    """The errors of all forecasts of a mode; None: there are none."""
    parts = []
    for seen in observations(model, validation, config.validation_windows, (mode,)):
        window = model.window_quantiles(seen.features)
        network = model.network_quantiles(seen.stream, window, seen.features)[:, 0, :, 1]
        simple = model.features.simple_forecasts(seen.features.recent)[:, 0, :, None, None]
        shares = torch.tensor(SHARES, device=network.device)[:, None, None]
        forecasts = simple + shares * (network[:, None, None] - simple)  # every simple one with every share
        errors, there = _errors(model, seen, forecasts, config.raw_error_share)
        cells = pd.MultiIndex.from_arrays((seen.link, seen.block))
        rows = torch.cat((errors.flatten(1), there.flatten(1)), dim=1).cpu().numpy().astype(np.float64)
        parts.append(pd.DataFrame(rows, cells).groupby(level=(0, 1)).sum())
    if not parts:
        return None
    total = pd.concat(parts).groupby(level=(0, 1)).sum()
    sums = np.split(total.to_numpy(), [errors[0].numel()], axis=1)
    of_errors, counts = (part.reshape(-1, *like.shape[1:]) for part, like in zip(sums, (errors, there), strict=True))
    return _Cells(of_errors, counts, np.unique(total.index.get_level_values(1), return_inverse=True)[1])


def _errors(model: Forecaster, seen: Observation, forecasts: Tensor, raw_error_share: float) -> tuple[Tensor, Tensor]:
    """[n, ..., horizons, targets], what counts as error in the loss; and [n, horizons, targets], 1 or 0."""
    features, actual = seen.features, seen.actual[:, 0]
    between = (slice(None), *[None] * (forecasts.ndim - 3))
    counted = importance(model, features.anchor[:, 0, None], raw_error_share)
    errors = (forecasts - actual[between]).abs() / model.typical_change * counted[between]
    there = torch.isfinite(actual) & (features.known[:, 0, None] > 0)
    return torch.where(there[between], errors, 0.0), there.float()
