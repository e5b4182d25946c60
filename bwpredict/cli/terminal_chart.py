"""A chart of a link's last hour and its next one, in the characters of a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from bwpredict.core.formatting import number

Values = npt.NDArray[np.floating[Any]]

MINUTES_PER_COLUMN = 2
HEIGHT = 11
ACTUAL, FORECAST, INTERVAL = "●", "━", "░"


def fan_chart(recent: Values, minutes: Sequence[float], lower: Values, median: Values, upper: Values) -> list[str]:
    """The lines of the chart, top first, with the values of the axis before them.

    Args:
        recent: [n], a sample a minute up to now, NaN where one is missing.
        minutes: [h], ascending: the horizons of `lower`, `median` and `upper`, which have the same length.
    """
    past = _column_means(recent)
    ahead = np.arange(MINUTES_PER_COLUMN, minutes[-1] + 1, MINUTES_PER_COLUMN)
    known = recent[np.isfinite(recent)]
    start = known[-1:] if len(known) else median[:1]
    lows, middles, highs = (np.interp(ahead, [0, *minutes], [*start, *each]) for each in (lower, median, upper))
    everything = np.concatenate((past, lows, highs))
    low, high = _range(everything[np.isfinite(everything)])
    grid = np.full((HEIGHT, len(past) + len(ahead)), " ")

    def row(value: float) -> int:
        return int(np.clip(round((high - value) / (high - low) * (HEIGHT - 1)), 0, HEIGHT - 1))

    for column, value in enumerate(past):
        if np.isfinite(value):
            grid[row(value), column] = ACTUAL
    for column, (bottom, middle, top) in enumerate(zip(lows, middles, highs, strict=True), len(past)):
        if np.isfinite([bottom, middle, top]).all():
            grid[row(top) : row(bottom) + 1, column] = INTERVAL
            grid[row(middle), column] = FORECAST
    return _with_axis(grid, low, high, len(past))


def _column_means(values: Values) -> Values:
    """[n / MINUTES_PER_COLUMN], NaN where all of a column's are missing."""
    pairs = values[len(values) % MINUTES_PER_COLUMN :].reshape(-1, MINUTES_PER_COLUMN)
    there = np.isfinite(pairs)
    total = np.where(there, pairs, 0).sum(axis=1)
    means: Values = np.divide(total, there.sum(axis=1), out=np.full(len(pairs), np.nan), where=there.any(axis=1))
    return means


def _range(values: Values) -> tuple[float, float]:
    """The axis, never empty."""
    low, high = (float(values.min()), float(values.max())) if len(values) else (0.0, 1.0)
    return (low, high) if high > low else (low - max(abs(low) * 0.05, 0.5), high + max(abs(high) * 0.05, 0.5))


def _with_axis(grid: npt.NDArray[np.str_], low: float, high: float, now: int) -> list[str]:
    labels = {0: number(high, 3), HEIGHT // 2: number((low + high) / 2, 3), HEIGHT - 1: number(low, 3)}
    width = max(map(len, labels.values()))
    lines = []
    for place, cells in enumerate(grid):
        edge = "┤" if place in labels else "│"
        lines.append(f"{labels.get(place, ''):>{width}} {edge}{''.join(cells[:now])}┊{''.join(cells[now:])}")
    minutes = MINUTES_PER_COLUMN * now, MINUTES_PER_COLUMN * (grid.shape[1] - now)
    begin, end = (f"{sign}{count} min" for sign, count in zip("-+", minutes, strict=True))
    axis = f"{begin:<{now - 1}}now{end:>{grid.shape[1] - now - 1}}"
    return [*lines, f"{'':>{width}}  {axis}"]
