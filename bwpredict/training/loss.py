"""The loss: absolute error of the median and pinball loss of the bounds, in log space, in units of the typical change.

In log space it is nearly the relative error, with every link weighing the same, as MAPE asks; in raw units, as MAE
asks, a link with ten times the throughput weighs ten times as much. `importance` gives a forecast a share of both.
"""

from __future__ import annotations

import torch
from torch import Tensor

from bwpredict.models.network import QUANTILES, Forecaster, Raw
from bwpredict.training.batches import Batch

BOUNDS_WEIGHT = 2.0
"""Of the pinball losses beside the median's absolute error."""


def batch_loss(
    model: Forecaster, raw: Raw, batch: Batch, weights: Tensor, raw_error_share: float, *, skipped: int = 0
) -> Tensor:
    """The mean loss of all samples after the first `skipped`; `weights` [targets], of each target."""
    quantiles, features = raw.quantiles[:, skipped:], raw.features
    known = features.known[:, skipped:, None] > 0
    counted = importance(model, (features.anchor - batch.jumps)[:, skipped:], raw_error_share)[:, :, None]
    low, middle, high = quantiles.unbind(-2)
    smoothed, actual = batch.smoothed[:, skipped:], batch.actual[:, skipped:]
    loss = _mean((middle - smoothed).abs() * counted / model.typical_change, torch.isfinite(smoothed) & known, weights)
    for forecast, quantile in ((low, QUANTILES[0]), (high, QUANTILES[2])):
        error = (actual - forecast) / model.typical_change
        pinball = torch.maximum(quantile * error, (quantile - 1) * error)
        loss = loss + BOUNDS_WEIGHT * _mean(pinball, torch.isfinite(actual) & known, weights)
    return loss


def importance(model: Forecaster, anchor: Tensor, raw_error_share: float) -> Tensor:
    """[..., targets], about 1 on average: what an error counts, of which `raw_error_share` by the level's size."""
    return 1 - raw_error_share + raw_error_share * torch.exp(anchor) / model.typical_level


def _mean(errors: Tensor, counts: Tensor, weights: Tensor) -> Tensor:
    """Over what counts, by the targets' weights; both [batch, t, horizons, targets]. A forecast of NaN stays one."""
    total = torch.where(counts, errors, 0.0).flatten(0, -2).sum(dim=0)
    return (total / counts.flatten(0, -2).sum(dim=0).clamp(min=1) * weights).sum()
