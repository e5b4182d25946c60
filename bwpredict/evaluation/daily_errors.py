"""Absolute errors of two models, summed by link and day, also scaled by each link's error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bwpredict.datasets.windows import DAY_SECONDS
from bwpredict.evaluation.forecasts import Forecasts

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.integer[Any]]

WHOLE = 0.5
"""A day counts as whole with at least this share of the windows of the fullest day."""
_SMALLEST_UNIT = 0.01
"""Smallest scale of a link, as a share of the median link's, so that a link without errors cannot dominate."""


@dataclass(frozen=True)
class Daily:
    """Sums over windows, of l links and d days that have any."""

    links: Integers
    """[l], positions in `Forecasts.links`."""
    days: Integers
    """[d], days since 1970-01-01 UTC, ascending."""
    windows: Floats
    """[l, d], numbers of windows."""
    own: Floats
    """[t, l, d], the challenger's errors."""
    theirs: Floats
    """[t, l, d], the other model's errors."""

    @property
    def whole_days(self) -> int:
        """How many days have at least half of the windows of the fullest day."""
        return whole_days(self.windows)

    def apart(self, target: int) -> bool:
        """Whether the two models differ in their errors at all."""
        return not np.array_equal(self.own[target], self.theirs[target])

    def summed(self, target: int) -> tuple[Floats, Floats]:
        """`scaled`, summed over the links, both [d]."""
        above, base = self.scaled(target)
        return above.sum(axis=0), base.sum(axis=0)

    def scaled(self, target: int) -> tuple[Floats, Floats]:
        """The challenger's excess error over the other model, and the error it is relative to, both [l, d].

        In units of each link's error by the other model; the second sums to a link's number of windows.
        """
        own, theirs = self.own[target], self.theirs[target]
        windows = self.windows.sum(axis=1, keepdims=True)
        unit = theirs.sum(axis=1, keepdims=True) / windows
        floored = np.maximum(unit, _SMALLEST_UNIT * np.median(unit[unit > 0])) if (unit > 0).any() else unit
        scale = np.where(floored == 0, 1.0, floored)
        with np.errstate(invalid="ignore"):  # infinite errors: undefined
            return (own - theirs) / scale, (theirs + (floored - unit) * self.windows) / scale


@dataclass(frozen=True)
class Cells:
    """The link and the day of each of n windows."""

    links: Integers
    """[l], positions in `Forecasts.links`."""
    days: Integers
    """[d], days since 1970-01-01 UTC, ascending."""
    code: Integers
    """[n], link * d + day."""

    def sums(self, weights: Floats | None = None, rows: slice = slice(None)) -> Floats:
        """[l, d], the sums of `weights` of these rows; None: their number."""
        shape = len(self.links), len(self.days)
        flat = np.bincount(self.code[rows], weights=weights, minlength=shape[0] * shape[1])
        return flat.reshape(shape).astype(np.float64)


def cells_of(forecasts: Forecasts) -> Cells:
    """The cells of the forecasts' windows, by the day of the target."""
    links, link = np.unique(forecasts.link, return_inverse=True)
    days, day = np.unique(forecasts.timestamps // DAY_SECONDS, return_inverse=True)
    return Cells(links, days, link * len(days) + day)


def whole_days(windows: Floats) -> int:
    """How many days have at least half of the windows [l, d] of the fullest day."""
    counts = windows.sum(axis=0)
    return int((counts >= WHOLE * counts.max(initial=0)).sum())


def daily_errors(forecasts: Forecasts, rival: str) -> Daily:
    """The errors of "challenger" and of the model `rival`."""
    cells = cells_of(forecasts)

    def errors(model: str) -> Floats:
        with np.errstate(invalid="ignore"):
            apart = np.abs(forecasts.models[model].astype(np.float64) - forecasts.actual)
        return np.stack([cells.sums(column) for column in apart.T])

    return Daily(cells.links, cells.days, cells.sums(), errors("challenger"), errors(rival))
