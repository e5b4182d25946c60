"""Intervals: the network's quantiles, widened or narrowed until the calibration part says that they hold.

Split-conformal, one factor for each side, horizon, target and mode: of the scores `distance to the median over the
network's own width`, the finite-sample quantile (Romano, Patterson, Candès, Conformalized Quantile Regression, 2019).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from bwpredict import schema
from bwpredict.datasets.windows import Split, WindowIndex
from bwpredict.models.network import MODES, Forecaster
from bwpredict.training.validation import observations, served

CALIBRATION_WINDOWS = 20_000
_EVERYTHING = 1e9
"""A factor so large that the interval is all that is physically possible."""
_LARGEST_FACTOR = 100.0
_SMALLEST_WIDTH = 1e-6


def why_none(split: Split, level: float = schema.INTERVAL_LEVEL) -> str | None:
    """Why no intervals can be made from this split, in a sentence; None: they can.

    Neighbouring windows are nearly the same window, so those that do not overlap are counted.
    """
    part = split.parts.get("calibration")
    if part is None:
        return "The split has no calibration part, so there is nothing to calibrate intervals on."
    disjoint = len(part) // (part.window_size + part.horizon_steps)
    fewest = min_calibration_size(level)
    if disjoint >= fewest:
        return None
    return (
        f"The calibration part is too small for {level:.0%} intervals: {len(part):,} windows,"
        f" of which about {disjoint} do not overlap; expected {fewest} of those."
    )


def min_calibration_size(level: float) -> int:
    """How many scores it takes until the largest of them is the finite-sample quantile of one side."""
    tail = (1 - level) / 2
    return math.ceil(round((1 - tail) / tail, 9))


def calibrate(model: Forecaster, split: Split, *, absent: frozenset[str] = frozenset()) -> bool:
    """Set the model's interval factors from the calibration part; False where `why_none` gives a reason.

    The interval of an `absent` target, which was never measured, is all that is physically possible.
    """
    if why_none(split) is not None:
        return False
    model.interval_factor.fill_(1.0)
    for mode in range(len(MODES)):
        factor = conformal_quantile(_scores(model, split["calibration"], mode), schema.INTERVAL_LEVEL)
        model.interval_factor[mode] = torch.from_numpy(factor.clip(0, _LARGEST_FACTOR).astype(np.float32))
    for place, name in enumerate(schema.TARGETS):
        if name in absent:
            model.interval_factor[..., place] = _EVERYTHING
    model.calibration_windows.fill_(min(len(split["calibration"]), CALIBRATION_WINDOWS))
    return True


def conformal_quantile(scores: npt.NDArray[Any], level: float) -> npt.NDArray[np.float64]:
    """[...], what a further score, exchangeable with `scores` [n, ...], stays below with half of 1 - level to spare.

    Of n scores that is number ceil((n + 1) q), q = 1 - (1 - level) / 2; NaN are left out, and where too few are left,
    1 stands.
    """
    ordered = np.sort(scores, axis=0)  # NaN last
    count = np.isfinite(scores).sum(axis=0)
    rank = np.ceil(np.round((count + 1) * (1 - (1 - level) / 2), 9)).astype(np.int64)
    found = np.take_along_axis(ordered, np.clip(rank - 1, 0, len(ordered) - 1)[None], axis=0)[0]
    return np.where((rank <= count) & (count > 0), found, 1.0)


def describe(model: Forecaster, split: Split) -> dict[str, Any]:
    """What the metadata says of the intervals; of none, why there are none."""
    from bwpredict.inference.confidence import FLOORS, FORMULA

    if not model.calibration_windows:
        return {"made": False, "reason": why_none(split) or "The model was made without intervals."}
    return {
        "made": True,
        "reason": None,
        "level": schema.INTERVAL_LEVEL,
        "method": "split-conformal factors on the network's quantiles, in log space",
        "calibration_windows": int(model.calibration_windows),
        "factors": {
            side: {
                name: [value if value < _EVERYTHING else None for value in values]
                for name, values in zip(schema.TARGETS, factors[:, model.contract.place].T.tolist(), strict=True)
            }
            for side, factors in zip(("lower", "upper"), model.interval_factor.unbind(1), strict=True)
        },
        "confidence": {"formula": FORMULA, "floors": dict(FLOORS)},
    }


def _scores(model: Forecaster, part: WindowIndex, mode: int) -> npt.NDArray[np.float32]:
    """[n, 2, horizons, targets], how far below and above the median the actual values lay, in widths."""
    found = [np.full((1, 2, *model.change_width.shape), np.nan, np.float32)]  # of nothing, too, there is a quantile
    for seen in observations(model, part, CALIBRATION_WINDOWS, (mode,)):
        lower, median, upper = served(model, seen)[:, 0].unbind(-2)
        actual = seen.actual[:, 0]
        distance = torch.stack((median - actual, actual - median), dim=1)
        width = torch.stack((median - lower, upper - median), dim=1).clamp(min=_SMALLEST_WIDTH)
        found.append((distance / width).cpu().numpy())
    return np.concatenate(found)
