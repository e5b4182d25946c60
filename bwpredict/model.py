"""The network: the guide's layers, and around them the transforms that make raw units go in and out.

The forecast is a change from an anchor, in log space and in units of the typical change:

    forecast = exp(anchor + typical_change * layers(inputs)) - offset

The anchor is a learnt blend of the last value and the mean and median of the last quarter of an hour,
and the last layer starts at zero: where nothing can be learnt, the model is its best simple baseline.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from bwpredict import schema
from bwpredict.errors import ModelError
from bwpredict.files import atomic_path

ANCHOR_MINUTES = 15
ANCHORS = ("last_value", "mean_15_minutes", "median_15_minutes")
CALENDAR_FEATURES = {"time_of_day": 24, "day_of_week": 7}
_TARGETS = len(schema.TARGETS)
_CONTEXT = tuple(schema.FEATURES.index(name) for name in ("congestion_window", "queue_depth", "retransmits"))
_CALENDAR = tuple(schema.FEATURES.index(name) for name in CALENDAR_FEATURES)
LAYER_INPUTS = 2 * _TARGETS + len(_CONTEXT) + 2 * len(_CALENDAR)
"""Columns that the first layer sees: each target as level and as deviation from the anchor, the
context features, and the calendar as sines and cosines."""

_LARGEST_INPUT = 10.0
_LARGEST_LOG = 30.0
_SMALLEST_SCALE = 1e-3


@dataclass(frozen=True)
class Contract:
    """What a model takes and gives, beside the names and order in `schema`."""

    window_size: int = schema.WINDOW_SIZE
    horizon_minutes: int = schema.HORIZON_MINUTES
    cadence_seconds: int = schema.CADENCE_SECONDS

    @property
    def anchor_steps(self) -> int:
        """Samples in the last quarter of an hour, at most the window."""
        return max(1, min(self.window_size, round(ANCHOR_MINUTES * 60 / self.cadence_seconds)))


class GuideLayers(nn.Module):
    """The training guide's layers: LSTM 256, 128, 64, dense 128, 64, 32, 4.

    With 9 inputs they hold 540,516 parameters. Dropout between LSTMs is a layer of its own:
    `dropout=` on a one-layer `nn.LSTM` does nothing.
    """

    def __init__(self, inputs: int = LAYER_INPUTS) -> None:
        """`inputs`: columns of the sequence that goes in."""
        super().__init__()
        self.lstm1 = nn.LSTM(inputs, 256, batch_first=True)
        self.norm1 = nn.BatchNorm1d(256)
        self.lstm2 = nn.LSTM(256, 128, batch_first=True)
        self.norm2 = nn.BatchNorm1d(128)
        self.lstm3 = nn.LSTM(128, 64, batch_first=True)
        self.dropout = nn.Dropout(0.3)
        self.dense1 = nn.Linear(64, 128)
        self.norm3 = nn.BatchNorm1d(128)
        self.dense2 = nn.Linear(128, 64)
        self.dropout2 = nn.Dropout(0.21)
        self.dense3 = nn.Linear(64, 32)
        self.output = nn.Linear(32, _TARGETS)
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)

    def forward(self, sequence: Tensor) -> Tensor:
        """[batch, steps, inputs] to [batch, targets]."""
        hidden, _ = self.lstm1(sequence)
        hidden = self.dropout(self.norm1(hidden.transpose(1, 2)).transpose(1, 2))
        hidden, _ = self.lstm2(hidden)
        hidden = self.dropout(self.norm2(hidden.transpose(1, 2)).transpose(1, 2))
        hidden, _ = self.lstm3(hidden)
        dense = self.norm3(self.dropout(torch.relu(self.dense1(hidden[:, -1]))))
        dense = self.dropout2(torch.relu(self.dense2(dense)))
        output: Tensor = self.output(torch.relu(self.dense3(dense)))
        return output


class Forecaster(nn.Module):
    """Raw window in, raw forecast out; scaling is part of the graph, so no consumer can get it wrong."""

    level_mean: Tensor
    level_scale: Tensor
    typical_change: Tensor
    offset: Tensor

    def __init__(self, contract: Contract, layers: nn.Module | None = None) -> None:
        """Untrained and unscaled; `fit_transforms` measures the scales on training windows."""
        super().__init__()
        self.contract = contract
        self.layers = layers or GuideLayers()
        levels = _TARGETS + len(_CONTEXT)
        self.register_buffer("level_mean", torch.zeros(levels))
        self.register_buffer("level_scale", torch.ones(levels))
        self.register_buffer("typical_change", torch.ones(_TARGETS))
        self.register_buffer("offset", torch.tensor([schema.MAPE_FLOORS[name] for name in schema.TARGETS]))
        self.blend_logits = nn.Parameter(torch.zeros(len(ANCHORS), _TARGETS))

    def forward(self, window: Tensor) -> Tensor:
        """[batch, window_size, features] to [batch, targets], both in raw units.

        Loss comes out within [0, 1], the other targets at 0 or above.
        """
        logs = self.in_log_space(window)
        anchor = self.anchor(logs)
        change = self.layers(self._layer_inputs(window, logs, anchor))
        return self.to_raw(anchor + self.typical_change * change)

    def in_log_space(self, window: Tensor) -> Tensor:
        """[..., features] raw to [..., targets], as log(value + offset)."""
        return torch.log(window[..., :_TARGETS].clamp(min=0) + self.offset)

    def to_raw(self, logs: Tensor) -> Tensor:
        """[batch, targets] in log space back to raw units, within physical bounds."""
        raw = torch.exp(logs.clamp(max=_LARGEST_LOG)) - self.offset
        throughput, rtt, loss, jitter = raw.clamp(min=0).unbind(-1)
        return torch.stack((throughput, rtt, loss.clamp(max=1), jitter), dim=-1)

    def anchor(self, logs: Tensor) -> Tensor:
        """[batch, steps, targets] in log space to the blend [batch, targets]."""
        weights = torch.softmax(self.blend_logits, dim=0)
        return (self.anchors(logs) * weights).sum(dim=1)

    def anchors(self, logs: Tensor) -> Tensor:
        """[batch, steps, targets] to the simple forecasts [batch, len(ANCHORS), targets]."""
        steps = self.contract.anchor_steps
        recent = logs[:, -steps:]
        upper = torch.topk(recent, steps // 2 + 1, dim=1).values
        median = upper[:, -1] if steps % 2 else (upper[:, -1] + upper[:, -2]) / 2
        return torch.stack((logs[:, -1], recent.mean(dim=1), median), dim=1)

    def _layer_inputs(self, window: Tensor, logs: Tensor, anchor: Tensor) -> Tensor:
        deviation = (logs - anchor[:, None]) / self.typical_change
        levels = torch.cat((logs, torch.log1p(window[..., _CONTEXT].clamp(min=0))), dim=-1)
        levels = (levels - self.level_mean) / self.level_scale
        angles = [
            window[..., column] * (2 * math.pi / period)
            for column, period in zip(_CALENDAR, CALENDAR_FEATURES.values(), strict=True)
        ]
        calendar = torch.stack([function(angle) for angle in angles for function in (torch.sin, torch.cos)], dim=-1)
        inputs = torch.cat((deviation, levels), dim=-1).clamp(-_LARGEST_INPUT, _LARGEST_INPUT)
        return torch.cat((inputs, calendar), dim=-1)

    @torch.no_grad()
    def fit_transforms(self, windows: Tensor, targets: Tensor) -> None:
        """Measure scales and blend on training windows [n, steps, features] and targets [n, targets], raw units."""
        logs, actual = self.in_log_space(windows), self.in_log_space(targets)
        levels = torch.cat((logs, torch.log1p(windows[..., _CONTEXT].clamp(min=0))), dim=-1).flatten(0, 1)
        self.level_mean.copy_(levels.mean(dim=0))
        self.level_scale.copy_(levels.std(dim=0).clamp(min=_SMALLEST_SCALE))
        weights = _best_blend(self.anchors(logs), actual)
        self.blend_logits.copy_(torch.log(weights + 0.02))
        change = (actual - self.anchor(logs)).abs().mean(dim=0)
        self.typical_change.copy_(change.clamp(min=_SMALLEST_SCALE))

    def scaler_params(self) -> dict[str, Any]:
        """The transforms' parameters, for the metadata: all of them are inside the graph already."""
        context = [schema.FEATURES[column] for column in _CONTEXT]
        return {
            "inside_graph": True,
            "log_offset": dict(zip(schema.TARGETS, self.offset.tolist(), strict=True)),
            "level_columns": [*schema.TARGETS, *context],
            "level_mean": self.level_mean.tolist(),
            "level_scale": self.level_scale.tolist(),
            "typical_change": dict(zip(schema.TARGETS, self.typical_change.tolist(), strict=True)),
            "anchors": list(ANCHORS),
            "anchor_weights": dict(
                zip(schema.TARGETS, torch.softmax(self.blend_logits, 0).detach().T.tolist(), strict=True)
            ),
        }


def _best_blend(anchors: Tensor, actual: Tensor, parts: int = 10) -> Tensor:
    """[len(ANCHORS), targets], the weights on a grid with the least mean absolute error in log space.

    `anchors` [n, len(ANCHORS), targets], `actual` [n, targets].
    """
    grid = [
        (first / parts, second / parts, (parts - first - second) / parts)
        for first in range(parts + 1)
        for second in range(parts + 1 - first)
    ]
    candidates = torch.tensor(grid, dtype=anchors.dtype)
    errors = torch.stack(
        [((anchors * weights[:, None]).sum(dim=1) - actual).abs().mean(dim=0) for weights in candidates]
    )
    return candidates[errors.argmin(dim=0)].T


def parameter_count(model: nn.Module) -> int:
    """Number of trainable parameters."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def architecture() -> dict[str, Any]:
    """The layers as the guide's metadata lists them."""
    return {
        "type": "LSTM",
        "framework": "PyTorch",
        "layers": [
            {"type": "LSTM", "units": 256},
            {"type": "BatchNorm1d", "features": 256},
            {"type": "Dropout", "rate": 0.3},
            {"type": "LSTM", "units": 128},
            {"type": "BatchNorm1d", "features": 128},
            {"type": "Dropout", "rate": 0.3},
            {"type": "LSTM", "units": 64},
            {"type": "Linear", "units": 128, "activation": "relu"},
            {"type": "Dropout", "rate": 0.3},
            {"type": "BatchNorm1d", "features": 128},
            {"type": "Linear", "units": 64, "activation": "relu"},
            {"type": "Dropout", "rate": 0.21},
            {"type": "Linear", "units": 32, "activation": "relu"},
            {"type": "Linear", "units": 4, "activation": "linear"},
        ],
    }


def save_checkpoint(model: Forecaster, path: Path, extra: dict[str, Any]) -> None:
    """Write weights, contract and `extra` (plain values) to `path`, whole or not at all."""
    with atomic_path(path) as temporary:
        torch.save({"contract": asdict(model.contract), "state": model.state_dict(), **extra}, temporary)


def load_checkpoint(path: Path) -> Forecaster:
    """The model in a checkpoint; never runs code from the file (`weights_only=True`).

    Raises:
        ModelError: not a checkpoint of this model.
    """
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        model = Forecaster(Contract(**checkpoint["contract"]))
        model.load_state_dict(checkpoint["state"])
    except Exception as error:  # torch raises whatever a damaged file makes it raise
        raise ModelError(f"{path}: not a checkpoint of this model ({type(error).__name__}).") from error
    return model.eval()


def predict(model: Forecaster, windows: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """[n, window_size, features] to [n, targets] in raw units, by torch on the model's device."""
    device = model.offset.device
    with torch.inference_mode():
        output: npt.NDArray[np.float32] = (
            model(torch.from_numpy(np.ascontiguousarray(windows)).to(device)).cpu().numpy()
        )
    return output
