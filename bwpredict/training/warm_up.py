"""How long a stream must follow a link until it forecasts it as well as one that has followed it for days."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bwpredict.datasets.sequences import Sequences
from bwpredict.datasets.windows import DAY_SECONDS, WindowIndex
from bwpredict.models.features import TARGETS, Features
from bwpredict.models.network import Forecaster
from bwpredict.training.batches import CHUNK
from bwpredict.training.validation import as_tensors

LINKS = 24
"""At most this many are followed."""
LONGEST_MINUTES = 1440
"""A stream is followed for so long from an empty state, then anew."""
STARTS = 4
"""Of streams in a day, evenly spread."""
BIN_MINUTES = 30
FORECAST_EVERY_SECONDS = 300
"""Errors of neighbouring minutes are nearly the same."""
LARGEST_LOSS = 0.01
"""Of skill over the last value, on average over the targets."""


@torch.no_grad()
def measure_warm_up(model: Forecaster, validation: WindowIndex, learnt: Tensor) -> int | None:
    """Minutes until the skill is within a point of that of warm streams, at the same moments; None: nothing to measure.

    Streams of some links begin empty at several times of each day of the validation part. `learnt` [targets] is 0 for
    targets that do not count.
    """
    lost = _skill_lost(model.eval(), validation)[:, learnt.cpu().numpy() > 0]
    bins = np.flatnonzero(np.isfinite(lost).any(axis=1))
    points = np.nanmean(lost[bins], axis=1)
    if not len(points):
        return None
    for place, point in enumerate(points):
        if point <= LARGEST_LOSS and points[place:].mean() <= LARGEST_LOSS:
            return max(1, int(bins[place]) * BIN_MINUTES)
    return LONGEST_MINUTES


def _skill_lost(model: Forecaster, index: WindowIndex) -> npt.NDArray[np.float64]:
    """[bins of time since an empty state, targets], warm skill minus skill; NaN where there is no forecast.

    Warm streams begin a day before the others, and all are followed side by side.
    """
    sequences = Sequences.of(index, history_seconds=DAY_SECONDS).spread(LINKS)
    cadence, after = model.contract.cadence_seconds, model.contract.horizons_steps[-1]
    begins = index.frame.timestamps[Sequences.of(index).spread(LINKS).first_row]
    starts, ends = begins - DAY_SECONDS // cadence * cadence, sequences.spans[1]
    bins = math.ceil(LONGEST_MINUTES / BIN_MINUTES)
    worse, simple = np.zeros((bins, TARGETS)), np.zeros((bins, TARGETS))
    apart = LONGEST_MINUTES * 60 // cadence // STARTS
    chunk = math.gcd(apart, CHUNK)
    links = len(sequences)
    every = max(1, FORECAST_EVERY_SECONDS // cadence)
    some = slice(every // 2, None, every)  # not the first sample of each start, which is the hardest
    state = model.empty_state((1 + STARTS) * links)  # the warm streams first
    for step in range(0, int((ends - starts).max()) // cadence, chunk):
        times = starts[:, None] + (step + np.arange(chunk)) * cadence
        samples, actual = as_tensors(model, sequences.cut(np.arange(links), times[:, 0], chunk + after), chunk)
        since = (times - begins[:, None]) // cadence - apart * np.arange(STARTS)[:, None, None]
        since = np.where(since >= 0, since % (STARTS * apart), -1)
        begun = ((since[..., 0] >= 0) & (since[..., 0] < chunk)).reshape(-1)
        state[links:][torch.from_numpy(begun).to(samples.device)] = 0
        raw = model.follow(samples.repeat(1 + STARTS, 1, 1), state)
        state = raw.state
        features = Features(*(part[:, some] for part in raw.features))
        served = model.served(raw.quantiles[:, some], model.window_quantiles(features), features)
        forecasts = model.to_raw(served[:, :, model.contract.place, 1])
        wanted = model.to_raw(actual[:, some, model.contract.place])
        last = (model.to_raw(raw.features.recent[:links, some, -1, :]) - wanted).abs().cpu().numpy()
        warm, *cold = (forecasts.reshape(-1, *wanted.shape) - wanted).abs().cpu().numpy()
        here = np.isfinite(last) & (times[:, some] < ends[:, None])[..., None]
        for error, minute in zip(cold, since[..., some], strict=True):
            known = here & (minute >= 0)[..., None]
            place = (minute * cadence // 60 // BIN_MINUTES)[..., None] * TARGETS + np.arange(TARGETS)
            np.add.at(worse.reshape(-1), place[known], (error - warm)[known])
            np.add.at(simple.reshape(-1), place[known], last[known])
    return np.divide(worse, simple, out=np.full_like(worse, np.nan), where=simple > 0)
