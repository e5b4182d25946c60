"""Intervals of the benchmark's figures, by the product's own paired block bootstrap."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from bwpredict.datasets.windows import WindowIndex
from bwpredict.evaluation.bootstrap import Blocks, Interval, interval_of
from bwpredict.evaluation.bootstrap import blocks_of as blocks_of_windows

Floats = npt.NDArray[np.float64]

DRAWS = 2000


def blocks_of(index: WindowIndex) -> Blocks:
    """Blocks of (link, day), or of (link, hour) where those are too few."""
    rows = index.target_rows
    return blocks_of_windows(index.frame.link[rows], index.frame.timestamps[rows])


def skill_interval(blocks: Blocks, errors: Floats, baseline: Floats) -> Interval:
    """1 - mean error / mean error of the baseline, both [n], over the windows where both are finite."""
    return _interval(blocks, errors, baseline, lambda ours, theirs, _: 1 - _ratio(ours, theirs))


def difference_interval(blocks: Blocks, errors: Floats, rival: Floats) -> Interval:
    """Mean error less the rival's, over the windows where both are finite."""
    return _interval(blocks, errors, rival, lambda ours, theirs, count: _ratio(ours - theirs, count))


def _interval(
    blocks: Blocks, ours: Floats, theirs: Floats, statistic: Callable[[Floats, Floats, Floats], Floats]
) -> Interval:
    both = np.isfinite(ours) & np.isfinite(theirs)
    columns = [np.where(both, ours, 0), np.where(both, theirs, 0), both]
    sums = blocks.sums(np.stack(columns, axis=1).astype(np.float64))
    estimate = statistic(*sums.sum(axis=0, keepdims=True).T)
    return interval_of(float(estimate[0]), statistic(*blocks.draw(sums, DRAWS).T))


def _ratio(above: Floats, below: Floats) -> Floats:
    return above / np.where(below == 0, np.nan, below)
