"""Ridge and LightGBM, each tuned on the validation windows, target by target."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from accuracy import features
from accuracy.task import OFFSETS, TARGETS, Array, Fitted, Task, bounded, choose, described
from bwpredict import schema
from bwpredict.windows import WindowIndex

ALPHAS = (1.0, 100.0, 10_000.0)
"""Ridge penalties to choose from, on standardised columns."""
LEAVES = (31, 127)
ROUNDS, PATIENCE_ROUNDS = 500, 30
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


def fit_ridge(task: Task) -> Fitted:
    """Linear in all samples of the window in log space; forecasts the change from the last value."""
    from sklearn.linear_model import Ridge

    sample = task.sample()
    columns = features.table(sample, features.lags)
    mean, scale = columns.mean(axis=0), np.maximum(columns.std(axis=0), 1e-6)
    changes = features.target_changes(sample)

    def candidate(alpha: float) -> Any:
        model = Ridge(alpha=alpha).fit((columns - mean) / scale, changes)

        def forecast(index: WindowIndex) -> Array:
            given = (features.table(index, features.lags) - mean) / scale
            return features.from_changes(index, model.predict(given))

        return forecast

    chosen, forecast = choose(task, {f"penalty {alpha:g}": candidate(alpha) for alpha in ALPHAS})
    return Fitted(forecast, len(task.measured) * (columns.shape[1] + 1), described(task, chosen))


def fit_lightgbm(task: Task) -> Fitted:
    """One model for each target, L1: raw values or changes in log space, few or many leaves, as validation says."""
    search = _Search(task)
    boosters, choices = {}, ["none"] * TARGETS
    for place in task.measured:
        boosters[place], choices[place] = search.best(place)

    def forecast(index: WindowIndex) -> Array:
        columns = features.table(index, features.lags_and_summaries)
        forecasts = np.zeros((len(index), TARGETS), np.float32)
        for place, booster in boosters.items():
            forecasts[:, place] = _to_raw(index, place, choices[place], booster.predict(columns))
        return bounded(forecasts)

    return Fitted(forecast, sum(_size(booster) for booster in boosters.values()), described(task, choices))


class _Search:
    """The table is binned once; targets and settings are tried on it one by one."""

    def __init__(self, task: Task) -> None:
        import lightgbm

        self.task, self.lightgbm = task, lightgbm
        self.sample, self.validation = task.sample(), task.validation
        self.columns = features.table(self.validation, features.lags_and_summaries)
        train = features.table(self.sample, features.lags_and_summaries)
        self.train_set = lightgbm.Dataset(train, params={"verbose": -1}, free_raw_data=False)
        self.validation_set = lightgbm.Dataset(self.columns, reference=self.train_set, free_raw_data=False)

    def best(self, place: int) -> tuple[Any, str]:
        """The booster with the least validation MAE in raw units for a target, and its setting in words."""
        found = []
        for label in LABELS:
            self.train_set.set_label(_labels(self.sample, place, label))
            self.validation_set.set_label(_labels(self.validation, place, label))
            for leaves in LEAVES:
                booster = self._fit(leaves)
                forecast = _to_raw(self.validation, place, label, booster.predict(self.columns))
                error = float(np.abs(forecast - self.validation.targets()[:, place]).mean())
                found.append((error, f"{label}, {leaves} leaves", booster))
        _, choice, booster = min(found, key=lambda each: each[0])
        return booster, choice

    def _fit(self, leaves: int) -> Any:
        return self.lightgbm.train(
            {**LIGHTGBM, "num_leaves": leaves, "seed": self.task.seed},
            self.train_set,
            num_boost_round=ROUNDS,
            valid_sets=[self.validation_set],
            callbacks=[self.lightgbm.early_stopping(PATIENCE_ROUNDS, verbose=False)],
        )


def _labels(index: WindowIndex, place: int, label: str) -> Array:
    return (index.targets() if label == LABELS[0] else features.target_changes(index))[:, place]


def _to_raw(index: WindowIndex, place: int, choice: str, predicted: Any) -> Any:
    """[n] raw forecasts of one target, within its bounds."""
    if choice.startswith(LABELS[1]):
        predicted = np.exp(features.last_logs(index)[:, place] + predicted) - OFFSETS[place]
    return np.clip(predicted, 0, schema.COLUMN[schema.TARGETS[place]].maximum)


def _size(booster: Any) -> int:
    """Leaf values and thresholds of all trees."""
    leaves = re.findall(r"^num_leaves=(\d+)", booster.model_to_string(), re.MULTILINE)
    return sum(2 * int(each) - 1 for each in leaves)
