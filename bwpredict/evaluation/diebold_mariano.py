"""The Diebold-Mariano test of equal accuracy, for the daily means of the loss difference."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import ttest_1samp

from bwpredict.evaluation.student import FEWEST_DAYS

Floats = npt.NDArray[np.float64]


def diebold_mariano(losses: Floats) -> dict[str, Any]:
    """Test whether the mean of daily mean loss differences [days] is 0: statistic and two-sided p-value.

    Forecasts of one day do not overlap those of the next, so no lag counts: the test for a horizon of one step, with
    the small-sample factor of Harvey, Leybourne and Newbold (1997), is Student's t-test of one sample. Neighbouring
    minutes of one series are not independent at any lag that could be estimated, and tests on them reject equal models
    far too often. Statistic and p-value are None for fewer than `FEWEST_DAYS` days or no variance.
    """
    days = len(losses)
    if days < FEWEST_DAYS or not np.isfinite(losses).all() or np.allclose(losses, losses[0], rtol=1e-12, atol=0):
        return {"statistic": None, "p_value": None, "days": days}
    found = ttest_1samp(losses, 0.0)
    return {"statistic": float(found.statistic), "p_value": float(found.pvalue), "days": days}
