"""Compare the intervals of challenger and champion by Winkler's interval score, over days.

The score of an interval is its width, plus 2 / (1 - level) times the distance by which it misses the actual value;
small is good. It is a proper score: neither wider nor narrower intervals than the honest ones have a smaller mean
(Gneiting and Raftery, "Strictly Proper Scoring Rules, Prediction, and Estimation", 2007).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from bwpredict import schema
from bwpredict.evaluation.daily_errors import Cells, Daily, Floats, cells_of, whole_days
from bwpredict.evaluation.forecasts import Forecasts
from bwpredict.evaluation.paired_difference import relative_interval
from bwpredict.evaluation.student import FEWEST_DAYS
from bwpredict.inference.onnx_model import Bounds

Document = dict[str, Any]

CHUNK_WINDOWS = 65_536


def winkler_score(lower: Floats, upper: Floats, actual: Floats, level: float) -> Floats:
    """Scores of intervals of this level, in the unit of the values; NaN if a bound or the actual value is undefined."""
    with np.errstate(invalid="ignore"):
        missed = np.maximum(lower - actual, 0) + np.maximum(actual - upper, 0)
        return np.asarray(upper - lower + 2 / (1 - level) * missed)


def interval_difference(forecasts: Forecasts, bounds: Bounds | None, champion_bounds: Bounds | None) -> Document:
    """The `interval_difference` part of a comparison: how far the challenger's score is above the champion's.

    In percent, per target, in units of each link's champion score, so links weigh the same. Both are scored at the
    champion's level, as consumers know it. A figure is None where it is undefined, as for a model without intervals.
    """
    document: Document = {
        "level": None if bounds is None else bounds.level,
        "champion_level": None if champion_bounds is None else champion_bounds.level,
        "per_target": dict.fromkeys(schema.TARGETS),
    }
    cells = cells_of(forecasts)
    windows = cells.sums()
    document["days"] = {"count": whole_days(windows), "fewest": FEWEST_DAYS}
    if bounds is not None and champion_bounds is not None:
        level = champion_bounds.level
        own, theirs = (_sums(forecasts, cells, one, level) for one in (bounds, champion_bounds))
        daily = Daily(cells.links, cells.days, windows, own, theirs)
        for place, name in enumerate(forecasts.targets):
            document["per_target"][name] = relative_interval(daily, place)
    return document


def _sums(forecasts: Forecasts, cells: Cells, bounds: Bounds, level: float) -> Floats:
    """[t, l, d], the scores summed by link and day."""
    places = [schema.TARGETS.index(name) for name in forecasts.targets]
    total = np.zeros((len(places), len(cells.links), len(cells.days)))
    for begin in range(0, len(forecasts), CHUNK_WINDOWS):
        rows = slice(begin, begin + CHUNK_WINDOWS)
        lower, upper, actual = (_double(values[rows]) for values in (bounds.lower, bounds.upper, forecasts.actual))
        scores = winkler_score(lower[:, places], upper[:, places], actual, level)
        total += np.stack([cells.sums(column, rows) for column in scores.T])
    return total


def _double(values: npt.NDArray[np.float32]) -> Floats:
    return values.astype(np.float64)
