"""Paired block bootstrap: windows of one link and day (or hour) hang together, so they are drawn together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from accuracy.verdict import Interval
from bwpredict.windows import WindowIndex

Floats = npt.NDArray[np.float64]

FEWEST_BLOCKS = 12
"""With fewer blocks of (link, day), blocks are of (link, hour)."""
DRAWS = 2000
LEVEL_PERCENT = (2.5, 97.5)


@dataclass(frozen=True)
class Blocks:
    """The blocks of n windows, and how often each is in each draw."""

    kind: str
    """"day" or "hour"."""
    code: npt.NDArray[np.int64]
    """[n], the block of each window."""
    weights: Floats
    """[DRAWS, blocks]."""

    @property
    def count(self) -> int:
        """Number of blocks."""
        return len(self.weights[0])

    def sums(self, values: Floats) -> Floats:
        """[blocks], the sum of `values` [n] in each block."""
        return np.asarray(np.bincount(self.code, weights=values, minlength=self.count), dtype=np.float64)


def blocks_of(index: WindowIndex, seed: int = 0) -> Blocks:
    """Blocks of (link, day), or of (link, hour) where those are too few; drawn with replacement."""
    rows = index.target_rows
    link, time = index.frame.link[rows].astype(np.int64), index.frame.timestamps[rows]
    kind, code = "day", _code(link, time // 86_400)
    if code.max() + 1 < FEWEST_BLOCKS:
        kind, code = "hour", _code(link, time // 3_600)
    count = int(code.max()) + 1
    draws = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=DRAWS)
    return Blocks(kind, code, draws.astype(np.float64))


def _code(link: npt.NDArray[np.int64], period: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """[n], one number for each pair of link and period."""
    _, code = np.unique(link * (int(period.max()) + 1) + period, return_inverse=True)
    return np.asarray(code, dtype=np.int64)


def skill_interval(blocks: Blocks, errors: Floats, baseline: Floats) -> Interval:
    """1 - mean error / mean error of the baseline, both [n], over the windows where both are finite."""
    ours, theirs, _ = _block_sums(blocks, errors, baseline)
    return _interval(blocks, lambda weights: 1 - _ratio(weights @ ours, weights @ theirs))


def difference_interval(blocks: Blocks, errors: Floats, rival: Floats) -> Interval:
    """Mean error less the rival's, over the windows where both are finite."""
    ours, theirs, counts = _block_sums(blocks, errors, rival)
    return _interval(blocks, lambda weights: _ratio(weights @ (ours - theirs), weights @ counts))


def _block_sums(blocks: Blocks, *errors: Floats) -> tuple[Floats, Floats, Floats]:
    both = np.isfinite(errors[0]) & np.isfinite(errors[1])
    first, second = (blocks.sums(np.where(both, each, 0)) for each in errors)
    return first, second, blocks.sums(both.astype(np.float64))


def _interval(blocks: Blocks, statistic: Callable[[Floats], Floats]) -> Interval:
    everything = np.ones((1, blocks.count))
    drawn = statistic(blocks.weights)
    low, high = np.percentile(drawn, LEVEL_PERCENT) if np.isfinite(drawn).all() else (np.nan, np.nan)
    return Interval(float(statistic(everything)[0]), float(low), float(high))


def _ratio(above: Floats, below: Floats) -> Floats:
    return above / np.where(below == 0, np.nan, below)
