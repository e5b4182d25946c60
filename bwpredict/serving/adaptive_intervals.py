"""Intervals that follow each link: wider after misses, narrower while they hold.

Adaptive conformal inference (Gibbs and Candès, "Adaptive Conformal Inference Under Distribution Shift", NeurIPS 2021),
here on the half-width in log space: a factor for each link and target goes up by `step * level` with each miss, and
down by `step * (1 - level)` with each hit, so that in the long run the level's share of the samples is inside. The
step decays from a large one (Angelopoulos, Barber and Bates, "Online conformal prediction with decaying step sizes",
ICML 2024), so that a link on which the calibrated width is wrong reaches its own within hours. It stays above
`LEAST_STEP`, so that the factor goes on following the link.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from bwpredict import schema

FIRST_STEP, LEAST_STEP = 0.2, 0.03
"""Of the logarithm of the factor."""
DECAY_SAMPLES = 60
"""The step falls with the square root of the samples, counted in these."""
LEAST_LOG_FACTOR, LARGEST_LOG_FACTOR = -3.0, 5.0
"""Beyond what links need: coverage is not held at a bound. A target that stays at zero never misses, and its factor
stops at the lower one, from which it can come back."""
LARGEST_LOG_DISTANCE = math.log(1000.0)
"""A factor puts no bound further from the median than this ratio. Feedback comes a horizon late, so after a sudden
change the factor goes up for a horizon too long, and without a limit the bounds would be absurd."""
SPARE = 2
"""Pending intervals of a link beyond those of one horizon: samples do not come to the second."""
_FLOORS = np.array([schema.MAPE_FLOORS[name] for name in schema.TARGETS], np.float32)

Floats = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]
Link = tuple[int, int]
"""(node_id, peer_id)"""


def rows_of(row: dict[Link, int], links: Sequence[Link]) -> Rows:
    """[n], the row of each link; `row` gets the next numbers for links that are new."""
    for link in links:
        row.setdefault(link, len(row))
    return np.fromiter((row[link] for link in links), np.int64, len(links))


def keep_rows(row: dict[Link, int], last_at: Rows, before: int) -> Rows:
    """[kept], the rows whose `last_at` is not before `before`; `row` numbers these anew and forgets the others."""
    kept, links = np.flatnonzero(last_at >= before), list(row)
    row.clear()
    row.update((links[old], new) for new, old in enumerate(kept.tolist()))
    return kept


@dataclass
class AdaptiveIntervals:
    """The factor of each link and target, and the intervals that wait for the actual values; a row for each link."""

    cadence_seconds: int
    horizon_seconds: int
    log_factor: Floats = field(init=False)
    """[links, targets]"""
    learnt: npt.NDArray[np.int32] = field(init=False)
    """[links, targets], samples that the factor has followed."""
    due_at: Rows = field(init=False)
    """[links, pending], unix seconds that the intervals are for; 0: none."""
    bounds: Floats = field(init=False)
    """[links, pending, 2, targets], lower and upper."""

    def __post_init__(self) -> None:
        """No link is known yet."""
        pending, targets = math.ceil(self.horizon_seconds / self.cadence_seconds) + SPARE, len(schema.TARGETS)
        self.log_factor = np.zeros((0, targets), np.float32)
        self.learnt = np.zeros((0, targets), np.int32)
        self.due_at = np.zeros((0, pending), np.int64)
        self.bounds = np.zeros((0, pending, 2, targets), np.float32)

    def grow(self, links: int) -> None:
        """Have rows for this many links."""
        for name, values in self.arrays().items():
            more = np.zeros((links - len(values), *values.shape[1:]), values.dtype)
            setattr(self, name, np.concatenate((values, more)))

    def keep(self, rows: Rows) -> None:
        """Forget all rows but these; they are numbered in this order from then on."""
        for name, values in self.arrays().items():
            setattr(self, name, values[rows])

    def arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        """All that is remembered."""
        return {name: getattr(self, name) for name in ("log_factor", "learnt", "due_at", "bounds")}

    def restore(self, arrays: dict[str, npt.NDArray[np.generic]]) -> None:
        """Take over what `arrays` gave."""
        for name in self.arrays():
            setattr(self, name, arrays[name])

    def learn(self, rows: Rows, at: int | Rows, actual: Floats) -> None:
        """Compare targets [n, targets] of a moment with the intervals that were made for it; NaN: nothing is learnt.

        An interval is for a moment if no more than half a cadence is between: samples do not come to the second.
        `at` is one moment for all rows, or [n].
        """
        apart = np.abs(self.due_at[rows] - np.expand_dims(at, -1))
        place = apart.argmin(axis=1)
        judged = np.nonzero(2 * apart.min(axis=1) <= self.cadence_seconds)[0]
        which, place, value = rows[judged], place[judged], actual[judged]
        lower, upper = self.bounds[which, place].transpose(1, 0, 2)
        missed = (value < lower) | (value > upper)
        known = np.isfinite(value)
        step = np.maximum(LEAST_STEP, FIRST_STEP / np.sqrt(1 + self.learnt[which] / DECAY_SAMPLES))
        change = np.where(known, step * (missed - (1 - schema.INTERVAL_LEVEL)), 0)
        self.log_factor[which] = (self.log_factor[which] + change).clip(LEAST_LOG_FACTOR, LARGEST_LOG_FACTOR)
        self.learnt[which] += known
        self.due_at[which, place] = 0

    def widen(self, rows: Rows, output: Floats, lower: Floats, upper: Floats) -> tuple[Floats, Floats]:
        """The bounds [n, targets] with each link's factor on their distance to the median, in log space."""
        factor = np.exp(self.log_factor[rows])
        middle, low, high = (np.log(values + _FLOORS) for values in (output, lower, upper))
        below = np.exp(middle - _widened(middle - low, factor)) - _FLOORS
        above = np.exp(middle + _widened(high - middle, factor)) - _FLOORS
        _, maximum = schema.physical_bounds(schema.TARGETS)
        return np.clip(below, 0, output).astype(np.float32), np.clip(above, output, maximum).astype(np.float32)

    def remember(self, rows: Rows, at: int | Rows, lower: Floats, upper: Floats) -> None:
        """Keep the intervals that were made at a moment until what they are for comes true; `at` as for `learn`."""
        place = self.due_at[rows].argmin(axis=1)  # an empty place, or the oldest
        self.due_at[rows, place] = at + self.horizon_seconds
        self.bounds[rows, place] = np.stack((lower, upper), axis=1)


def _widened(distance: Floats, factor: Floats) -> Floats:
    """A distance in log space times the factor, within the limit unless it was beyond it already."""
    limit = np.maximum(distance, np.float32(LARGEST_LOG_DISTANCE))
    return np.asarray(np.minimum(factor * distance, limit), np.float32)
