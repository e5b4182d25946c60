"""Drift with a seasonal reference: a Monday night is compared with the Monday nights that the model was trained on.

Compared without the season, every Sunday would have drifted from the month. The reference of a version and weekday
is made once from the month it was trained for, and kept as a document: it stays when old telemetry is deleted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from bwpredict import schema
from bwpredict.datasets.frame import TelemetryFrame
from bwpredict.evaluation.slices import HOURS_PER_BAND, hour_bands
from bwpredict.profiling import histogram
from bwpredict.profiling.drift import limit_of, psi

FEATURES = schema.MEASURED
BANDS = tuple(f"{hour:02}-{hour + HOURS_PER_BAND:02}" for hour in range(0, 24, HOURS_PER_BAND))

Histograms = dict[str, dict[str, list[list[int]]]]
"""feature → hour band → [bin, count] pairs, by the rule of `quality.histogram`."""


def measure(frame: TelemetryFrame, span: tuple[int, int]) -> Histograms:
    """The histograms of the frame's rows within [first, past the last) unix seconds."""
    inside = (frame.timestamps >= span[0]) & (frame.timestamps < span[1])
    values, bands = frame.values[inside].astype(np.float64), hour_bands(frame.timestamps[inside])
    made: Histograms = {}
    for name in FEATURES:
        column = values[:, schema.FEATURES.index(name)]
        usable = np.isfinite(column) & (name not in (frame.filled or {}))
        made[name] = {
            label: [list(pair) for pair in sorted(histogram.count_bins(column[usable & (bands == band)]).items())]
            for band, label in enumerate(BANDS)
            if (usable & (bands == band)).any()
        }
    return made


def merge(days: Iterable[Histograms]) -> Histograms:
    """The histograms of several days together."""
    counts: dict[str, dict[str, Counter[int]]] = {name: {} for name in FEATURES}
    for day in days:
        for name, bands in day.items():
            for band, pairs in bands.items():
                counts[name].setdefault(band, Counter()).update(_counts(pairs))
    return {
        name: {band: [list(pair) for pair in sorted(counter.items())] for band, counter in sorted(bands.items())}
        for name, bands in counts.items()
    }


def drift(day: Histograms, reference: Mapping[str, Any] | None) -> dict[str, Any]:
    """feature → PSI, averaged over the hour bands by the day's samples, and in words what that means.

    `reference` None: drift is unknown.
    """
    return {name: _drift_of(name, day, reference) for name in FEATURES}


def _drift_of(name: str, day: Histograms, reference: Mapping[str, Any] | None) -> dict[str, Any]:
    known = reference["histograms"].get(name, {}) if reference else {}
    bands = [band for band in day.get(name, {}) if band in known]
    if not bands:
        return {"psi": None, "verdict": "unknown"}
    counts = [(_counts(day[name][band]), _counts(known[band])) for band in bands]
    weights = [sum(own.values()) for own, _ in counts]
    value = float(np.average([psi(own, other) for own, other in counts], weights=weights))
    limit = limit_of(name, len(reference["days"]) if reference else 0)
    error = limit.drifted if limit.drifted is not None else np.inf
    return {"psi": value, "verdict": "drifted" if value > error else "moved" if value > limit.moved else "stable"}


def _counts(pairs: Iterable[Sequence[int]]) -> dict[int, int]:
    return {pair[0]: pair[1] for pair in pairs}
