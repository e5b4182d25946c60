"""How rows reach the store: outages, late rows, duplicates. Drawn for each (seed, link, day)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bwpredict.simulation.fleet import DELIVERY_STREAM, MINUTES_PER_DAY, FleetConfig, generator, key_of

Mask = npt.NDArray[np.bool_]
MEAN_OUTAGE_MINUTES = 15


@dataclass(frozen=True)
class Delivery:
    """Which rows of a chunk's day arrive when; indices into its flat (links x minutes) rows."""

    today: npt.NDArray[np.int64]
    """Rows of the day's own file, in its order: late ones and second copies come last."""
    tomorrow: npt.NDArray[np.int64]
    """Rows that arrive in the next day's partition."""


def deliver(config: FleetConfig, first_link: int, links: int, day: int) -> Delivery:
    """The delivery of one day of `links` links from `first_link` on."""
    missing, late, next_day, twice = np.zeros((4, links, MINUTES_PER_DAY), dtype=bool)
    if config.gap_share or config.late_share or config.duplicate_share:
        for row in range(links):
            rng = generator(key_of(config.seed, DELIVERY_STREAM, first_link + row), day)
            chance = rng.random((3, MINUTES_PER_DAY), dtype=np.float32)
            late[row] = chance[0] < config.late_share
            twice[row] = chance[1] < config.duplicate_share
            next_day[row] = chance[2] < 0.5
            missing[row] = _outages(rng, config.gap_share)
    late &= ~missing
    next_day &= late
    twice &= ~missing & ~next_day
    in_time = ~(missing | late)
    parts = [np.flatnonzero(part) for part in (in_time, late & ~next_day, twice)]
    return Delivery(np.concatenate(parts), np.flatnonzero(next_day))


def _outages(rng: np.random.Generator, share: float) -> Mask:
    """Outages of random length that take about `share` of the day's minutes, overlaps allowed for."""
    missing = np.zeros(MINUTES_PER_DAY, dtype=bool)
    count = rng.poisson(-np.log1p(-share) * MINUTES_PER_DAY / MEAN_OUTAGE_MINUTES)
    for first in rng.integers(0, MINUTES_PER_DAY, count):
        missing[first : first + int(rng.geometric(1 / MEAN_OUTAGE_MINUTES))] = True
    return missing
