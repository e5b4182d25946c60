"""The error of simple forecasts by horizon, to compare with the model's error at its horizon."""

from __future__ import annotations

from typing import Any

import numpy as np

from bwpredict import schema
from bwpredict.core.formatting import undefined_as_none
from bwpredict.datasets.windows import WindowIndex
from bwpredict.evaluation.baselines import REFERENCES, baseline_forecasts


def errors_by_minute(index: WindowIndex, targets: tuple[str, ...]) -> dict[str, Any]:
    """The `horizon` part of a comparison: MAE of each reference baseline at every step up to the windows' horizon.

    A model forecasts one horizon only; the samples on the way there are within each window's span, so these errors
    are over the same windows, made from the same inputs.
    """
    places = [schema.TARGETS.index(name) for name in targets]
    simple = baseline_forecasts(index)
    last = index.starts + index.window_size - 1
    steps = range(1, index.horizon_steps + 1)
    found: dict[str, Any] = {name: {target: [] for target in targets} for name in REFERENCES}
    for step in steps:
        actual = index.frame.values[last + step][:, places].astype(np.float64)
        for name in REFERENCES:
            errors = np.abs(simple[name][:, places] - actual).mean(axis=0)
            for target, error in zip(targets, errors, strict=True):
                found[name][target].append(undefined_as_none(error))
    return {"minutes": [step * index.frame.cadence_seconds / 60 for step in steps], "mae": found}
