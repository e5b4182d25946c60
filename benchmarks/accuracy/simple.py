"""Forecasts that need no training: the product's baselines, and each link's usual value at that time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pandas as pd

from accuracy.task import TARGETS, Array, Entry, Fit, Fitted, Task, choose, described
from bwpredict.datasets.windows import WindowIndex
from bwpredict.evaluation.baselines import BASELINES, baseline_forecasts

Times = npt.NDArray[np.int64]

SEASONS: dict[str, Callable[[Times], Times]] = {
    "hour of the week": lambda time: time // 3600 % 168,
    "quarter of the day": lambda time: time // 900 % 96,
}
"""Ways to say "at that time", from unix seconds."""


def baseline_entries() -> list[Entry]:
    """The product's own baselines."""
    return [Entry(name, _baseline(name), seeded=False) for name in BASELINES]


def _baseline(name: str) -> Fit:
    return lambda _: Fitted(lambda index: baseline_forecasts(index)[name])


def fit_profile(task: Task) -> Fitted:
    """Median of the link's training values at that time, by hour of the week or quarter of the day.

    Has no forecast for a link or a time that training did not hold.
    """
    profiles = {name: _Profile(task.train, season) for name, season in SEASONS.items()}
    chosen, forecast = choose(task, {name: profile.forecast for name, profile in profiles.items()})
    cells = sum(int(profiles[chosen[place]].medians[place].notna().sum()) for place in task.measured)
    return Fitted(forecast, cells, described(task, chosen))


class _Profile:
    """A table of medians for each link and time."""

    def __init__(self, train: WindowIndex, season: Callable[[Times], Times]) -> None:
        """`season` numbers the times that are alike."""
        self.season = season
        self.medians = pd.DataFrame(train.targets()).groupby(self._keys(train)).median()

    def forecast(self, index: WindowIndex) -> Array:
        """[n, targets]; NaN where training held no such link and time."""
        keys = pd.MultiIndex.from_arrays(self._keys(index))
        return self.medians.reindex(keys).to_numpy(np.float32).reshape(-1, TARGETS)

    def _keys(self, index: WindowIndex) -> list[npt.NDArray[np.integer]]:
        rows = index.target_rows
        return [index.frame.link[rows], self.season(index.frame.timestamps[rows])]
