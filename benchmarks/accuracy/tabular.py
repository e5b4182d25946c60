"""Ridge and LightGBM, each tuned on the validation windows, target by target."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from accuracy import features
from accuracy.task import OFFSETS, TARGETS, Array, Fitted, Task, bounded, choose, described
from bwpredict import schema
from bwpredict.datasets.windows import WindowIndex

ALPHAS = (1.0, 30.0, 1e3, 3e4, 1e6)
"""Ridge penalties to choose from, on standardised columns."""
LEAVES = (31, 127)
ROUNDS, PATIENCE_ROUNDS = 500, 30
WINDOWS_TO_TUNE = 40_000
"""This many windows of the sample choose label and leaves."""
LIGHTGBM: dict[str, Any] = {
    "objective": "l1",
    "metric": "l1",
    "learning_rate": 0.1,
    "feature_fraction": 0.7,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "verbose": -1,
}
LABELS = ("raw value", "change in log space")
"""What a tree may learn to forecast."""


def fit_ridge(task: Task, *, memory: bool = False) -> Fitted:
    """Linear in all samples of the window in log space; forecasts the change from the last value.

    `memory`: with moving averages and the same minute of days before, as `features.memory_of`.
    """
    from sklearn.linear_model import Ridge

    sample = task.sample()
    columns = features.table(sample, features.lags, memory=memory)
    mean, scale = columns.mean(axis=0), np.maximum(columns.std(axis=0), 1e-6)
    changes = features.target_changes(sample)

    def candidate(alpha: float) -> Any:
        model = Ridge(alpha=alpha).fit((columns - mean) / scale, changes)

        def forecast(index: WindowIndex) -> Array:
            given = (features.table(index, features.lags, memory=memory) - mean) / scale
            return features.from_changes(index, model.predict(given))

        return forecast

    chosen, forecast = choose(task, {f"penalty {alpha:g}": candidate(alpha) for alpha in ALPHAS})
    return Fitted(forecast, len(task.measured) * (columns.shape[1] + 1), described(task, chosen))


def fit_lightgbm(task: Task, *, memory: bool = False) -> Fitted:
    """One model for each target, L1: raw values or changes in log space, few or many leaves, as validation says.

    `memory`: as `fit_ridge`.
    """
    search = _Search(task, memory=memory)
    boosters, choices = {}, ["none"] * TARGETS
    for place in task.measured:
        boosters[place], choices[place] = search.best(place)

    def forecast(index: WindowIndex) -> Array:
        columns = features.table(index, features.lags_and_summaries, memory=memory)
        forecasts = np.zeros((len(index), TARGETS), np.float32)
        for place, booster in boosters.items():
            forecasts[:, place] = _to_raw(index, place, choices[place], booster.predict(columns))
        return bounded(forecasts)

    return Fitted(forecast, sum(_size(booster) for booster in boosters.values()), described(task, choices))


class _Search:
    """Settings are chosen on a part of the sample; the chosen one is fitted on all of it. Both are binned once."""

    def __init__(self, task: Task, *, memory: bool) -> None:
        import lightgbm

        self.task, self.lightgbm, self.memory = task, lightgbm, memory
        self.validation = task.validation
        self.columns = features.table(self.validation, features.lags_and_summaries, memory=memory)
        sample = task.sample()
        self.small = self._binned(sample.spread(WINDOWS_TO_TUNE))
        self.whole = self.small if len(sample) <= WINDOWS_TO_TUNE else self._binned(sample)

    def best(self, place: int) -> tuple[Any, str]:
        """The booster with the least validation MAE in raw units for a target, and its setting in words."""
        tried = [(label, leaves, self._fit(self.small, place, label, leaves)) for label in LABELS for leaves in LEAVES]
        label, leaves, booster = min(tried, key=lambda each: self._error(place, each[0], each[2]))
        if self.whole is not self.small:
            booster = self._fit(self.whole, place, label, leaves)
        return booster, f"{label}, {leaves} leaves"

    def _binned(self, index: WindowIndex) -> _Binned:
        columns = features.table(index, features.lags_and_summaries, memory=self.memory)
        train = self.lightgbm.Dataset(columns, params={"verbose": -1}, free_raw_data=False)
        return _Binned(index, train, self.lightgbm.Dataset(self.columns, reference=train, free_raw_data=False))

    def _fit(self, binned: _Binned, place: int, label: str, leaves: int) -> Any:
        binned.train.set_label(_labels(binned.index, place, label))
        binned.validation.set_label(_labels(self.validation, place, label))
        return self.lightgbm.train(
            {**LIGHTGBM, "num_leaves": leaves, "seed": self.task.seed},
            binned.train,
            num_boost_round=ROUNDS,
            valid_sets=[binned.validation],
            callbacks=[self.lightgbm.early_stopping(PATIENCE_ROUNDS, verbose=False)],
        )

    def _error(self, place: int, label: str, booster: Any) -> float:
        forecast = _to_raw(self.validation, place, label, booster.predict(self.columns))
        return float(np.abs(forecast - self.validation.targets()[:, place]).mean())


@dataclass(frozen=True)
class _Binned:
    """Windows and their table in LightGBM's form, with the validation table binned alike."""

    index: WindowIndex
    train: Any
    validation: Any


def _labels(index: WindowIndex, place: int, label: str) -> Array:
    labels = index.targets() if label == LABELS[0] else features.target_changes(index)
    return np.ascontiguousarray(labels[:, place])


def _to_raw(index: WindowIndex, place: int, choice: str, predicted: Any) -> Any:
    """[n] raw forecasts of one target, within its bounds."""
    if choice.startswith(LABELS[1]):
        predicted = np.exp(features.last_logs(index)[:, place] + predicted) - OFFSETS[place]
    return np.clip(predicted, 0, schema.COLUMN[schema.TARGETS[place]].maximum)


def _size(booster: Any) -> int:
    """Leaf values and thresholds of all trees."""
    leaves = re.findall(r"^num_leaves=(\d+)", booster.model_to_string(), re.MULTILINE)
    return sum(2 * int(each) - 1 for each in leaves)
