"""A quick estimate of what can be learnt at all: robust ridge regression in log space.

It corrects the best simple baseline of each target by as much as helped on the last quarter of the training time:
where nothing can be learnt, its forecast is that baseline.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import Ridge
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from bwpredict import schema
from bwpredict.core.progress_bar import track
from bwpredict.datasets.windows import WindowIndex
from bwpredict.evaluation.baselines import REFERENCES, baseline_forecasts

Array = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]
Column = npt.NDArray[np.float64]

SHRINKAGE = (1e-3, 3e-2, 1.0)
"""Penalties that are tried, for each window and standardised input."""
WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Shares of the correction that are tried; 0 is the baseline itself."""
HELD_OUT_SHARE = 0.25
ROUNDS = 8
MIN_ERROR = 0.1
"""Errors under this share of the mean one weigh no more than it."""
_TARGETS = len(schema.TARGETS)
_FLOORS = np.array([schema.MAPE_FLOORS[name] for name in schema.TARGETS])


def ridge_forecasts(train: WindowIndex, test: WindowIndex) -> Array:
    """[windows of `test`, targets], raw units: fitted on `train` alone, within physical bounds."""
    known, asked = _Prepared.of(train), _Prepared.of(test)
    times = train.frame.timestamps[train.target_rows]
    later = times >= np.quantile(times, 1 - HELD_OUT_SHARE)
    forecasts = np.empty((len(test), _TARGETS), np.float32)
    actual = train.targets().astype(np.float64)
    for place in track(range(_TARGETS), "Fitting", "targets", _TARGETS):
        errors = [np.abs(known.baselines[name][:, place] - actual[:, place]).mean() for name in REFERENCES]
        anchor = REFERENCES[int(np.argmin(errors))]
        shrinkage, weight = _chosen(known, actual, later, place, anchor)
        model = _fit(known.inputs, known.change(actual, place, anchor), shrinkage)
        forecasts[:, place] = asked.forecast(model, weight, place, anchor)
    return forecasts


@dataclass(frozen=True)
class _Prepared:
    """What the regression needs of some windows."""

    inputs: Floats
    """[n, inputs]; not standardised."""
    baselines: dict[str, Array]

    @classmethod
    def of(cls, index: WindowIndex) -> _Prepared:
        baselines = baseline_forecasts(index)
        windows = index.inputs()
        samples = np.log(windows[:, :, schema.TARGET_FEATURES] + _FLOORS).reshape(len(index), -1)
        averages = [np.log(baselines[name] + _FLOORS) for name in REFERENCES[1:]]
        hour = windows[:, -1, schema.FEATURES.index("time_of_day")].astype(np.float64) * (2 * np.pi / 24)
        daily = np.stack([np.sin(hour), np.cos(hour)], axis=1)
        return cls(np.concatenate([samples, *averages, daily], axis=1), baselines)

    def anchor(self, place: int, name: str) -> Column:
        """Log of the baseline's forecasts, shifted by the floor so that zero has one."""
        return np.asarray(np.log(self.baselines[name][:, place].astype(np.float64) + _FLOORS[place]))

    def change(self, actual: Floats, place: int, name: str) -> Column:
        """What is to be forecast: the actual value over the baseline's, in logs."""
        return np.asarray(np.log(actual[:, place] + _FLOORS[place]) - self.anchor(place, name))

    def forecast(self, model: Pipeline, weight: float, place: int, name: str) -> Column:
        """[n], raw units; the baseline to the bit where the weight is 0."""
        if weight == 0:
            return self.baselines[name][:, place].astype(np.float64)
        column = schema.COLUMN[schema.TARGETS[place]]
        level = self.anchor(place, name) + weight * model.predict(self.inputs)
        # No forecast beyond e**20 of its unit: a steep fit must not become infinite.
        return np.asarray(np.clip(np.exp(np.minimum(level, 20)) - _FLOORS[place], column.minimum, column.maximum))


def _chosen(
    known: _Prepared, actual: Floats, later: npt.NDArray[np.bool_], place: int, anchor: str
) -> tuple[float, float]:
    """Shrinkage and weight with the least absolute error on the later windows, fitted on the earlier ones."""

    def tried() -> Iterator[tuple[float, float, float]]:
        change = known.change(actual, place, anchor)
        for shrinkage in SHRINKAGE:
            model = _fit(known.inputs[~later], change[~later], shrinkage)
            for weight in WEIGHTS:
                error = np.abs(known.forecast(model, weight, place, anchor) - actual[:, place])[later].mean()
                yield float(error), shrinkage, weight

    _, shrinkage, weight = min(tried(), key=lambda one: one[0])
    return shrinkage, weight


def _fit(inputs: Floats, change: Column, shrinkage: float) -> Pipeline:
    """Ridge regression on standardised inputs for the least absolute error: reweighted with 1 / |error|."""
    model = make_pipeline(StandardScaler(), Ridge(alpha=shrinkage * len(inputs)))
    weights = np.ones(len(inputs))
    for _ in range(ROUNDS):
        errors = np.abs(change - model.fit(inputs, change, ridge__sample_weight=weights).predict(inputs))
        weights = 1 / np.maximum(errors, MIN_ERROR * errors.mean() + 1e-12)
        weights /= weights.mean()
    return model
