"""Relative differences, in percent."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def percent_above(ours: Floats, theirs: Floats) -> Floats:
    """The excess of `ours` over `theirs` in percent of `theirs`: 0 if both are 0, infinite if only `theirs` is."""
    both_perfect = (ours == 0) & (theirs == 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(both_perfect, 0.0, 100 * (ours / theirs - 1)), dtype=np.float64)
