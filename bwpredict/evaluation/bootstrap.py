"""Paired block bootstrap: windows of one link and day (or hour) are correlated, so they are drawn together.

Errors are summed within each block first, so that a draw is a product of weights and sums whatever the number of
windows: Davison and Hinkley, Bootstrap Methods and their Application (1997), 3.8; percentile intervals, 5.3.1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from bwpredict.datasets.windows import DAY_SECONDS
from bwpredict.evaluation.student import LEVEL

Floats = npt.NDArray[np.float64]

FEWEST_BLOCKS = 12
"""With fewer blocks of (link, day), blocks of (link, hour) are used."""
DRAWS = 10_000
_HOUR_SECONDS = 3_600
_CELLS = 1_000_000
"""Weights to hold in memory at a time."""


@dataclass(frozen=True)
class Interval:
    """An estimate and its 95 % interval."""

    estimate: float
    low: float
    high: float

    @property
    def finite(self) -> bool:
        """Whether estimate and bounds are finite."""
        return all(map(math.isfinite, (self.estimate, self.low, self.high)))


@dataclass(frozen=True)
class Blocks:
    """The blocks of n windows."""

    kind: Literal["day", "hour"]
    code: npt.NDArray[np.int64]
    """[n], the block of each window."""
    count: int
    """Number of blocks."""

    def sums(self, values: Floats, rows: Any = slice(None)) -> Floats:
        """[blocks, k], the sum of each column of `values` [n, k] in each block, over the chosen rows."""
        code, chosen = self.code[rows], values[rows]
        columns = [np.bincount(code, weights=column, minlength=self.count) for column in chosen.T]
        return np.stack(columns, axis=1).astype(np.float64)

    def draw(self, sums: Floats, draws: int = DRAWS, seed: int = 0) -> Floats:
        """[draws, k], each column's total over as many blocks as there are, drawn with replacement.

        The same blocks, draws and seed give the same blocks in each draw, whatever the sums: so where every
        error of one model is at most another's, it is so in every draw.
        """
        generator = np.random.default_rng(seed)
        totals = np.empty((draws, sums.shape[1]))
        rows = max(1, _CELLS // self.count)
        for begin in range(0, draws, rows):
            shape = (min(rows, draws - begin), self.count)
            drawn = generator.integers(self.count, size=shape) + np.arange(shape[0])[:, None] * self.count
            weights = np.bincount(drawn.ravel(), minlength=drawn.size).reshape(shape)
            with np.errstate(invalid="ignore"):  # 0 times an infinite error: NaN, and so undefined
                totals[begin : begin + shape[0]] = weights.astype(np.float64) @ sums
        return totals


def blocks_of(link: npt.NDArray[np.integer[Any]], timestamps: npt.NDArray[np.int64]) -> Blocks:
    """Blocks of (link, day), or of (link, hour) where those are fewer than `FEWEST_BLOCKS`; both arguments [n]."""
    code, count = _code(link, timestamps // DAY_SECONDS)
    if count >= FEWEST_BLOCKS:
        return Blocks("day", code, count)
    return Blocks("hour", *_code(link, timestamps // _HOUR_SECONDS))


def interval_of(estimate: float, drawn: Floats) -> Interval:
    """The central 95 % of the draws [draws]; NaN if any of them is not finite."""
    if not np.isfinite(drawn).all():
        return Interval(float(estimate), math.nan, math.nan)
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(estimate), float(low), float(high))


def _code(link: npt.NDArray[np.integer[Any]], period: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], int]:
    """[n], one number for each pair of link and period; and how many there are."""
    first = int(period.min()) if len(period) else 0
    span = int(period.max()) - first + 1 if len(period) else 1
    pairs, code = np.unique(link.astype(np.int64) * span + (period - first), return_inverse=True)
    return np.asarray(code, dtype=np.int64), len(pairs)
