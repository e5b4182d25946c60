"""The day on which the level of the telemetry changed, and the test days that are after it.

Models are compared on today's network. The day is found in the telemetry alone, without any model's forecast or error,
so the intervals over the remaining days keep their error rates.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bwpredict import schema
from bwpredict.datasets.frame import TelemetryFrame
from bwpredict.datasets.windows import DAY_SECONDS
from bwpredict.evaluation.daily_errors import WHOLE
from bwpredict.evaluation.student import FEWEST_DAYS

Document = dict[str, Any]
Floats = npt.NDArray[np.float64]
Days = npt.NDArray[np.int64]

FEWEST_BEFORE, MOST_BEFORE = 14, 28
"""Days that a day is compared with: at least two weeks, since weekends differ, and at most four."""
GAP = 0.5
"""Days after a change are beyond all days before it by at least this share of the range of those."""
SMALLEST = np.log(1.02)
"""Smaller changes of a level do not count."""
ROWS = 1 << 22
"""Rows of the frame that are read at a time."""


@dataclass(frozen=True)
class Change:
    """The level of a target changed on a day, and stayed there."""

    target: str
    day: int
    """Days since 1970-01-01 UTC."""
    percent: float
    """By how much it rose, on average over the links."""


def find_changes(frame: TelemetryFrame) -> list[Change]:
    """The clearest change of each target, if there is one."""
    days, levels = daily_levels(frame)
    found = {name: last_change(levels[place]) for place, name in enumerate(schema.TARGETS)}
    return [Change(name, int(days[at[0]]), at[1]) for name, at in found.items() if at]


def daily_levels(frame: TelemetryFrame) -> tuple[Days, Floats]:
    """Days [d] since 1970-01-01 UTC, and [t, d], the mean over links of the log level, less each link's own mean.

    A link's day with less than half the samples of its fullest day does not count; NaN on a day that no link has.
    """
    first, last = (int(edge) // DAY_SECONDS for edge in (frame.timestamps.min(), frame.timestamps.max()))
    shape = len(schema.TARGETS), last - first + 1
    total, links = np.zeros(shape), np.zeros(shape)
    for part in frame.parts(ROWS):
        above = _above_own_mean(part, first, shape[1])
        total += np.nansum(above, axis=1)
        links += np.isfinite(above).sum(axis=1)
        frame.release()
    with np.errstate(invalid="ignore"):
        return np.arange(first, last + 1), total / links


def _above_own_mean(part: TelemetryFrame, first_day: int, days: int) -> Floats:
    """[t, links, d], the mean log level of each link's day, less the mean over the link's days."""
    links, link = np.unique(part.link, return_inverse=True)
    code = link * days + (part.timestamps // DAY_SECONDS - first_day)
    levels = np.full((len(schema.TARGETS), len(links), days), np.nan)
    for place, name in enumerate(schema.TARGETS):
        values = part.values[:, schema.FEATURES.index(name)].astype(np.float64)
        known = np.isfinite(values)
        logs = np.log(np.maximum(values[known], schema.MAPE_FLOORS[name]))
        counts, sums = (
            np.bincount(code[known], weights, minlength=len(links) * days).reshape(len(links), days)
            for weights in (None, logs)
        )
        whole = counts >= np.maximum(WHOLE * counts.max(axis=1, keepdims=True), 1)
        levels[place][whole] = sums[whole] / counts[whole]
    counted = np.isfinite(levels)
    own = np.where(counted, levels, 0).sum(axis=2) / np.maximum(counted.sum(axis=2), 1)
    return np.asarray(levels - own[..., None])


def last_change(levels: Floats) -> tuple[int, float] | None:
    """Of log levels [d]: the position of the first day after the clearest change, and the change in percent.

    From that day on every level is above, or every one below, all levels of the four weeks before. For days in
    random order this happens in 1 of 13,700 cases with 4 days after 26; the gap guards against levels that drift
    slowly.
    """
    known = np.flatnonzero(np.isfinite(levels))
    series, clearest, found = levels[known], GAP, None
    for at in range(FEWEST_BEFORE, len(series)):
        before, after = series[max(0, at - MOST_BEFORE) : at], series[at:]
        gap = max(after.min() - before.max(), before.min() - after.max())
        spread, apart = max(float(np.ptp(before)), SMALLEST), float(after.mean() - before.mean())
        if gap / spread > clearest and abs(apart) >= SMALLEST:
            clearest, found = gap / spread, (int(known[at]), 100 * float(np.expm1(apart)))
    return found


def describe_change(changes: list[Change], test_days: Mapping[int, int]) -> Document | None:
    """The `change` part of a comparison; None where there is no change.

    The latest change within the test part that leaves `FEWEST_DAYS` whole days after it counts; else the first one
    within the test part, for which no day is left out; else the latest one before. A change after the last test
    day has no part in the comparison.

    Args:
        changes: as `find_changes`.
        test_days: windows by day, in days since 1970-01-01 UTC.
    """
    found = [one.day for one in changes if one.day <= max(test_days, default=0)]
    if not found:
        return None
    inside = [day for day in found if day > min(test_days)]
    judged = [day for day in inside if _whole_days_from(day, test_days) >= FEWEST_DAYS]
    day = max(judged) if judged else min(inside) if inside else max(found)
    dates = [(one >= day, _date(one)) for one in sorted(test_days)]
    return {
        "day": _date(day),
        "targets": {one.target: one.percent for one in changes if one.day == day},
        "days_before": [date for later, date in dates if not later],
        "days_after": [date for later, date in dates if later],
        "judged_on": "all" if inside and not judged else "after",
    }


def _whole_days_from(day: int, test_days: Mapping[int, int]) -> int:
    fullest = max(test_days.values())
    return sum(one >= day and windows >= WHOLE * fullest for one, windows in test_days.items())


def _date(day: int) -> str:
    return str(np.datetime64(day, "D"))
