"""What quantiles say beyond themselves: the probability of a threshold, and how surprising a sample is.

Between and beyond the quantiles, the distribution is interpolated: the standard normal quantile of the level is
piecewise linear in log(value + floor), the outer pieces go on as they are. With three quantiles this is a normal
distribution of the logarithm with a separate spread on each side of the median. The floors are
`schema.MAPE_FLOORS`.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]

_NORMAL = NormalDist()
_GRID = np.linspace(-8, 8, 16_001)
_CUMULATIVE = np.array([_NORMAL.cdf(z) for z in _GRID])
_NARROWEST = 1e-6
"""Of a piece, in log space: quantiles that fall together are a step, not a division by zero."""


def exceedance(quantiles: Floats, levels: Sequence[float], threshold: float | Floats, floor: float) -> Floats:
    """[...], the probability that the value is above `threshold`, from quantiles [..., levels], ascending.

    `threshold`: one for all, or [...].
    """
    at = np.log(np.asarray(threshold, np.float64) + floor)[..., None]
    knots = np.log(np.asarray(quantiles, np.float64) + floor)
    scores = np.array([_NORMAL.inv_cdf(level) for level in levels])
    begin, slope = knots[..., :-1], np.diff(scores) / np.maximum(np.diff(knots, axis=-1), _NARROWEST)
    # The piece that contains the threshold; the first and last pieces extend outwards.
    piece = np.clip((knots <= at).sum(axis=-1) - 1, 0, len(levels) - 2)[..., None]
    here = np.take_along_axis(slope, piece, -1) * (at - np.take_along_axis(begin, piece, -1)) + scores[piece]
    below: Floats = np.interp(here[..., 0], _GRID, _CUMULATIVE)
    return 1 - below


def anomaly_score(actual: Floats, lower: Floats, median: Floats, upper: Floats, floors: Floats) -> Floats:
    """How far a sample is from the forecast for it, signed: 0 at the median, 1 at `upper`, -1 at `lower`.

    A distance between quantiles counts as `floors` at least. NaN: no sample, or no forecast for it.
    """
    width = np.where(actual > median, upper - median, median - lower)
    return (actual - median) / np.maximum(width, floors)
