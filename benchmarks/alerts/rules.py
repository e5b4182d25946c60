"""Scores that rules compare with a threshold: ours, Prometheus' `predict_linear`, and the present value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bwpredict import schema
from bwpredict.exporter.distribution import exceedance
from bwpredict.inference.onnx_model import Bounds

Floats = npt.NDArray[np.floating]

LINEAR_MINUTES = (15, 30, 60, 120, 240)
"""Ranges of `predict_linear` that tuning chooses from."""
OURS, LINEAR, PLAIN = "bwpredict", "predict_linear", "threshold"


@dataclass(frozen=True)
class Watched:
    """A target of all links on a common grid of time, and each link's limit."""

    name: str
    above: bool
    """Whether the limit is an upper one."""
    values: Floats
    """[links, steps], NaN where there is no sample."""
    limits: Floats
    """[links, 1]"""
    step_minutes: float
    horizon_steps: int

    @property
    def recent(self) -> Floats:
        """[links, steps], mean of the samples of the last five minutes: what an incident and the plain rule go by."""
        return _mean(self.values, max(1, round(5 / self.step_minutes)))

    @property
    def beyond(self) -> npt.NDArray[np.bool_]:
        """[links, steps], where the limit is exceeded."""
        recent = self.recent
        return recent > self.limits if self.above else recent < self.limits


def scores(watched: Watched, probability: Floats) -> Mapping[str, Mapping[str, Floats]]:
    """Rule → variant → [links, steps]; the larger, the sooner the rule fires. NaN: nothing to go by."""
    sign = 1 if watched.above else -1
    linear = {
        f"{minutes} min": sign
        * predict_linear(watched.values, round(minutes / watched.step_minutes), watched.horizon_steps)
        / watched.limits
        for minutes in LINEAR_MINUTES
        if minutes >= 3 * watched.step_minutes
    }
    return {OURS: {"": probability}, LINEAR: linear, PLAIN: {"": sign * watched.recent / watched.limits}}


def probability(medians: Floats, bounds: Bounds, limits: Floats, target: str, *, above: bool) -> Floats:
    """[n], how probable it is that the target is beyond the limit of its link, from forecasts [n, targets]."""
    place, outer = schema.TARGETS.index(target), (1 - bounds.level) / 2
    quantiles = np.stack([part[:, place] for part in (bounds.lower, medians, bounds.upper)], axis=-1)
    more = exceedance(quantiles, (outer, 0.5, 1 - outer), limits, schema.MAPE_FLOORS[target])
    return more if above else 1 - more


def predict_linear(values: Floats, steps: int, ahead: int) -> Floats:
    """[links, steps], least squares over the samples of the last `steps`, extended by `ahead`; gaps are left out."""
    there = np.isfinite(values)
    known = np.where(there, values, 0.0)
    time = np.arange(values.shape[1], dtype=float)
    sums = [_sliding(each, steps) for each in (there * 1.0, there * time, there * time**2, known, known * time)]
    count, of_time, of_square, of_value, of_product = sums
    variance = of_square * count - of_time**2
    with np.errstate(invalid="ignore", divide="ignore"):
        slope = np.where(count >= 2, (of_product * count - of_time * of_value) / variance, np.nan)
        mean = of_value / count
        result: Floats = mean + slope * (time + ahead - of_time / count)
    return result


def _mean(values: Floats, steps: int) -> Floats:
    there = np.isfinite(values)
    with np.errstate(invalid="ignore"):
        result: Floats = _sliding(np.where(there, values, 0.0), steps) / _sliding(there * 1.0, steps)
    return result


def _sliding(values: Floats, steps: int) -> Floats:
    """[links, steps], the sum of the last `steps`."""
    total = np.cumsum(np.pad(values, ((0, 0), (steps, 0))), axis=1)
    result: Floats = total[:, steps:] - total[:, :-steps]
    return result


def sweep(score: Floats, count: int) -> Sequence[float]:
    """Thresholds that fire on ever more steps, from hardly any to every tenth."""
    shares = 1 - np.geomspace(1e-5, 0.3, count)
    return [float(each) for each in np.unique(np.nanquantile(score, shares))]
