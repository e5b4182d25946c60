"""Metrics of point forecasts, all with one signature: `metric(truth, forecast) -> [targets]`.

Where a metric is undefined (no samples, a constant, a NaN among its inputs) it is NaN, never a number.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

MINIMUM_LINK_SAMPLES = 30
"""With fewer scored windows, a link's correlation is undefined."""
SMALLEST_RELATIVE_SPREAD = 1e-7
"""Values whose standard deviation is below this share of the largest are constant, up to float32 rounding."""


@dataclass(frozen=True)
class Truth:
    """The actual values of n windows and t targets, with the data that metrics need about them."""

    values: npt.NDArray[np.floating[Any]]
    """[n, t], raw units."""
    link: npt.NDArray[np.integer[Any]]
    """[n], the link of each window, any numbering."""
    floors: Floats
    """[t], in each target's unit; relative errors leave out smaller actual values."""

    def rows(self, which: npt.NDArray[np.bool_]) -> Truth:
        """A subset of the windows."""
        return Truth(self.values[which], self.link[which], self.floors)


Forecast = npt.NDArray[np.floating[Any]]
"""[n, t], raw units."""
Metric = Callable[[Truth, Forecast], Floats]


def mae(truth: Truth, forecast: Forecast) -> Floats:
    """Mean absolute error, in each target's unit."""
    return _mean(np.abs(_error(truth, forecast)))


def rmse(truth: Truth, forecast: Forecast) -> Floats:
    """Root of the mean squared error, in each target's unit."""
    return np.sqrt(_mean(_error(truth, forecast) ** 2))


def wape(truth: Truth, forecast: Forecast) -> Floats:
    """Sum of absolute errors over sum of absolute values, percent."""
    return 100 * _ratio(np.abs(_error(truth, forecast)).sum(axis=0), np.abs(_double(truth.values)).sum(axis=0))


def mape(truth: Truth, forecast: Forecast) -> Floats:
    """Mean absolute percentage error over the samples at or above the target's floor."""
    counted = _counted(truth)
    size = np.where(counted, np.abs(_double(truth.values)), 1.0)
    relative = np.where(counted, np.abs(_error(truth, forecast)) / size, 0.0)
    return 100 * _ratio(relative.sum(axis=0), counted.sum(axis=0))


def mape_share_left_out(truth: Truth, forecast: Forecast) -> Floats:  # noqa: ARG001 - the one signature
    """Share of the samples that `mape` leaves out, 0 to 1."""
    return _mean(~_counted(truth))


def r2_score(truth: Truth, forecast: Forecast) -> Floats:
    """Share of the variance explained, pooled over links."""
    if len(truth.values) == 0:
        return _mean(truth.values)
    _, spread = _centred(_double(truth.values), np.array([0]), np.array([len(truth.values)]))
    return np.asarray(1 - _mean(_error(truth, forecast) ** 2) / spread[0] ** 2)


def correlation(truth: Truth, forecast: Forecast) -> Floats:
    """Pearson's correlation, pooled over links (which mostly shows that links differ)."""
    one_link = Truth(truth.values, np.zeros_like(truth.link), truth.floors)
    return np.asarray(link_correlations(one_link, forecast, fewest=2)[0])


def within_link_correlation(truth: Truth, forecast: Forecast) -> Floats:
    """Median over links of each link's own Pearson correlation.

    Links with too few samples or a constant actual value have none and do not count. Undefined where
    more than half of the others have none either: a forecast that is constant there follows nothing.
    """
    own = link_correlations(truth, forecast)
    follows = within_link_links(truth, forecast)
    # A link has a correlation if the actual value correlates with itself, that is, unless it is constant.
    enough = (follows > 0) & (2 * follows >= within_link_links(truth, truth.values))
    return np.array([np.nanmedian(column) if ok else np.nan for column, ok in zip(own.T, enough, strict=True)])


def within_link_links(truth: Truth, forecast: Forecast) -> Floats:
    """Number of links that `within_link_correlation` is the median of."""
    return _double(np.isfinite(link_correlations(truth, forecast)).sum(axis=0))


def skill_over(baseline: Forecast) -> Metric:
    """Metric: 1 - MAE / MAE of `baseline` [n, t]. 0 is no better, 1 perfect; undefined over a perfect baseline."""

    def skill(truth: Truth, forecast: Forecast) -> Floats:
        return 1 - _ratio(mae(truth, forecast), mae(truth, baseline))

    return skill


METRICS: dict[str, Metric] = {
    "mae": mae,
    "rmse": rmse,
    "wape": wape,
    "mape": mape,
    "mape_share_left_out": mape_share_left_out,
    "r2_score": r2_score,
    "correlation": correlation,
    "within_link_correlation": within_link_correlation,
    "within_link_links": within_link_links,
}
"""Every metric of one forecast, by its name in documents."""


@np.errstate(invalid="ignore")  # a forecast that is not finite has no correlation: NaN
def link_correlations(truth: Truth, forecast: Forecast, *, fewest: int = MINIMUM_LINK_SAMPLES) -> Floats:
    """[links, t], Pearson's correlation of each link, links ascending; NaN where undefined."""
    if len(truth.values) == 0:
        return np.full((1, truth.values.shape[1]), np.nan)
    order = np.argsort(truth.link, kind="stable")
    _, begins, counts = np.unique(truth.link[order], return_index=True, return_counts=True)
    actual, actual_spread = _centred(_double(truth.values)[order], begins, counts)
    own, own_spread = _centred(_double(forecast)[order], begins, counts)
    covariance = np.add.reduceat(actual * own, begins, axis=0) / counts[:, None]
    covariance[counts < fewest] = np.nan
    return np.asarray(np.clip(covariance / (actual_spread * own_spread), -1, 1))


def _centred(values: Floats, begins: Integers, counts: Integers) -> tuple[Floats, Floats]:
    """Deviations [n, t] from the mean of each group of rows, and the groups' standard deviations [groups, t].

    The standard deviation of a constant group is NaN.
    """
    means = np.add.reduceat(values, begins, axis=0) / counts[:, None]
    deviations = values - np.repeat(means, counts, axis=0)
    spread = np.sqrt(np.add.reduceat(deviations**2, begins, axis=0) / counts[:, None])
    largest = np.maximum.reduceat(np.abs(values), begins, axis=0)
    return deviations, np.where(spread > SMALLEST_RELATIVE_SPREAD * largest, spread, np.nan)


def _error(truth: Truth, forecast: Forecast) -> Floats:
    if forecast.shape != truth.values.shape:
        raise ValueError(f"forecasts of shape {forecast.shape} for actual values of shape {truth.values.shape}")
    return _double(forecast) - _double(truth.values)


def _counted(truth: Truth) -> npt.NDArray[np.bool_]:
    return np.abs(_double(truth.values)) >= truth.floors


def _double(values: npt.NDArray[Any]) -> Floats:
    return values.astype(np.float64)


def _mean(values: npt.NDArray[Any]) -> Floats:
    return _ratio(_double(values).sum(axis=0), np.full(values.shape[1], len(values)))


def _ratio(above: Floats, below: npt.NDArray[Any]) -> Floats:
    """`above / below`, NaN where `below` is zero."""
    return above / np.where(below == 0, np.nan, below)
