"""What every learnt model is given, and what it gives back: the terms on which the benchmark is fair."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bwpredict import schema
from bwpredict.config import TrainingConfig
from bwpredict.datasets.windows import Index, Split, WindowIndex
from bwpredict.evaluation.baselines import baseline_forecasts

Array = npt.NDArray[np.float32]

TARGETS = len(schema.TARGETS)
OFFSETS = np.array([schema.MAPE_FLOORS[name] for name in schema.TARGETS], np.float32)
"""What is added before a logarithm, for each target."""
BATCH_WINDOWS = 16_384


@dataclass(frozen=True)
class Budget:
    """How much of the training part a rival may look at: at most `epochs` times `windows` windows.

    Ours keeps its own schedule, shortened where the budget has fewer epochs (`product.training_config`).
    """

    windows: int = 20_000
    """Training windows drawn for each epoch."""
    epochs: int = 10
    validation_windows: int = TrainingConfig().validation_windows
    """Validation windows, evenly spread: the same for all models."""


@dataclass(frozen=True)
class Task:
    """One fit: the windows, the budget and the seed."""

    split: Split
    budget: Budget
    seed: int

    @property
    def train(self) -> WindowIndex:
        """The pool of training windows."""
        return self.split["train"]

    @property
    def validation(self) -> WindowIndex:
        """The windows that choose epochs, settings and variants."""
        return self.split["validation"].spread(self.budget.validation_windows)

    @property
    def absent(self) -> frozenset[str]:
        """Targets that the telemetry lacks."""
        return frozenset(self.train.frame.filled or {}) & set(schema.TARGETS)

    @property
    def measured(self) -> list[int]:
        """Places in `schema.TARGETS` of the targets that are there."""
        return [place for place, name in enumerate(schema.TARGETS) if name not in self.absent]

    def sample(self) -> WindowIndex:
        """The whole budget at once, for models that have no epochs: windows drawn without replacement."""
        budget = self.budget.windows * self.budget.epochs
        if budget >= len(self.train):
            return self.train
        generator = np.random.default_rng(self.seed)
        return self.train.take(np.sort(generator.choice(len(self.train), size=budget, replace=False)))

    def epoch(self, epoch: int) -> Index:
        """The windows of one epoch, in the order of training, decided by seed and epoch alone."""
        generator = np.random.default_rng((self.seed, epoch))
        return generator.choice(len(self.train), size=min(self.budget.windows, len(self.train)), replace=False)


@dataclass(frozen=True)
class Fitted:
    """A model that can forecast."""

    forecast: Callable[[WindowIndex], Array]
    """Windows to [n, targets] in raw units; NaN where the model has nothing to go by."""
    parameters: int = 0
    choice: str = ""
    """What validation chose, in words."""


Fit = Callable[[Task], Fitted]


@dataclass(frozen=True)
class Entry:
    """A row of the benchmark."""

    name: str
    fit: Fit
    seeded: bool = True
    """Whether a seed changes it: such a model is fitted once for each seed."""
    ours: bool = False


def bounded(raw: npt.NDArray[np.floating]) -> Array:
    """[n, targets] within the physical bounds of each target."""
    return np.asarray(np.clip(raw, *schema.physical_bounds(schema.TARGETS)), dtype=np.float32)


def absolute_errors(index: WindowIndex, forecasts: Array) -> npt.NDArray[np.float64]:
    """[n, targets], raw units."""
    return np.asarray(np.abs(forecasts.astype(np.float64) - index.targets()))


def skill_over_last_value(task: Task, index: WindowIndex, forecasts: Array) -> npt.NDArray[np.float64]:
    """[measured targets], 1 - MAE / MAE of the last value."""
    last = baseline_forecasts(index)["last_value"]
    own, persistence = (absolute_errors(index, each)[:, task.measured].mean(axis=0) for each in (forecasts, last))
    return np.asarray(1 - own / persistence)


def validation_mae(task: Task, forecasts: Array) -> npt.NDArray[np.float64]:
    """[targets], mean absolute error on the validation windows; infinite where there is no forecast at all."""
    errors = absolute_errors(task.validation, forecasts)
    found = np.isfinite(errors)
    return np.where(found.any(axis=0), np.nansum(errors, axis=0) / np.maximum(found.sum(axis=0), 1), np.inf)


def choose(
    task: Task, candidates: dict[str, Callable[[WindowIndex], Array]]
) -> tuple[list[str], Callable[[WindowIndex], Array]]:
    """Each target's candidate with the least validation MAE, and the forecast that is put together from them."""
    errors = {name: validation_mae(task, forecast(task.validation)) for name, forecast in candidates.items()}
    chosen = [min(errors, key=lambda name: errors[name][place]) for place in range(TARGETS)]

    def forecast(index: WindowIndex) -> Array:
        made = {name: candidates[name](index) for name in set(chosen)}
        return np.stack([made[name][:, place] for place, name in enumerate(chosen)], axis=1)

    return chosen, forecast


def described(task: Task, chosen: list[str]) -> str:
    """Which candidate each measured target got, in words."""
    if len({chosen[place] for place in task.measured}) == 1:
        return chosen[task.measured[0]]
    return ", ".join(f"{schema.TARGETS[place]}: {chosen[place]}" for place in task.measured)
