"""The Diebold-Mariano test of equal accuracy, for the means over all links at each time."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import t as student_t

Floats = npt.NDArray[np.float64]

FEWEST_TIMES = 30


def loss_series(losses: Floats, timestamps: npt.NDArray[np.int64]) -> Floats:
    """[times], the mean loss difference over all links at each time, from [n] windows; times ascending."""
    times, code = np.unique(timestamps, return_inverse=True)
    return np.asarray(np.bincount(code, weights=losses) / np.bincount(code, minlength=len(times)))


def diebold_mariano(losses: Floats, horizon_steps: int) -> dict[str, Any]:
    """Whether the mean of a series [times] of loss differences is 0: statistic, two-sided p-value and lags.

    Variance: Newey and West (1987), Bartlett weights, which keep it from being negative; lags: the forecasts'
    overlap (horizon - 1), or the cube root of the length where that is more. Small-sample factor and Student's t:
    Harvey, Leybourne and Newbold (1997). Statistic and p-value are None for fewer than 30 times or no variance.
    """
    length = len(losses)
    lags = max(horizon_steps - 1, math.floor(length ** (1 / 3)))
    undefined = {"statistic": None, "p_value": None, "lags": lags, "times": length}
    if length < max(FEWEST_TIMES, 2 * horizon_steps) or not np.isfinite(losses).all():
        return undefined
    deviations = losses - losses.mean()
    covariances = [deviations[lag:] @ deviations[: length - lag] / length for lag in range(min(lags, length - 1) + 1)]
    bartlett = 1 - np.arange(1, len(covariances)) / (lags + 1)
    variance = (covariances[0] + 2 * bartlett @ np.array(covariances[1:])) / length
    if not variance > 0:
        return undefined
    h = horizon_steps
    harvey = (length + 1 - 2 * h + h * (h - 1) / length) / length
    statistic = float(losses.mean() / math.sqrt(variance) * math.sqrt(harvey))
    p_value = float(2 * student_t.sf(abs(statistic), length - 1))
    return undefined | {"statistic": statistic, "p_value": p_value}
