"""Intervals that follow each link: wider after misses, narrower while they hold.

Adaptive conformal inference (Gibbs and Candès, "Adaptive Conformal Inference Under Distribution Shift", NeurIPS 2021),
here on the half-width in log space: a factor for each link and target goes up by `RATE * level` with each miss, and
down by `RATE * (1 - level)` with each hit, so that in the long run the level's share of the samples lies inside.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from bwpredict import schema

RATE = 0.02
"""Of the logarithm of the factor."""
LARGEST_LOG_FACTOR = 3.0
PENDING = 64
"""Forecasts of a link that wait for what comes true; older ones are forgotten."""
_FLOORS = np.array([schema.MAPE_FLOORS[name] for name in schema.TARGETS], np.float32)

Floats = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]


def _no_floats(*shape: int) -> Floats:
    return np.zeros((0, *shape), np.float32)


@dataclass
class AdaptiveIntervals:
    """The factor of each link and target, and the intervals that wait for what comes true; a row for each link."""

    log_factor: Floats = field(default_factory=lambda: _no_floats(len(schema.TARGETS)))
    """[links, targets]"""
    due_at: Rows = field(default_factory=lambda: np.zeros((0, PENDING), np.int64))
    """[links, PENDING], unix seconds that the intervals are for; 0: none."""
    bounds: Floats = field(default_factory=lambda: _no_floats(PENDING, 2, len(schema.TARGETS)))
    """[links, PENDING, 2, targets], lower and upper."""

    def grow(self, links: int) -> None:
        """Have rows for so many links."""
        for name, values in self.arrays().items():
            more = np.zeros((links - len(values), *values.shape[1:]), values.dtype)
            setattr(self, name, np.concatenate((values, more)))

    def arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        """All that is remembered."""
        return {"log_factor": self.log_factor, "due_at": self.due_at, "bounds": self.bounds}

    def restore(self, arrays: dict[str, npt.NDArray[np.generic]]) -> None:
        """Take over what `arrays` gave."""
        for name in self.arrays():
            setattr(self, name, arrays[name])

    def learn(self, rows: Rows, at: int, actual: Floats) -> None:
        """Compare targets [n, targets] of a moment with the intervals that were made for it; NaN: nothing is learnt."""
        due = self.due_at[rows] == at
        judged = np.nonzero(due.any(axis=1))[0]
        if not len(judged):
            return
        place = due[judged].argmax(axis=1)
        lower, upper = self.bounds[rows[judged], place].transpose(1, 0, 2)
        value = actual[judged]
        missed = (value < lower) | (value > upper)
        change = RATE * (missed - (1 - schema.INTERVAL_LEVEL))
        updated = self.log_factor[rows[judged]] + np.where(np.isfinite(value), change, 0)
        self.log_factor[rows[judged]] = updated.clip(-LARGEST_LOG_FACTOR, LARGEST_LOG_FACTOR)
        self.due_at[rows[judged], place] = 0

    def widen(self, rows: Rows, output: Floats, lower: Floats, upper: Floats) -> tuple[Floats, Floats]:
        """The bounds [n, targets] with each link's factor on their distance to the median, in log space."""
        factor = np.exp(self.log_factor[rows])
        middle, low, high = (np.log(values + _FLOORS) for values in (output, lower, upper))
        below = np.exp(middle - factor * (middle - low)) - _FLOORS
        above = np.exp(middle + factor * (high - middle)) - _FLOORS
        _, maximum = schema.physical_bounds(schema.TARGETS)
        return np.clip(below, 0, output).astype(np.float32), np.clip(above, output, maximum).astype(np.float32)

    def remember(self, rows: Rows, due_at: int, lower: Floats, upper: Floats) -> None:
        """Keep the intervals of a moment until it comes."""
        place = self.due_at[rows].argmin(axis=1)  # an empty place, or the oldest
        self.due_at[rows, place] = due_at
        self.bounds[rows, place] = np.stack((lower, upper), axis=1)
