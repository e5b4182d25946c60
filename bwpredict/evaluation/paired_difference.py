"""Difference of the challenger's error from the champion's, over all links and by link, with intervals over days.

Errors are in units of each link's champion error, so all links weigh the same. A day is one observation, because what
happens on a day hits many links: intervals are Student's t over the days' parts of the linearised ratio (Cochran,
Sampling Techniques, 6.3), with one degree of freedom less than there are whole days.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bwpredict import schema
from bwpredict.core.formatting import undefined_as_none
from bwpredict.evaluation.daily_errors import Daily, Floats, daily_errors
from bwpredict.evaluation.diebold_mariano import diebold_mariano
from bwpredict.evaluation.forecasts import Forecasts
from bwpredict.evaluation.link_difference import link_differences
from bwpredict.evaluation.student import (
    FEWEST_DAYS,
    LEVEL,
    POWER,
    deviation,
    interval,
    ratio_over_days,
    smallest_detectable,
)

Document = dict[str, Any]
Dates = npt.NDArray[np.datetime64]


@dataclass(frozen=True)
class _Apart:
    """A difference in percent, and each day's influence on it [days]."""

    percent: float
    influence: Floats


def differences(forecasts: Forecasts, *, weights: Mapping[str, float] | None = None) -> Document:
    """The `difference` part of a comparison: per target, the weighted mean of the targets, and the links.

    A figure is None where it is undefined, as of a target that the telemetry lacks; so is an interval over fewer than
    `FEWEST_DAYS` days.

    Args:
        forecasts: with "challenger" and "champion".
        weights: of the targets in the mean; 1 for those not named, None: for all.
    """
    daily = daily_errors(forecasts, "champion")
    document = _document(forecasts.targets, daily, dict(weights or {}))
    for place, name in enumerate(forecasts.targets):
        own, theirs = daily.own[place], daily.theirs[place]
        document["per_target"][name] |= {
            "pooled": interval(*ratio_over_days((own - theirs).sum(axis=0), theirs.sum(axis=0)), daily.whole_days),
            "diebold_mariano": diebold_mariano((own - theirs).sum(axis=0) / daily.windows.sum(axis=0)),
        }
    return document | {"links": link_differences(forecasts, daily)}


def mean_difference(forecasts: Forecasts, rival: str, weights: Mapping[str, float]) -> Document:
    """As `differences`, but from the model `rival`, and without pooled errors and links."""
    return _document(forecasts.targets, daily_errors(forecasts, rival), weights)


def relative_interval(daily: Daily, target: int) -> Document:
    """The challenger's excess error in percent, with its interval; each link has the same weight."""
    return interval(*ratio_over_days(*daily.summed(target)), daily.whole_days)


def reweighted(difference: Mapping[str, Any], weights: Mapping[str, float]) -> Document:
    """The same difference with other weights of the targets in the mean."""
    days = difference["days"]
    each = {
        name: _Apart(float(_array(figures["percent"])), _array(figures["daily"]))
        for name, figures in difference["per_target"].items()
        if figures is not None
    }
    return {**difference, "weighted": _weighted(each, weights, days["count"], np.array(days["dates"], "datetime64[D]"))}


def _array(figures: Any) -> Floats:
    """Figures from a document, with NaN for null."""
    return np.asarray(figures, dtype=np.float64)


def _document(targets: tuple[str, ...], daily: Daily, weights: Mapping[str, float]) -> Document:
    each = {name: _apart(*daily.summed(place)) for place, name in enumerate(targets)}
    dates = daily.days.astype("datetime64[D]")
    per_target: Document = dict.fromkeys(schema.TARGETS) | {
        name: _figures(apart, daily.whole_days, dates) | {"daily": [undefined_as_none(one) for one in apart.influence]}
        for name, apart in each.items()
    }
    return {
        "level": LEVEL,
        "power": POWER,
        "days": {"count": daily.whole_days, "fewest": FEWEST_DAYS, "dates": [str(date) for date in dates]},
        "per_target": per_target,
        "weighted": _weighted(each, weights, daily.whole_days, dates),
    }


def _apart(above: Floats, base: Floats) -> _Apart:
    """The difference of sums by day [days]."""
    percent, influence = ratio_over_days(above, base)
    return _Apart(float(percent), influence)


def _weighted(each: Mapping[str, _Apart], given: Mapping[str, float], whole_days: int, dates: Dates) -> Document:
    """The difference of the weighted mean over the measured targets; undefined if all weights are zero."""
    weights = {name: float(given.get(name, 1.0)) for name in schema.TARGETS}
    counted = [name for name in each if weights[name] > 0]
    total = sum(weights[name] for name in counted)
    if not counted:
        return {"weights": weights, **_figures(_Apart(np.nan, np.full(len(dates), np.nan)), whole_days, dates)}
    used = [(weights[name] / total, each[name]) for name in counted]
    influence = np.sum([share * one.influence for share, one in used], axis=0)
    mean = _Apart(float(sum(share * one.percent for share, one in used)), influence)
    return {"weights": weights, **_figures(mean, whole_days, dates)}


def _figures(apart: _Apart, whole_days: int, dates: Dates) -> Document:
    detectable = smallest_detectable(float(deviation(apart.influence)), whole_days)
    known = whole_days >= FEWEST_DAYS
    return interval(apart.percent, apart.influence, whole_days) | {
        "smallest_detectable_percent": undefined_as_none(detectable) if known else None,
        "autocorrelation": _autocorrelation(apart.influence, dates) if known else None,
    }


def _autocorrelation(influence: Floats, dates: Dates) -> float | None:
    """Autocorrelation of the daily series at lag 1, over consecutive days; None if the series is constant."""
    square = float((influence**2).sum())
    if not np.isfinite(square) or square == 0:
        return None
    follows = np.diff(dates) == np.timedelta64(1, "D")
    return float((influence[1:] * influence[:-1])[follows].sum() / square)
