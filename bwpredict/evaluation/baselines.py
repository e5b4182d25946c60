"""Simple forecasts without a model. A model that does not beat them has learnt nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from bwpredict import schema
from bwpredict.datasets.windows import DAY_SECONDS, WindowIndex

Array = npt.NDArray[np.float32]

AVERAGED_MINUTES = 15
BATCH_WINDOWS = 8192
_TARGETS = len(schema.TARGETS)

RECENT: dict[str, Callable[[Array], npt.NDArray[np.floating[Any]]]] = {
    "last_value": lambda recent: recent[:, -1],
    "mean_15_minutes": lambda recent: recent.mean(axis=1, dtype=np.float64),
    "median_15_minutes": lambda recent: np.median(recent, axis=1),
}
"""Baselines of a window's last quarter of an hour: [windows, steps, targets] → [windows, targets]."""


def baseline_forecasts(index: WindowIndex, *, batch_windows: int = BATCH_WINDOWS) -> dict[str, Array]:
    """{name: [windows, targets]} in raw units, for each of `BASELINES`.

    Averages are over the last quarter of an hour, or the whole window where it is shorter. Besides the
    result, only `batch_windows` windows are in memory at a time.
    """
    steps = max(1, min(index.window_size, round(AVERAGED_MINUTES * 60 / index.frame.cadence_seconds)))
    forecasts = {name: np.empty((len(index), _TARGETS), np.float32) for name in RECENT}
    for begin in range(0, len(index), batch_windows):
        batch = slice(begin, begin + batch_windows)
        recent = index.inputs(batch)[:, -steps:, schema.TARGET_FEATURES]
        for name, forecast in RECENT.items():
            forecasts[name][batch] = forecast(recent)
    return forecasts | {name: forecast(index) for name, forecast in WHOLE.items()}


def _yesterday(index: WindowIndex) -> Array:
    """[windows, targets], the same link's sample 24 h before the target; NaN where there is none, whole."""
    frame, targets = index.frame, index.target_rows
    forecasts = np.full((len(index), _TARGETS), np.nan, np.float32)
    for link in np.unique(frame.link[targets]):
        first, last = np.searchsorted(frame.link, link), np.searchsorted(frame.link, link, side="right")
        chosen = np.flatnonzero(frame.link[targets] == link)
        wanted = frame.timestamps[targets[chosen]] - DAY_SECONDS
        nearest, distance = _nearest(frame.timestamps[first:last], wanted)
        found = distance * 2 <= frame.cadence_seconds
        forecasts[chosen[found]] = frame.values[first + nearest[found]][:, schema.TARGET_FEATURES]
    forecasts[~np.isfinite(forecasts).all(axis=1)] = np.nan
    return forecasts


def _nearest(
    times: npt.NDArray[np.int64], wanted: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Position of, and distance to, the member of `times` (ascending) nearest to each of `wanted`."""
    after = np.searchsorted(times, wanted).clip(1, max(1, len(times) - 1))
    around = np.stack([after - 1, np.minimum(after, len(times) - 1)])
    distances = np.abs(times[around] - wanted)
    closer = distances.argmin(axis=0)
    columns = np.arange(len(wanted))
    return around[closer, columns], distances[closer, columns]


WHOLE: dict[str, Callable[[WindowIndex], Array]] = {"same_minute_yesterday": _yesterday}
"""Baselines of a link's earlier rows."""
BASELINES = (*RECENT, *WHOLE)
REFERENCES = tuple(RECENT)
"""Skill is measured against the best of these, target by target."""
PARTIAL = tuple(WHOLE)
"""Baselines that have no forecast (NaN) for some windows, and are scored on the others."""


_IN_WORDS = {
    "last_value": "the last value",
    "mean_15_minutes": "the last 15 minutes' mean",
    "median_15_minutes": "the last 15 minutes' median",
    "same_minute_yesterday": "the same minute yesterday",
}


def baseline_phrase(name: str) -> str:
    """The baseline's name within a sentence: "the last 15 minutes' median"."""
    return _IN_WORDS.get(name, f"the {baseline_label(name)}")


def baseline_label(name: str) -> str:
    """The baseline's name for people: "mean of 15 minutes"."""
    return name.replace("_15_", " of 15 ").replace("_", " ")
