"""neuralforecast's networks as rivals: from a window of all columns, and from a day of the target's own past.

The library's own loop and cross-validation build every origin of every minute anew, so its networks are driven on the
benchmark's windows by the loop that trains the other networks. There is a network for each target, over all links; it
gets log values, and learns the whole path to the horizon (L1), as the library trains it.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from accuracy import features
from accuracy.networks import WINDOWS_FOR_SCALES, fit_network, in_batches, log_columns, raw_windows, torch_device
from accuracy.task import OFFSETS, TARGETS, Array, Fitted, Task, bounded, choose, described
from bwpredict.datasets.windows import DAY_SECONDS, Index, WindowIndex
from bwpredict.models.network import parameter_count

EPOCHS_TO_TUNE = 1
"""Of the budget's epochs, by which validation chooses among the settings of a model with a day of input."""
RECENT_STEPS, MEAN_OF_STEPS = 20, 10
"""Of the LSTM's day: the last samples one by one, before them means. All 1,440 samples would be nine times the
arithmetic."""
LSTM: dict[str, Any] = {"encoder_n_layers": 1, "encoder_hidden_size": 64}
"""In place of the library's two layers of 128, which are twelve times the arithmetic."""


@dataclass(frozen=True)
class Setting:
    """One network of the library. Beside this, its own defaults hold."""

    model: str
    """A class of `neuralforecast.models`."""
    over_window: bool = False
    """Standardised over each input, as by the library's scaler "standard"; else over the whole training part."""
    day: bool = False
    """Sees a day of its target, else the window with the other columns as exogenous history."""
    condensed: bool = False

    def __str__(self) -> str:
        """In the words of the results."""
        return f"{self.model} scaled over {'each window' if self.over_window else 'whole training part'}"


def fit_nhits(task: Task) -> Fitted:
    """NHITS (Challu et al., 2023) on the window; each setting gets the whole budget."""
    return _chosen_of(task, [_fitted(task, Setting("NHITS", over_window)) for over_window in (False, True)])


def fit_nhits_of_a_day(task: Task) -> Fitted:
    """NHITS with a day of input."""
    return _tuned(task, [Setting("NHITS", over_window, day=True) for over_window in (False, True)])


def fit_lstm_of_a_day(task: Task) -> Fitted:
    """The library's LSTM with a day of input."""
    return _tuned(task, [Setting("LSTM", over_window, day=True, condensed=True) for over_window in (False, True)])


def fit_linear_of_a_day(task: Task) -> Fitted:
    """DLinear or NLinear (Zeng et al., 2023) with a day of input."""
    return _tuned(task, [Setting(model, day=True) for model in ("DLinear", "NLinear")])


def _tuned(task: Task, settings: Sequence[Setting]) -> Fitted:
    """The setting that is best on validation after `EPOCHS_TO_TUNE`, trained with the whole budget."""
    losses = {each: _validation_loss(task, _fitted(task, each, epochs=EPOCHS_TO_TUNE)) for each in settings}
    return _chosen_of(task, [_fitted(task, min(settings, key=losses.__getitem__))])


def _chosen_of(task: Task, models: Sequence[_Networks]) -> Fitted:
    """For each target the model that is better on validation."""
    chosen, forecast = choose(task, {str(model.setting): model.forecast for model in models})
    return Fitted(forecast, parameter_count(models[0]), described(task, chosen))


def _fitted(task: Task, setting: Setting, *, epochs: int | None = None) -> _Networks:
    torch.manual_seed(task.seed)
    model = _Networks(task, setting).to(torch_device())
    fit_network(model, model.loss, task, epochs=epochs)
    return model


def _validation_loss(task: Task, model: _Networks) -> float:
    """Mean absolute error in log space, in units of the training part's spread."""
    index = task.validation
    errors = np.abs(features.target_logs(model.forecast(index)) - features.target_logs(index.targets()))
    return float((errors.mean(axis=0)[task.measured] / model.scale[task.measured].cpu().numpy()).mean())


class _Networks(nn.Module):
    """A network for each measured target."""

    mean: Tensor
    """[columns] of the training part, in log space."""
    scale: Tensor

    def __init__(self, task: Task, setting: Setting) -> None:
        super().__init__()
        from neuralforecast import models
        from neuralforecast.losses.pytorch import MAE

        logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
        sample = log_columns(torch.from_numpy(task.sample().spread(WINDOWS_FOR_SCALES).inputs())).flatten(0, 1)
        self.register_buffer("mean", sample.mean(dim=0))
        self.register_buffer("scale", sample.std(dim=0).clamp(min=1e-3))
        self.setting, self.measured, self.window_size = setting, task.measured, task.train.window_size
        others = {} if setting.day else {"hist_exog_list": [f"column {number}" for number in range(len(self.mean) - 1)]}
        terms: dict[str, Any] = {"h": task.train.horizon_steps, "input_size": self._steps(task.train), "loss": MAE()}
        terms |= LSTM if setting.model == "LSTM" else {}
        make = getattr(models, setting.model)
        self.networks = nn.ModuleList(make(**terms, **others, random_seed=task.seed) for _ in self.measured)

    def forward(self, index: WindowIndex, which: Index) -> tuple[Tensor, Tensor, Tensor]:
        """Some windows to scaled paths [n, horizon, measured]; their centres and scales [n, measured]."""
        columns = self._inputs(index, which)
        series = columns[..., self.measured]
        centre, spread = torch.zeros_like(series[:, 0]), torch.ones_like(series[:, 0])
        if self.setting.over_window:
            centre, spread = series.mean(dim=1), series.std(dim=1) + 1e-3
        series = (series - centre[:, None]) / spread[:, None]
        paths = []
        for number, (place, network) in enumerate(zip(self.measured, self.networks, strict=True)):
            own = series[..., number, None]
            others = None if self.setting.day else torch.cat((columns[..., :place], columns[..., place + 1 :]), dim=-1)
            given = {"insample_y": own, "insample_mask": torch.ones_like(own), "hist_exog": others}
            paths.append(network({**given, "futr_exog": None, "stat_exog": None}))
        return torch.cat(paths, dim=-1), centre, spread

    def loss(self, index: WindowIndex, which: Index) -> Tensor:
        """Mean absolute error over the path to the horizon, as scaled."""
        paths, centre, spread = self(index, which)
        steps = index.window_size + np.arange(index.horizon_steps)
        rows = index.positions.rows(which)[:, None] + steps
        actual = torch.from_numpy(features.target_logs(index.frame.values[rows])).to(paths.device)
        actual = ((actual - self.mean[:TARGETS]) / self.scale[:TARGETS])[..., self.measured]
        error: Tensor = (paths - (actual - centre[:, None]) / spread[:, None]).abs().mean()
        return error

    def forecast(self, index: WindowIndex) -> Array:
        """[n, targets] in raw units; 0 for a target that was not measured."""

        def last_step(which: Index) -> Tensor:
            paths, centre, spread = self(index, which)
            last: Tensor = paths[:, -1] * spread + centre
            return last

        scale, mean = (buffer[self.measured].cpu().numpy() for buffer in (self.scale, self.mean))
        forecasts = np.zeros((len(index), TARGETS), np.float32)
        logs = np.minimum(in_batches(index, last_step, self) * scale + mean, 30)
        forecasts[:, self.measured] = np.exp(logs) - OFFSETS[self.measured]
        return bounded(forecasts)

    def _inputs(self, index: WindowIndex, which: Index) -> Tensor:
        """[n, steps, columns (of a day: targets)] in log space, standardised over the training part."""
        if not self.setting.day:
            return (log_columns(raw_windows(index, which)) - self.mean) / self.scale
        day = features.past_logs(index, which, _day_steps(index))
        columns = (torch.from_numpy(day).to(self.mean.device) - self.mean[:TARGETS]) / self.scale[:TARGETS]
        return _condensed(columns) if self.setting.condensed else columns

    def _steps(self, index: WindowIndex) -> int:
        if not self.setting.day:
            return index.window_size
        steps = _day_steps(index)
        return RECENT_STEPS + (steps - RECENT_STEPS) // MEAN_OF_STEPS if self.setting.condensed else steps


def _day_steps(index: WindowIndex) -> int:
    return DAY_SECONDS // index.frame.cadence_seconds


def _condensed(columns: Tensor) -> Tensor:
    """[n, steps, columns]: means of `MEAN_OF_STEPS` up to the last `RECENT_STEPS`."""
    before, recent = columns[:, :-RECENT_STEPS], columns[:, -RECENT_STEPS:]
    whole = before[:, before.shape[1] % MEAN_OF_STEPS :]
    return torch.cat((whole.unflatten(1, (-1, MEAN_OF_STEPS)).mean(dim=2), recent), dim=1)
