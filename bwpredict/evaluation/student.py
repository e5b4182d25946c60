"""Ratios of sums over days, with Student's t intervals: a day is one observation, whatever the number of links."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import t as student_t

from bwpredict.core.formatting import undefined_as_none

Floats = npt.NDArray[np.float64]

FEWEST_DAYS = 4
"""With fewer days there is no interval: fewer than three degrees of freedom say too little."""
LEVEL, POWER = 0.95, 0.8
"""Level of the two-sided intervals, and power at the smallest difference that they detect."""


def ratio_over_days(above: Floats, base: Floats) -> tuple[Floats, Floats]:
    """Percent [...] that the sum of `above` is of that of `base`, both [..., days], and each day's influence on it.

    0 where both are 0 on every day; infinite, with an undefined influence, over a base of 0.
    """
    total = base.sum(axis=-1, keepdims=True)
    nothing = (total == 0) & (above == 0).all(axis=-1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(nothing, 0.0, above.sum(axis=-1, keepdims=True) / total)
        influence = np.where(nothing, 0.0, 100 * (above - ratio * base) / total)
    return 100 * ratio[..., 0], influence


def deviation(influence: Floats) -> Floats:
    """[...], the standard error of a ratio, from each day's influence [..., days]; NaN for one day."""
    days = influence.shape[-1]
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.sqrt(np.float64(days) / (days - 1) * (influence**2).sum(axis=-1)))


def half_width(influence: Floats, whole_days: Any, probability: Any) -> Floats:
    """[...], how far the bound of this one-sided probability is from the ratio; NaN for too few whole days."""
    enough = np.asarray(whole_days) >= FEWEST_DAYS
    quantile = student_t.ppf(probability, np.where(enough, whole_days, FEWEST_DAYS) - 1)
    return np.asarray(np.where(enough, quantile * deviation(influence), np.nan))


def smallest_detectable(standard_error: float, whole_days: int) -> float:
    """The smallest difference that a two-sided interval of `LEVEL` detects with probability `POWER`."""
    return float(sum(student_t.ppf([(1 + LEVEL) / 2, POWER], max(whole_days - 1, 1)))) * standard_error


def interval(percent: Any, influence: Floats, whole_days: int) -> dict[str, float | None]:
    """A ratio with the two ends of its interval of level `LEVEL`, in percent: None where it is undefined.

    Args:
        percent, influence: as of `ratio_over_days`.
        whole_days: days that count as an observation.
    """
    half = float(half_width(influence, whole_days, (1 + LEVEL) / 2))
    ends = {"percent": float(percent), "low": float(percent) - half, "high": float(percent) + half}
    return {name: undefined_as_none(value) for name, value in ends.items()}
