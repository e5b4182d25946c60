"""The Diebold-Mariano test of equal accuracy, for the daily means of the loss difference."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import t as student_t

from bwpredict.evaluation.student import FEWEST_DAYS

Floats = npt.NDArray[np.float64]


def diebold_mariano(losses: Floats) -> dict[str, Any]:
    """Test whether the mean of daily mean loss differences [days] is 0: statistic and two-sided p-value.

    Forecasts of one day do not overlap those of the next, so no lag counts: Harvey, Leybourne and Newbold (1997) for
    a horizon of one step, with their small-sample factor and Student's t. Neighbouring minutes of one series are not
    independent at any lag that could be estimated, and tests on them reject equal models far too often. Statistic
    and p-value are None for fewer than `FEWEST_DAYS` days or no variance.
    """
    days = len(losses)
    undefined = {"statistic": None, "p_value": None, "days": days}
    if days < FEWEST_DAYS or not np.isfinite(losses).all():
        return undefined
    variance = float(losses.var()) / days
    if not variance > 0:
        return undefined
    statistic = float(losses.mean()) / math.sqrt(variance) * math.sqrt((days - 1) / days)
    return undefined | {"statistic": statistic, "p_value": float(2 * student_t.sf(abs(statistic), days - 1))}
