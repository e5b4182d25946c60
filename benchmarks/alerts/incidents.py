"""Incidents, alerts and how they meet: what `bench-alerts` counts. All arrays are [links, minutes or steps]."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]
Flags = npt.NDArray[np.bool_]

WARNED_MINUTES = (5, 30)
"""An alert warns of an incident if it starts this many minutes before: later ones leave no time to act, and earlier
ones are about something else."""
QUIET_MINUTES = 15
"""Firings and incidents that are closer together are one."""


@dataclass(frozen=True)
class Outcome:
    """How often a rule warned, and how often it was wrong."""

    incidents: int
    warned: int
    """Incidents that an alert warned of."""
    true: int
    """Alerts that an incident followed."""
    false: int
    """Alerts that none followed, and that began in none."""
    link_days: float
    lead_minutes: float
    """Median time from the first warning to its incident; NaN: there was none."""

    @property
    def recall(self) -> float:
        """Share of the incidents that an alert warned of."""
        return self.warned / self.incidents if self.incidents else float("nan")

    @property
    def precision(self) -> float:
        """Share of the alerts that an incident followed; NaN: no alert."""
        return self.true / (self.true + self.false) if self.true + self.false else float("nan")

    @property
    def false_a_day(self) -> float:
        """False alarms of 100 links a day."""
        return 100 * self.false / self.link_days


def episodes(flags: Flags, quiet_steps: int) -> list[npt.NDArray[np.int64]]:
    """Of each link, [episodes, 2]: first step, and the one after the last, with short breaks closed."""
    found = []
    for row in flags:
        edges = np.flatnonzero(np.diff(np.concatenate(([False], row, [False])).astype(np.int8)))
        spans = edges.reshape(-1, 2)
        if len(spans):
            apart = np.flatnonzero(spans[1:, 0] - spans[:-1, 1] >= quiet_steps)
            firsts, lasts = np.concatenate(([0], apart + 1)), np.concatenate((apart, [len(spans) - 1]))
            spans = np.stack((spans[firsts, 0], spans[lasts, 1]), axis=1)
        found.append(spans)
    return found


def held(flags: Flags, steps: int) -> Flags:
    """Where a condition has held for this many steps without a break, as `for` in a rule."""
    counted = np.cumsum(np.pad(flags, ((0, 0), (1, 0))), axis=1)
    result = np.zeros_like(flags)
    result[:, steps - 1 :] = counted[:, steps:] - counted[:, :-steps] == steps
    return result


def outcome(firing: Flags, beyond: Flags, *, step_minutes: float, samples: int) -> Outcome:
    """Count: `firing` is a rule's, `beyond` where the limit is exceeded; `samples` is the number of samples.

    An alert that begins in an incident, or too late before one, is neither true nor false.
    """
    quiet = round(QUIET_MINUTES / step_minutes)
    late, early = (minutes / step_minutes for minutes in WARNED_MINUTES)
    incidents = warned = true = false = 0
    leads: list[float] = []
    for alerts, spans in zip(episodes(firing, quiet), episodes(beyond, quiet), strict=True):
        ahead = spans[None, :, 0] - alerts[:, None, 0]  # [alerts, incidents], steps
        warning = (ahead >= late) & (ahead <= early)
        within = ((ahead <= 0) & (alerts[:, None, 0] < spans[None, :, 1])) | ((ahead > 0) & (ahead < late))
        incidents += len(spans)
        warned += int(warning.any(axis=0).sum())
        true += int(warning.any(axis=1).sum())
        false += int((~warning.any(axis=1) & ~within.any(axis=1)).sum())
        leads += np.where(warning, ahead, -1).max(axis=0, initial=-1)[warning.any(axis=0)].tolist()
    lead = step_minutes * float(np.median(leads)) if leads else float("nan")
    return Outcome(incidents, warned, true, false, samples * step_minutes / 1440, lead)


def frontier(curve: Sequence[Outcome]) -> list[tuple[float, float]]:
    """(recall, least false alarms of 100 links a day with at least this recall), by recall."""
    recalls = sorted({one.recall for one in curve})
    return [(recall, false_alarms_at(recall, curve)) for recall in recalls]


def false_alarms_at(recall: float, curve: Sequence[Outcome]) -> float:
    """Least false alarms of 100 links a day on the curve with at least this recall; infinite where it has none."""
    return min((one.false_a_day for one in curve if one.recall >= recall), default=float("inf"))
