"""How sure a forecast is, 0 to 1, from its interval: for consumers of the model, without torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from bwpredict import schema

Values = npt.NDArray[np.floating[Any]]

FORMULA = (
    "confidence = 1 / (1 + half_width / max(|output|, floor)), half_width = (upper - lower) / 2, for each target;"
    " 0 where one of the three is not finite or lower <= output <= upper does not hold."
    " Overall: the mean over the targets; 0 where one of the three is not finite or out of order for any target."
)
FLOORS: dict[str, float] = schema.MAPE_FLOORS
"""Below this size of the forecast the width is relative to the floor instead; in each target's unit."""


def confidence(output: Values, lower: Values, upper: Values) -> npt.NDArray[np.float64]:
    """[..., targets], 0 to 1: 1 for an interval without width, 1/2 where its half is as wide as the forecast is large.

    It falls as the interval widens. An undefined figure counts as 0, so that a consumer errs on the careful side.
    """
    sound = _sound(output, lower, upper)
    output, lower, upper = (np.where(sound, values, 0.0) for values in (output, lower, upper))
    floors = np.array([FLOORS[name] for name in schema.TARGETS])
    half_width = (upper - lower) / 2
    return np.where(sound, 1 / (1 + half_width / np.maximum(np.abs(output), floors)), 0.0)


def overall_confidence(output: Values, lower: Values, upper: Values) -> npt.NDArray[np.float64]:
    """[...], 0 to 1: one figure for a whole forecast, the mean over its targets; 0 if one of them is undefined."""
    mean = confidence(output, lower, upper).mean(axis=-1)
    return np.where(_sound(output, lower, upper).all(axis=-1), mean, 0.0)


def _sound(output: Values, lower: Values, upper: Values) -> npt.NDArray[np.bool_]:
    """Where all three are finite and in order."""
    finite = np.isfinite(output) & np.isfinite(lower) & np.isfinite(upper)
    return np.asarray(finite & (lower <= output) & (output <= upper))
