"""Neural rivals on a window, and the loop that trains all of them: plain LSTMs and the guide's formulation."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from accuracy import features
from accuracy.guide_layers import GuideLayers
from accuracy.task import OFFSETS, TARGETS, Array, Fitted, Task, bounded
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
    device = torch_device()
    network = make().to(device)
    values = task.sample().spread(WINDOWS_FOR_SCALES).inputs()
    mean, scale = values.mean(axis=(0, 1)), np.maximum(values.std(axis=(0, 1), dtype=np.float64), 1e-9)
    scale = scale.astype(np.float32)

    def scaled(raw: Array) -> Tensor:
        width = raw.shape[-1]
        return torch.from_numpy((raw - mean[:width]) / scale[:width]).to(device)

    def batch_loss(index: WindowIndex, which: Index) -> Tensor:
        return loss(network(scaled(index.inputs(which))), scaled(index.targets(which)))

    epochs = fit_network(network, batch_loss, task)

    def forecast(index: WindowIndex) -> Array:
        outputs = in_batches(index, lambda which: network(scaled(index.inputs(which))), network)
        return bounded(outputs * scale[:TARGETS] + mean[:TARGETS])

    return Fitted(forecast, parameter_count(network), f"epoch {epochs}")


def fit_log_lstm(task: Task) -> Fitted:
    """The same LSTM in log space: changes from the last sample, in units of the window's own deviation, L1."""
    torch.manual_seed(task.seed)
    network = _LogLSTM(task).to(torch_device())
    epochs = fit_network(network, network.loss, task)
    return Fitted(network.forecast, parameter_count(network), f"epoch {epochs}")


class _LogLSTM(nn.Module):
    usual: Tensor
    """[columns], deviation of a window's samples, over all links."""

    def __init__(self, task: Task) -> None:
        super().__init__()
        sample = log_columns(torch.from_numpy(task.sample().spread(WINDOWS_FOR_SCALES).inputs()))
        columns = sample.shape[-1]
        self.register_buffer("usual", _deviation(sample).mean(dim=0).clamp(min=1e-3))
        self.lstm = nn.LSTM(columns + TARGETS, LSTM_UNITS, batch_first=True)
        self.output = nn.Linear(LSTM_UNITS, TARGETS)
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)

    def forward(self, windows: Tensor) -> Tensor:
        """[n, steps, features] raw to forecasts [n, targets] in log space."""
        columns = log_columns(windows)
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
        error: Tensor = ((self(raw_windows(index, which)) - actual).abs() / self.usual[:TARGETS]).mean()
        return error

    def forecast(self, index: WindowIndex) -> Array:
        """[n, targets] in raw units."""
        logs = in_batches(index, lambda which: self(raw_windows(index, which)), self)
        return bounded(np.exp(np.minimum(logs, 30)) - OFFSETS)


def _deviation(columns: Tensor) -> Tensor:
    """[n, steps, columns] to [n, columns], the mean distance to the mean."""
    deviation: Tensor = (columns - columns.mean(dim=1, keepdim=True)).abs().mean(dim=1)
    return deviation


def log_columns(windows: Tensor) -> Tensor:
    """[n, steps, features] raw to [n, steps, columns]: targets and context in log space, the calendar as waves."""
    logs = torch.log(windows[..., :TARGETS].clamp(min=0) + torch.from_numpy(OFFSETS).to(windows.device))
    context = torch.log1p(windows[..., features.CONTEXT].clamp(min=0))
    angles = [
        windows[..., [column]] * (2 * math.pi / period) for column, period in ((features.HOUR, 24), (features.DAY, 7))
    ]
    return torch.cat((logs, context, *(wave(angle) for angle in angles for wave in (torch.sin, torch.cos))), dim=-1)


def raw_windows(index: WindowIndex, which: Index) -> Tensor:
    return torch.from_numpy(index.inputs(which)).to(torch_device())


def fit_network(network: nn.Module, loss: Loss, task: Task, *, epochs: int | None = None) -> int:
    """Adam, halving the rate when validation stops getting better; the best epoch's weights are kept. Returns it.

    `epochs`: at most this many, instead of the budget's.
    """
    optimizer = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=2)
    validation, best, best_epoch, kept = task.validation, math.inf, 0, copy.deepcopy(network.state_dict())
    for epoch in range(1, (epochs or task.budget.epochs) + 1):
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


def in_batches(index: WindowIndex, run: Callable[[Index], Tensor], network: nn.Module) -> Array:
    network.eval()
    with torch.inference_mode():
        parts = [
            run(np.arange(begin, min(begin + EVALUATION_BATCH, len(index)))).cpu().numpy()
            for begin in range(0, len(index), EVALUATION_BATCH)
        ]
    return np.concatenate(parts)


def torch_device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
