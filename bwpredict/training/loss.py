"""The loss: absolute error of the median and pinball loss of the bounds, in log space, in units of the typical change.

In log space it is nearly the relative error, with every link weighing the same, as MAPE asks; in raw units, as MAE
asks, a link with ten times the throughput weighs ten times as much. `importance` gives a forecast a share of both.
"""

from __future__ import annotations

import torch
from torch import Tensor

from bwpredict.models.features import MEMORY_SIZE, Features
from bwpredict.models.network import QUANTILES, Forecaster, Raw, last_of
from bwpredict.training.batches import Batch, Windows

BOUNDS_WEIGHT = 2.0
"""Of the pinball losses beside the median's absolute error."""


def stream_loss(model: Forecaster, raw: Raw, batch: Batch, weights: Tensor, raw_error_share: float) -> Tensor:
    """The mean loss of a stream's forecasts at every sample; `weights` [targets], of each target."""
    features = raw.features._replace(anchor=raw.features.anchor - batch.jumps)  # a jump changes no error's importance
    return forecast_loss(model, raw.quantiles, features, (batch.smoothed, batch.actual), weights, raw_error_share)


def window_loss(model: Forecaster, windows: Windows, weights: Tensor, raw_error_share: float) -> Tensor:
    """The mean loss of the window head's forecasts."""
    with torch.no_grad():
        features, _ = model.features(windows.samples, model.empty_state(len(windows.samples))[:, :MEMORY_SIZE])
    features = last_of(features)
    quantiles = model.window_quantiles(features, level_noise=windows.level_noise, familiar=windows.familiar)
    return forecast_loss(model, quantiles, features, (windows.smoothed, windows.actual), weights, raw_error_share)


def forecast_loss(
    model: Forecaster,
    quantiles: Tensor,
    features: Features,
    wanted: tuple[Tensor, Tensor],
    weights: Tensor,
    raw_error_share: float,
) -> Tensor:
    """The mean loss of forecasts [batch, t, horizons, quantiles, targets].

    `wanted`, without the quantiles' dimension: what the median and what the bounds are compared with.
    """
    smoothed, actual = wanted
    counted = importance(model, features.anchor, raw_error_share)
    known = features.known[:, :, None] > 0
    low, middle, high = quantiles.unbind(-2)
    error = (middle - smoothed).abs() / model.typical_change * counted[:, :, None]
    loss = _mean(error, torch.isfinite(smoothed) & known, weights)
    for forecast, quantile in ((low, QUANTILES[0]), (high, QUANTILES[2])):
        error = (actual - forecast) / model.typical_change
        pinball = torch.maximum(quantile * error, (quantile - 1) * error)
        loss = loss + BOUNDS_WEIGHT * _mean(pinball, torch.isfinite(actual) & known, weights)
    return loss


def importance(model: Forecaster, anchor: Tensor, raw_error_share: float) -> Tensor:
    """[..., targets], the weight of an error, about 1 on average; `raw_error_share` of it follows the level's size."""
    return 1 - raw_error_share + raw_error_share * torch.exp(anchor) / model.typical_level


def _mean(errors: Tensor, counts: Tensor, weights: Tensor) -> Tensor:
    """Over what counts, by the targets' weights; both [batch, t, horizons, targets]. A forecast of NaN stays one."""
    total = torch.where(counts, errors, 0.0).flatten(0, -2).sum(dim=0)
    return (total / counts.flatten(0, -2).sum(dim=0).clamp(min=1) * weights).sum()
