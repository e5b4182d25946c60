"""The validation part as consumers meet it: windows from an empty state, and streams that have been followed for a day.

Training, the choice of what is served and the calibration of intervals all look at a part through `observations`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bwpredict.datasets.sequences import Floats, Sequences
from bwpredict.datasets.windows import DAY_SECONDS, Index, WindowIndex
from bwpredict.models.features import TARGETS, Features
from bwpredict.models.network import MODES, Forecaster
from bwpredict.training.batches import CHUNK, targets_ahead
from bwpredict.training.loss import forecast_loss

if TYPE_CHECKING:
    from bwpredict.config import TrainingConfig

STREAM_LINKS = 64
"""At most this many links are followed."""
BLOCK_SECONDS = 2 * 3600
"""Errors of a link within a block are correlated."""
_WINDOWS_AT_A_TIME = 1000


@dataclass(frozen=True)
class Observation:
    """Forecasts of n samples, and the actual values."""

    mode: int
    """Position in `MODES`."""
    stream: Tensor
    """[n, 1, horizons, quantiles, targets] in log space, as `Forecaster.follow` gives them."""
    features: Features
    """[n, 1, ...]"""
    actual: Tensor
    """[n, 1, horizons, targets] in log space, NaN where missing."""
    link: Index
    """[n]"""
    block: Index
    """[n], number of the block of time."""


def observations(
    model: Forecaster, index: WindowIndex, most_windows: int, modes: tuple[int, ...] = (0, 1)
) -> Iterator[Observation]:
    """Cold: at most this many windows, evenly spread. Warm: each minute of some links, after a day of history."""
    model.eval()
    with torch.inference_mode():
        if 0 in modes:
            yield from _cold(model, index.spread(most_windows))
        if 1 in modes:
            yield from _warm(model, index)


def validation_losses(
    model: Forecaster, index: WindowIndex, config: TrainingConfig, weights: Tensor
) -> npt.NDArray[np.float64]:
    """[modes, 4], sums over the forecasts of each mode, and their number.

    What is summed is the loss, the medians' error in log space and typical changes, and that of the anchors.
    """
    found = np.zeros((len(MODES), 4))
    for seen in observations(model, index, config.validation_windows):
        quantiles = model.window_quantiles(seen.features) if MODES[seen.mode] == "cold" else seen.stream
        wanted = (seen.actual, seen.actual)
        loss = float(forecast_loss(model, quantiles, seen.features, wanted, weights, config.raw_error_share))
        compared = (quantiles[..., 1, :], seen.features.anchor[:, :, None])
        errors = [_error(forecast, seen.actual, model.typical_change, weights) for forecast in compared]
        found[seen.mode] += len(seen.link) * np.array([loss, *errors, 1.0])
    return found


def _error(forecast: Tensor, actual: Tensor, typical_change: Tensor, weights: Tensor) -> float:
    errors = ((forecast - actual) / typical_change).abs().flatten(0, 2)
    return float((errors.nanmean(dim=0).nan_to_num() * weights).sum())


def served(model: Forecaster, seen: Observation) -> Tensor:
    """[n, 1, horizons, quantiles, targets] in log space."""
    return model.served(seen.stream, model.window_quantiles(seen.features), seen.features)


def served_loss(
    model: Forecaster, index: WindowIndex, most_windows: int, weights: Tensor, typical_change: Tensor
) -> float:
    """Of the medians as they are served, in units of the given typical change: comparable between models."""
    means = []
    for mode in range(len(MODES)):
        total, count = 0.0, 0
        for seen in observations(model, index, most_windows, (mode,)):
            median = served(model, seen)[..., 1, :]
            total += _error(median, seen.actual, typical_change, weights) * len(seen.link)
            count += len(seen.link)
        means += [total / count] if count else []
    return sum(means) / len(means)


def _cold(model: Forecaster, index: WindowIndex) -> Iterator[Observation]:
    frame, contract = index.frame, model.contract
    sequences = Sequences.of(index)
    after = contract.horizons_steps[-1]
    for begin in range(0, len(index), _WINDOWS_AT_A_TIME):
        rows = index.positions.rows(np.arange(begin, min(begin + _WINDOWS_AT_A_TIME, len(index))))
        link, times = frame.link[rows], frame.timestamps[rows]
        cut = sequences.cut(np.searchsorted(sequences.links, link), times, index.window_size + after)
        samples, actual = as_tensors(model, cut, index.window_size)
        raw = model.follow(samples, model.empty_state(len(samples)), last_only=True)
        yield Observation(
            MODES.index("cold"),
            raw.quantiles,
            raw.features,
            actual[:, -1:],
            link.astype(np.int64),
            times // BLOCK_SECONDS,
        )


def _warm(model: Forecaster, index: WindowIndex) -> Iterator[Observation]:
    frame, contract = index.frame, model.contract
    own = Sequences.of(index).spread(STREAM_LINKS)
    sequences = Sequences.of(index, history_seconds=DAY_SECONDS).spread(STREAM_LINKS)
    begins = frame.timestamps[own.first_row]
    starts, ends = sequences.spans
    length, after = int((ends - starts).max()) // contract.cadence_seconds, contract.horizons_steps[-1]
    state, which = model.empty_state(len(sequences)), np.arange(len(sequences))
    for step in range(0, length, CHUNK):
        times = starts[:, None] + (step + np.arange(CHUNK)) * contract.cadence_seconds
        cut = sequences.cut(which, times[:, 0], CHUNK + after)
        samples, actual = as_tensors(model, cut, CHUNK)
        raw = model.follow(samples, state)
        state = raw.state
        counted = torch.from_numpy((times >= begins[:, None]) & (times < ends[:, None])).to(samples.device)
        counted = counted & torch.isfinite(samples[..., :TARGETS]).any(dim=-1)
        chosen = counted.cpu().numpy()
        if not chosen.any():
            continue
        yield Observation(
            MODES.index("warm"),
            raw.quantiles[counted][:, None],
            Features(*(part[counted][:, None] for part in raw.features)),
            actual[counted][:, None],
            np.broadcast_to(sequences.links[:, None], chosen.shape)[chosen],
            times[chosen] // BLOCK_SECONDS,
        )


def as_tensors(model: Forecaster, cut: Floats, length: int) -> tuple[Tensor, Tensor]:
    """Samples [n, length, features] and actual values [n, length, horizons, targets] in log space, on the device."""
    device = model.change_width.device
    levels = model.in_log_space(torch.from_numpy(cut[..., :TARGETS]).to(device)).cpu().numpy()
    _, actual = targets_ahead(levels, length, model.contract, 0)
    return torch.from_numpy(cut[:, :length].copy()).to(device), torch.from_numpy(actual).to(device)
