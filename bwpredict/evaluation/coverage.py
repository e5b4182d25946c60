"""How often the challenger's intervals hold what came true, over all test windows and within slices of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from bwpredict import schema
from bwpredict.evaluation.forecasts import Bounds, Forecasts

Document = dict[str, Any]
Mask = npt.NDArray[np.bool_]

HOURS_PER_BAND = 6
HOUR_BAND = "hour_band"
SLICED_BY = tuple(name for name in schema.LINK_ATTRIBUTES if name != "az")


def coverage(forecasts: Forecasts, bounds: Bounds) -> Document:
    """The `intervals` part of a comparison; `bounds` [n, 4] are those of the forecasts' n windows.

    A figure is None where it is undefined: the target was not measured, the slice is empty, or a bound
    or an actual value in it is not finite. Bounds out of order hold nothing.
    """
    measured = [schema.TARGETS.index(name) for name in forecasts.targets]
    lower, upper = (side[:, measured].astype(np.float64) for side in (bounds.lower, bounds.upper))
    finite = np.isfinite(lower) & np.isfinite(upper) & np.isfinite(forecasts.actual)
    inside = np.where(finite, (lower <= forecasts.actual) & (forecasts.actual <= upper), np.nan)
    width = np.where(finite, upper - lower, np.nan)
    slices: dict[str, Document] = {}
    for attribute, value, rows in _slices(forecasts):
        shares = _means(inside[rows], forecasts.targets)
        slices.setdefault(attribute, {})[value] = {"windows": int(rows.sum()), **shares}
    shares, widths = _means(inside, forecasts.targets), _means(width, forecasts.targets)
    return {
        "level": bounds.level,
        "per_target": {name: {"coverage": shares[name], "mean_width": widths[name]} for name in schema.TARGETS},
        "slices": slices,
    }


def hour_bands(timestamps: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """[n], the quarter of the day (0 to 3) of each unix second, in the calendar's time zone."""
    return schema.CALENDAR.hours(timestamps) // HOURS_PER_BAND


def _slices(forecasts: Forecasts) -> Iterator[tuple[str, str, Mask]]:
    """Attribute, value and its rows, of each attribute that is known of the links, and of the hour of the target."""
    for attribute in SLICED_BY:
        if attribute in forecasts.links:
            values = forecasts.links[attribute].to_numpy(dtype=object)[forecasts.link]
            for value in sorted({value for value in values if isinstance(value, str)}):
                yield attribute, value, values == value
    bands = hour_bands(forecasts.timestamps)
    for band in np.unique(bands):
        yield HOUR_BAND, f"{band * HOURS_PER_BAND:02}-{(band + 1) * HOURS_PER_BAND:02}", bands == band


def _means(values: npt.NDArray[np.float64], targets: tuple[str, ...]) -> dict[str, float | None]:
    """The mean of each target's column; None for an absent target, no row, or one that is undefined."""
    means: dict[str, float | None] = dict.fromkeys(schema.TARGETS)
    if len(values):
        for name, mean in zip(targets, values.mean(axis=0), strict=True):
            means[name] = float(mean) if np.isfinite(mean) else None
    return means
