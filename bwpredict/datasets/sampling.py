"""Which training windows an epoch sees: a budget of them, stratified over links, hours and congestion, or at random.

A random draw gives some links, hours and busy minutes more than their share and others less, in each epoch anew, and
a link with half of all rows half of the budget. A stratified draw has the same mixture in every epoch, and all links
weigh the same in it. Time and memory of both grow with the budget and the number of links, not with the number of
windows.
"""

from __future__ import annotations

from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from bwpredict import schema
from bwpredict.datasets.windows import Index

SamplingMethod = Literal["uniform", "stratified"]

CANDIDATES_PER_WINDOW = 2
"""Of so many windows that are drawn over the links, one is taken over hours and congestion."""
CONGESTION_SHARES = (0.5, 0.9, 0.99)
"""Levels of congestion are cut where so many of the windows have a shorter queue at their last sample."""
_HOUR, _QUEUE = (schema.FEATURES.index(name) for name in ("time_of_day", "queue_depth"))


class Windows(Protocol):
    """What is drawn from, as `windows.WindowIndex` has it: windows in the order of their links, ascending in time."""

    def __len__(self) -> int:
        """Number of windows."""
        ...

    def windows_of_links(self) -> Index:
        """[links], number of windows of each."""
        ...

    def last_samples(self, which: Index) -> npt.NDArray[np.float32]:
        """[n, features] of the chosen windows."""
        ...


def sample_windows(train: Windows, budget: int, how: SamplingMethod, *, seed: int, epoch: int) -> Index:
    """[budget] positions in `train`, each at most once, in random order; the same for the same seed.

    stratified: each link gives as many candidates as any other, or all that it has, evenly spread over its time. Of
    these, every hour of the day and level of congestion gets its share. A budget of all windows is a permutation of
    them.
    """
    rng = np.random.default_rng((seed, epoch))
    if how == "uniform":
        return rng.choice(len(train), size=budget, replace=False, shuffle=True)
    windows_of_links = train.windows_of_links()
    quotas = _quotas(windows_of_links, budget, rng)
    candidates = _evenly_spread(windows_of_links, quotas, rng)
    candidates = candidates[np.argsort(_strata(train, candidates), kind="stable")]
    taken = ((np.arange(budget) + rng.random()) * (len(candidates) / budget)).astype(np.int64)
    return rng.permutation(candidates[taken.clip(max=len(candidates) - 1)])


def expected_draws(windows_of_links: Index, budget: int, how: SamplingMethod) -> npt.NDArray[np.floating]:
    """[links], of the windows of an epoch, how many each link gives on average."""
    gives = windows_of_links if how == "uniform" else _quotas(windows_of_links, budget, np.random.default_rng(0))
    return gives * (budget / int(gives.sum()))


def _quotas(windows: Index, budget: int, rng: np.random.Generator) -> Index:
    """[links], how many candidates each link gives: all the same, but for links that have fewer windows."""
    total = min(CANDIDATES_PER_WINDOW * budget, int(windows.sum()))
    ascending = np.sort(windows)
    # What all links give together, where each gives as many as this one has, or all of its own.
    given = np.cumsum(ascending) + ascending * (len(ascending) - 1 - np.arange(len(ascending)))
    exhausted = int(np.searchsorted(given, total, side="right"))
    if exhausted == len(windows):
        return windows
    spent = int(ascending[:exhausted].sum())
    level, left = divmod(total - spent, len(windows) - exhausted)
    quotas = np.minimum(windows, level)
    quotas[rng.choice(np.flatnonzero(windows > level), size=left, replace=False)] += 1
    return quotas


def _evenly_spread(windows: Index, quotas: Index, rng: np.random.Generator) -> Index:
    """Positions, ascending: each link's windows are cut into `quotas` equal slices, and each slice gives one."""
    link = np.repeat(np.arange(len(windows)), quotas)
    number = np.arange(len(link)) - (np.cumsum(quotas) - quotas)[link]
    first = number * windows[link] // quotas[link]
    past = (number + 1) * windows[link] // quotas[link]
    within = first + (rng.random(len(link)) * (past - first)).astype(np.int64)
    return (np.cumsum(windows) - windows)[link] + within


def _strata(train: Windows, candidates: Index) -> Index:
    """[candidates], number of the hour and the level of congestion at each window's last sample."""
    last = train.last_samples(candidates)
    queue = last[:, _QUEUE]
    level = np.searchsorted(np.quantile(queue, CONGESTION_SHARES), queue)
    strata: Index = last[:, _HOUR].astype(np.int64) * (len(CONGESTION_SHARES) + 1) + level
    return strata
