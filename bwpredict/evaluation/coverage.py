"""Coverage of the challenger's intervals, over all test windows and within slices."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from bwpredict import schema
from bwpredict.core.formatting import undefined_as_none
from bwpredict.evaluation.forecasts import Forecasts
from bwpredict.evaluation.slices import slices
from bwpredict.inference.onnx_model import Bounds

Document = dict[str, Any]


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
    held: dict[str, Document] = {}
    for one in slices(forecasts):
        shares = _means(inside[one.rows], forecasts.targets)
        held.setdefault(one.attribute, {})[one.value] = {"windows": int(one.rows.sum()), **shares}
    shares, widths = _means(inside, forecasts.targets), _means(width, forecasts.targets)
    return {
        "level": bounds.level,
        "per_target": {name: {"coverage": shares[name], "mean_width": widths[name]} for name in schema.TARGETS},
        "slices": held,
    }


def _means(values: npt.NDArray[np.float64], targets: tuple[str, ...]) -> dict[str, float | None]:
    """The mean of each target's column; None for an absent target, no row, or one that is undefined."""
    means: dict[str, float | None] = dict.fromkeys(schema.TARGETS)
    if len(values):
        for name, mean in zip(targets, values.mean(axis=0), strict=True):
            means[name] = undefined_as_none(mean)
    return means
