"""Neural rivals, all trained by one loop: plain LSTMs, the guide's formulation, and neuralforecast's NHITS."""

from __future__ import annotations

import copy
import logging
import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from accuracy import features
from accuracy.guide_layers import GuideLayers
from accuracy.task import OFFSETS, TARGETS, Array, Fitted, Task, bounded, choose, described
from bwpredict import schema
from bwpredict.datasets.windows import Index, WindowIndex
from bwpredict.models.network import parameter_count

BATCH_SIZE = 256
LEARNING_RATE = 1e-3
PATIENCE_EPOCHS = 5
"""Without a better validation loss, before a rival stops."""
EVALUATION_BATCH = 2048
WINDOWS_FOR_SCALES = 20_000
LSTM_UNITS = 128
_LEVELS = TARGETS + len(features.CONTEXT)
SCALERS = ("whole training part", "each window")
"""Over what NHITS standardises a target: neuralforecast's `scaler_type` "identity" (on data that is
standardised already) and "standard"."""

Loss = Callable[[WindowIndex, Index], Tensor]


def fit_lstm(task: Task) -> Fitted:
    """One LSTM layer and a linear one on z-scores, L1."""
    return _fit_on_z_scores(task, _PlainLSTM, nn.functional.l1_loss)


def fit_guide(task: Task) -> Fitted:
    """The training guide's formulation: its layers on z-scores over all links, MSE, no residual."""
    return _fit_on_z_scores(task, _guide_layers, nn.functional.mse_loss)


class _PlainLSTM(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(len(schema.FEATURES), LSTM_UNITS, batch_first=True)
        self.output = nn.Linear(LSTM_UNITS, TARGETS)

    def forward(self, windows: Tensor) -> Tensor:
        hidden, _ = self.lstm(windows)
        forecast: Tensor = self.output(hidden[:, -1])
        return forecast


def _guide_layers() -> nn.Module:
    layers = GuideLayers(len(schema.FEATURES))
    layers.output.reset_parameters()  # the product starts it at zero, the guide does not
    return layers


def _fit_on_z_scores(task: Task, make: Callable[[], nn.Module], loss: Callable[[Tensor, Tensor], Tensor]) -> Fitted:
    torch.manual_seed(task.seed)
    device = _device()
    network = make().to(device)
    values = task.sample().spread(WINDOWS_FOR_SCALES).inputs()
    mean, scale = values.mean(axis=(0, 1)), np.maximum(values.std(axis=(0, 1), dtype=np.float64), 1e-9)
    scale = scale.astype(np.float32)

    def scaled(raw: Array) -> Tensor:
        width = raw.shape[-1]
        return torch.from_numpy((raw - mean[:width]) / scale[:width]).to(device)

    def batch_loss(index: WindowIndex, which: Index) -> Tensor:
        return loss(network(scaled(index.inputs(which))), scaled(index.targets(which)))

    epochs = _train(network, batch_loss, task)

    def forecast(index: WindowIndex) -> Array:
        outputs = _in_batches(index, lambda which: network(scaled(index.inputs(which))), network)
        return bounded(outputs * scale[:TARGETS] + mean[:TARGETS])

    return Fitted(forecast, parameter_count(network), f"epoch {epochs}")


def fit_log_lstm(task: Task) -> Fitted:
    """The same LSTM in log space: changes from the last sample, in units of the window's own deviation, L1."""
    torch.manual_seed(task.seed)
    network = _LogLSTM(task).to(_device())
    epochs = _train(network, network.loss, task)
    return Fitted(network.forecast, parameter_count(network), f"epoch {epochs}")


class _LogLSTM(nn.Module):
    usual: Tensor
    """[columns], deviation of a window's samples, over all links."""

    def __init__(self, task: Task) -> None:
        super().__init__()
        sample = _columns(torch.from_numpy(task.sample().spread(WINDOWS_FOR_SCALES).inputs()))
        columns = sample.shape[-1]
        self.register_buffer("usual", _deviation(sample).mean(dim=0).clamp(min=1e-3))
        self.lstm = nn.LSTM(columns + TARGETS, LSTM_UNITS, batch_first=True)
        self.output = nn.Linear(LSTM_UNITS, TARGETS)
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)

    def forward(self, windows: Tensor) -> Tensor:
        """[n, steps, features] raw to forecasts [n, targets] in log space."""
        columns = _columns(windows)
        # A quiet window deviates little. Dividing by the usual deviation as well does not amplify its noise.
        scale = 0.9 * _deviation(columns) + 0.1 * self.usual
        last = columns[:, -1]
        changes = columns[..., :_LEVELS] - last[:, None, :_LEVELS]
        size = torch.log(scale / self.usual)[:, None, :TARGETS].expand(-1, columns.shape[1], -1)
        given = torch.cat((changes / scale[:, None, :_LEVELS], columns[..., _LEVELS:], size), dim=-1)
        hidden, _ = self.lstm(given)
        forecast: Tensor = last[:, :TARGETS] + scale[:, :TARGETS] * self.output(hidden[:, -1])
        return forecast

    def loss(self, index: WindowIndex, which: Index) -> Tensor:
        """Mean absolute error in log space, in usual deviations."""
        actual = torch.from_numpy(features.target_logs(index.targets(which))).to(self.usual.device)
        error: Tensor = ((self(_raw(index, which)) - actual).abs() / self.usual[:TARGETS]).mean()
        return error

    def forecast(self, index: WindowIndex) -> Array:
        """[n, targets] in raw units."""
        logs = _in_batches(index, lambda which: self(_raw(index, which)), self)
        return bounded(np.exp(np.minimum(logs, 30)) - OFFSETS)


def _deviation(columns: Tensor) -> Tensor:
    """[n, steps, columns] to [n, columns], the mean distance to the mean."""
    deviation: Tensor = (columns - columns.mean(dim=1, keepdim=True)).abs().mean(dim=1)
    return deviation


def fit_nhits(task: Task) -> Fitted:
    """NHITS of neuralforecast (Challu et al., 2023), its network and defaults: one for each target, over all links.

    It gets log values of the target and, as exogenous history, the other columns, and learns the whole path
    to the horizon (L1), as the library trains it. The library's own loop and cross-validation build every
    origin of every minute anew, so its network is driven on the benchmark's windows by the loop that trains
    the other networks.
    """
    models = {scaler: _Nhits(task, over_window=scaler == SCALERS[1]).to(_device()) for scaler in SCALERS}
    for model in models.values():
        _train(model, model.loss, task)
    chosen, forecast = choose(task, {scaler: model.forecast for scaler, model in models.items()})
    return Fitted(
        forecast, parameter_count(models[SCALERS[0]]), described(task, [f"scaled over {each}" for each in chosen])
    )


class _Nhits(nn.Module):
    """A network for each measured target."""

    mean: Tensor
    scale: Tensor

    def __init__(self, task: Task, *, over_window: bool) -> None:
        super().__init__()
        from neuralforecast.losses.pytorch import MAE
        from neuralforecast.models import NHITS

        logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
        sample = _columns(torch.from_numpy(task.sample().spread(WINDOWS_FOR_SCALES).inputs())).flatten(0, 1)
        self.register_buffer("mean", sample.mean(dim=0))
        self.register_buffer("scale", sample.std(dim=0).clamp(min=1e-3))
        self.over_window, self.measured = over_window, task.measured
        self.networks = nn.ModuleList(
            NHITS(
                h=task.train.horizon_steps,
                input_size=task.train.window_size,
                hist_exog_list=[f"column {number}" for number in range(sample.shape[1] - 1)],
                loss=MAE(),
                random_seed=task.seed,
            )
            for _ in self.measured
        )

    def forward(self, windows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """[n, steps, features] raw to scaled paths [n, horizon, measured]; their centres and scales [n, measured]."""
        columns = (_columns(windows) - self.mean) / self.scale
        series = columns[..., self.measured]
        centre, spread = torch.zeros_like(series[:, 0]), torch.ones_like(series[:, 0])
        if self.over_window:
            centre, spread = series.mean(dim=1), series.std(dim=1) + 1e-3
        series = (series - centre[:, None]) / spread[:, None]
        paths = []
        for number, (place, network) in enumerate(zip(self.measured, self.networks, strict=True)):
            own = series[..., number, None]
            others = torch.cat((columns[..., :place], columns[..., place + 1 :]), dim=-1)
            given = {"insample_y": own, "insample_mask": torch.ones_like(own), "hist_exog": others}
            paths.append(network({**given, "futr_exog": None, "stat_exog": None}))
        return torch.cat(paths, dim=-1), centre, spread

    def loss(self, index: WindowIndex, which: Index) -> Tensor:
        """Mean absolute error over the path to the horizon, as scaled."""
        paths, centre, spread = self(_raw(index, which))
        steps = index.window_size + np.arange(index.horizon_steps)
        rows = index.starts[which][:, None] + steps
        actual = torch.from_numpy(features.target_logs(index.frame.values[rows])).to(paths.device)
        actual = ((actual - self.mean[:TARGETS]) / self.scale[:TARGETS])[..., self.measured]
        error: Tensor = (paths - (actual - centre[:, None]) / spread[:, None]).abs().mean()
        return error

    def forecast(self, index: WindowIndex) -> Array:
        """[n, targets] in raw units; 0 for a target that was not measured."""

        def last_step(which: Index) -> Tensor:
            paths, centre, spread = self(_raw(index, which))
            last: Tensor = paths[:, -1] * spread + centre
            return last

        scale, mean = (buffer[self.measured].cpu().numpy() for buffer in (self.scale, self.mean))
        forecasts = np.zeros((len(index), TARGETS), np.float32)
        logs = np.minimum(_in_batches(index, last_step, self) * scale + mean, 30)
        forecasts[:, self.measured] = np.exp(logs) - OFFSETS[self.measured]
        return bounded(forecasts)


def _columns(windows: Tensor) -> Tensor:
    """[n, steps, features] raw to [n, steps, columns]: targets and context in log space, the calendar as waves."""
    logs = torch.log(windows[..., :TARGETS].clamp(min=0) + torch.from_numpy(OFFSETS).to(windows.device))
    context = torch.log1p(windows[..., features.CONTEXT].clamp(min=0))
    angles = [
        windows[..., [column]] * (2 * math.pi / period) for column, period in ((features.HOUR, 24), (features.DAY, 7))
    ]
    return torch.cat((logs, context, *(wave(angle) for angle in angles for wave in (torch.sin, torch.cos))), dim=-1)


def _raw(index: WindowIndex, which: Index) -> Tensor:
    return torch.from_numpy(index.inputs(which)).to(_device())


def _train(network: nn.Module, loss: Loss, task: Task) -> int:
    """Adam, halving the rate when validation stops getting better; the best epoch's weights are kept. Returns it."""
    optimizer = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=2)
    validation, best, best_epoch, kept = task.validation, math.inf, 0, copy.deepcopy(network.state_dict())
    for epoch in range(1, task.budget.epochs + 1):
        network.train()
        order = task.epoch(epoch)
        for begin in range(0, len(order) - 1, BATCH_SIZE):
            batch = order[begin : begin + BATCH_SIZE]
            if len(batch) < 2:  # batch norm needs two
                continue
            optimizer.zero_grad(set_to_none=True)
            loss(task.train, batch).backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
        current = _mean_loss(network, loss, validation)
        schedule.step(current)
        if current < best:
            best, best_epoch, kept = current, epoch, copy.deepcopy(network.state_dict())
        if epoch - best_epoch >= PATIENCE_EPOCHS:
            break
    network.load_state_dict(kept)
    return best_epoch


def _mean_loss(network: nn.Module, loss: Loss, index: WindowIndex) -> float:
    network.eval()
    total = 0.0
    with torch.inference_mode():
        for begin in range(0, len(index), EVALUATION_BATCH):
            which = np.arange(begin, min(begin + EVALUATION_BATCH, len(index)))
            total += float(loss(index, which)) * len(which)
    return total / len(index)


def _in_batches(index: WindowIndex, run: Callable[[Index], Tensor], network: nn.Module) -> Array:
    network.eval()
    with torch.inference_mode():
        parts = [
            run(np.arange(begin, min(begin + EVALUATION_BATCH, len(index)))).cpu().numpy()
            for begin in range(0, len(index), EVALUATION_BATCH)
        ]
    return np.concatenate(parts)


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
