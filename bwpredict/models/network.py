"""The network: a stateful LSTM over features of a link, with a head of quantiles for several horizons.

    median = anchor + scale * (direct(x) + head(lstm(x)))                in log space

The anchor is the mean of the link's last few minutes, the scale its usual deviation; `simple` is a simple forecast
(last value, mean or median of 15 minutes), and the share, in [0, 1], is what validation confirms of the network. The
last layers start at zero, so an untrained network forecasts its anchor. Right after a jump the last value is served.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from bwpredict import schema
from bwpredict.models.features import (
    LEVELS,
    LONGEST_STEP,
    MEMORY_MINUTES,
    MEMORY_SIZE,
    RECENT_SAMPLES,
    SEQUENCE_INPUTS,
    SIMPLE_FORECASTS,
    TARGETS,
    WINDOW_INPUTS,
    FeatureLayer,
    Features,
)

HORIZONS_MINUTES = (1, 5, 15, 30, 60)
QUANTILES = (0.05, 0.5, 0.95)
STATE_VERSION = 3
"""Of the state's layout: a model refuses a state of another version."""
WARM_UP_MINUTES = 720
"""Until a stream's skill is within a point of what it is after days, where training did not measure it."""
MODES = ("cold", "warm")
"""A link of which there is little more than a window, and one that has been followed for hours."""
WINDOW_UNITS, WINDOW_DROPOUT = (256, 256, 256), 0.1
_LARGEST_LOG = 30.0
_SMALLEST_CHANGE = 1e-3
_LEAST_WIDTH = 0.1
"""Of a window whose samples are all the same, in typical changes."""
_KNOWN_EVERY = 7
"""Samples between the windows whose levels are looked at."""
_CHANGE_QUANTILES = (0.0005, 0.9995)


@dataclass(frozen=True)
class Architecture:
    """Sizes of the layers."""

    lstm: tuple[int, ...]
    """Units of each LSTM layer."""
    dense: tuple[int, ...]
    """Units of each dense layer of the head."""
    dropout: float
    normalised: bool = False
    """Whether layer normalisation follows each layer."""


ARCHITECTURES: dict[str, Architecture] = {
    "compact": Architecture(lstm=(96,), dense=(96,), dropout=0.1),
    "guide": Architecture(lstm=(256, 128, 64), dense=(128, 64, 32), dropout=0.3, normalised=True),
}


@dataclass(frozen=True)
class Contract:
    """What a model takes and gives, beside the names and order in `schema`."""

    window_size: int = schema.WINDOW_SIZE
    horizon_minutes: int = schema.HORIZON_MINUTES
    cadence_seconds: int = schema.CADENCE_SECONDS

    @property
    def horizons_steps(self) -> tuple[int, ...]:
        """How many samples ahead each forecast of the network is: those of `HORIZONS_MINUTES`, and the contract's."""
        steps = {round(minutes * 60 / self.cadence_seconds) for minutes in (*HORIZONS_MINUTES, self.horizon_minutes)}
        return tuple(sorted(steps - {0}))

    @property
    def horizons_minutes(self) -> tuple[float, ...]:
        """The same in minutes."""
        return tuple(steps * self.cadence_seconds / 60 for steps in self.horizons_steps)

    @property
    def place(self) -> int:
        """Which of the horizons is the contract's."""
        return self.horizons_steps.index(round(self.horizon_minutes * 60 / self.cadence_seconds))


class Raw(NamedTuple):
    """What training learns from, all in log space."""

    quantiles: Tensor
    """[batch, t, horizons, quantiles, targets], as the network says it."""
    features: Features
    state: Tensor
    """[batch, state size], after the last sample."""


class Forecast(NamedTuple):
    """What consumers get, in raw units, from the last sample on."""

    output: Tensor
    """[batch, targets], the median at the contract's horizon."""
    lower: Tensor
    upper: Tensor
    quantiles: Tensor
    """[batch, horizons, quantiles, targets]"""
    next_state: Tensor
    """[batch, state size]"""


class Forecaster(nn.Module):
    """Raw samples and a state in, raw forecasts and the next state out; all transforms are part of the graph."""

    def __init__(self, contract: Contract, architecture: str = "compact") -> None:
        """Untrained and unscaled; `fit_scales` measures the scales on training sequences."""
        super().__init__()
        self.contract, self.architecture = contract, architecture
        sizes = ARCHITECTURES[architecture]
        horizons = len(contract.horizons_steps)
        outputs = horizons * TARGETS * len(QUANTILES)
        self.features = FeatureLayer(contract.cadence_seconds, contract.window_size)
        self.lstm = nn.ModuleList(
            nn.LSTM(before, units, batch_first=True)
            for before, units in zip((SEQUENCE_INPUTS, *sizes.lstm), sizes.lstm, strict=False)
        )
        self.norm = nn.ModuleList(nn.LayerNorm(units) if sizes.normalised else nn.Identity() for units in sizes.lstm)
        self.head = _dense(sizes.lstm[-1], sizes, outputs)
        self.direct = nn.Linear(SEQUENCE_INPUTS, outputs)
        self.window_head = _window_head(outputs + horizons * TARGETS)
        self.precision = torch.float32
        """Of the dense layers' products in training; a forecast is always in float32."""
        for layer in (self.head[-1], self.direct, self.window_head[-1]):
            for parameter in layer.parameters():
                nn.init.zeros_(parameter)
        cells, modes = (horizons, TARGETS), len(MODES)
        self.change_bounds = nn.Buffer(torch.tensor([-1.0, 1.0])[:, None, None].repeat(1, *cells))
        self.change_width = nn.Buffer(torch.ones(cells))
        self.typical_change = nn.Buffer(torch.ones(cells))
        self.typical_level = nn.Buffer(torch.ones(TARGETS))
        self.level_drift = nn.Buffer(torch.zeros(LEVELS))
        self.memory_share = nn.Buffer(torch.tensor([0.0, 1.0])[:, None, None].repeat(1, *cells))
        self.network_share = nn.Buffer(torch.ones(modes, *cells))
        mean = torch.tensor([float("mean" in name) for name in SIMPLE_FORECASTS])
        self.simple_weights = nn.Buffer(mean[None, :, None, None].repeat(modes, 1, *cells))
        self.interval_factor = nn.Buffer(torch.ones(modes, 2, *cells))
        lowest, highest = (torch.from_numpy(bounds).float() for bounds in schema.physical_bounds(schema.TARGETS))
        self.lowest, self.highest = nn.Buffer(lowest, persistent=False), nn.Buffer(highest, persistent=False)
        self.warm_up_minutes = nn.Buffer(torch.tensor(WARM_UP_MINUTES))
        self.calibration_windows = nn.Buffer(torch.zeros((), dtype=torch.int64))

    @property
    def state_size(self) -> int:
        """Numbers for each link; all zero: a link that was never seen."""
        return MEMORY_SIZE + 2 * sum(ARCHITECTURES[self.architecture].lstm)

    def empty_state(self, links: int) -> Tensor:
        """[links, state size]: never seen."""
        return torch.zeros(links, self.state_size, device=self.change_width.device)

    def forward(self, samples: Tensor, state: Tensor) -> Forecast:
        """[batch, t, features] raw, NaN where a value is missing, and [batch, state size], to the forecasts.

        They are made from the last sample on. lower <= output <= upper holds whatever the samples; loss is within
        [0, 1], the other targets at 0 or above.
        """
        followed = self.follow(samples, state, last_only=True)
        logs = self.served(followed.quantiles, self.window_quantiles(followed.features), followed.features)
        quantiles = self.to_raw(logs.squeeze(1))
        lower, output, upper = quantiles.select(1, self.contract.place).unbind(1)
        return Forecast(output, lower, upper, quantiles, followed.state)

    def follow(self, samples: Tensor, state: Tensor, *, last_only: bool = False) -> Raw:
        """As `forward`, for each sample (or the last), from memory alone and in log space."""
        memory, hidden = state[..., :MEMORY_SIZE], state[..., MEMORY_SIZE:]
        features, memory = self.features(samples, memory)
        encoded, hidden = self._recurrent(features.sequence, hidden)
        if last_only:
            encoded, features = encoded[..., -1:, :], last_of(features)
        change = self._dense(self.direct, features.sequence) + self._dense(self.head, encoded)
        low, middle, high = _parted(change, len(QUANTILES))
        scale = features.scale.unsqueeze(2)
        moved = scale * features.movement.unsqueeze(2) * middle.clamp(*self.change_bounds)
        median = features.anchor.unsqueeze(2) + moved
        quantiles = _in_order(median, low, high, scale * self.change_width)
        return Raw(quantiles, features, torch.cat((memory, hidden), dim=1))

    def window_quantiles(
        self, features: Features, *, level_noise: Tensor | None = None, familiar: Tensor | None = None
    ) -> Tensor:
        """[batch, t, horizons, quantiles, targets] in log space, from the last samples alone."""
        inputs, anchor, spread = self.features.window_inputs(features, level_noise, familiar)
        low, middle, high, own = _parted(self._dense(self.window_head, inputs), len(QUANTILES) + 1)
        largest = self.features.usual_deviation[:TARGETS] * self.change_bounds
        moved = (self.typical_change * middle + spread.unsqueeze(2) * own).clamp(*largest)
        median = anchor.unsqueeze(2) + features.movement.unsqueeze(2) * moved
        noise = spread / self.features.usual_deviation[:TARGETS]
        return _in_order(median, low, high, self.typical_change * (_LEAST_WIDTH + noise).unsqueeze(2))

    def _dense(self, layers: nn.Module, inputs: Tensor) -> Tensor:
        """Dense layers, in training at `precision`. Levels, averages and the LSTM need float32's digits."""
        if not self.training or self.precision == torch.float32:
            return cast("Tensor", layers(inputs))
        with torch.autocast(inputs.device.type, self.precision):
            return cast("Tensor", layers(inputs)).float()

    def _recurrent(self, sequence: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """[batch, t, SEQUENCE_INPUTS] and [batch, 2 * units of all layers], to the last layer's output and the next."""
        units = ARCHITECTURES[self.architecture].lstm
        parts = torch.split(hidden, [size for size in units for _ in range(2)], dim=1)
        after = []
        for number, (layer, norm) in enumerate(zip(self.lstm, self.norm, strict=True)):
            before = [part.unsqueeze(0).contiguous() for part in parts[2 * number : 2 * number + 2]]
            sequence, state = layer(sequence, tuple(before))
            sequence = norm(sequence)
            after += [part.squeeze(0) for part in state]
        return sequence, torch.cat(after, dim=1)

    def network_quantiles(self, stream: Tensor, window: Tensor, features: Features) -> Tensor:
        """Both heads' quantiles [batch, t, horizons, quantiles, targets] as one, by how much memory counts."""
        return window + self._of_mode(self.memory_share, features).unsqueeze(-2) * (stream - window)

    def served(self, stream: Tensor, window: Tensor, features: Features) -> Tensor:
        """What is served of both heads' quantiles [batch, t, horizons, quantiles, targets], in log space."""
        low, middle, high = self.network_quantiles(stream, window, features).unbind(-2)
        simple = self.features.simple_forecasts(features.recent)
        weights = [self._of_mode(each, features) for each in self.simple_weights.unbind(1)]
        base = (torch.stack(weights, -2) * simple.unsqueeze(2)).sum(dim=-2)
        median = base + self._of_mode(self.network_share, features) * (middle - base)
        last = features.recent[..., -1:, :]
        median = last + features.settled.unsqueeze(2) * (median - last)
        below, above = (self._of_mode(each, features) for each in self.interval_factor.unbind(1))
        lower = median - below * (middle - low)
        upper = median + above * (high - middle)
        return torch.stack((lower, median, upper), dim=-2)

    def _of_mode(self, values: Tensor, features: Features) -> Tensor:
        """[modes, horizons, targets] to [batch, t, horizons, targets], between the modes by how mature memory is."""
        cold, warm = values.unbind()
        return cold + (warm - cold) * features.maturity.unsqueeze(2)

    def to_raw(self, logs: Tensor) -> Tensor:
        """[..., targets] in log space back to raw units, within physical bounds."""
        raw = torch.exp(logs.clamp(max=_LARGEST_LOG)) - self.features.offset[:TARGETS]
        return raw.clamp(self.lowest, self.highest)

    def in_log_space(self, targets: Tensor) -> Tensor:
        """[..., targets] raw to log space."""
        return torch.log(targets.clamp(min=0) + self.features.offset[:TARGETS])

    @torch.no_grad()
    def fit_scales(self, samples: Tensor, daily_levels: npt.NDArray[np.float32]) -> None:
        """Measure the scales on training sequences [n, t, features] in raw units, NaN where a value is missing.

        `daily_levels` [links, days, levels]: means in log space, NaN where there is none.
        """
        self.features.fit(samples)
        memory, parts = samples.new_zeros(len(samples), MEMORY_SIZE), []
        for step in torch.split(samples, LONGEST_STEP, dim=1):
            features, memory = self.features(step, memory)
            mean = features.recent[..., -self.features.mean_samples :, :].mean(dim=-2)
            known = torch.where(features.known > 0, mean, torch.nan)
            parts.append((features.anchor, features.scale, known))
        anchors, scales, known = (torch.cat(part, dim=1) for part in zip(*parts, strict=True))
        known = known[:, ::_KNOWN_EVERY].flatten(0, 1)
        self.features.fit_levels(known[torch.isfinite(known).all(dim=-1)])
        anchor, scale = anchors.numpy(), scales.numpy()
        levels = self.features.levels(samples)[..., :TARGETS].numpy()
        for place, steps in enumerate(self.contract.horizons_steps):
            ahead = levels[:, min(steps, levels.shape[1] - 1) :]
            count = ahead.shape[1]
            moved = ahead - levels[:, :count]
            if not np.isfinite(moved).any(axis=(0, 1)).all():  # too short for so far a horizon
                for values in (self.change_bounds[0], self.change_bounds[1], self.change_width, self.typical_change):
                    values[place] = values[place - 1]
                continue
            change = ((ahead - anchor[:, :count]) / scale[:, :count]).reshape(-1, TARGETS)
            self.change_bounds[:, place] = torch.from_numpy(np.nanquantile(change, _CHANGE_QUANTILES, axis=0))
            self.change_width[place] = _mean(np.abs(change), (0,))
            self.typical_change[place] = _mean(np.abs(moved), (0, 1))
        self.typical_level.copy_(_mean(np.exp(levels), (0, 1)))
        deviations = daily_levels - np.nanmean(daily_levels, axis=1, keepdims=True)
        self.level_drift.copy_(_mean(np.square(deviations), (0, 1)).sqrt() / self.features.level_spread)

    def scaler_params(self) -> dict[str, Any]:
        """The transforms' parameters, for the metadata: all of them are inside the graph already."""

        def by_target(values: Tensor) -> dict[str, Any]:
            return dict(zip(schema.TARGETS, values.movedim(-1, 0).tolist(), strict=True))

        return {
            "inside_graph": True,
            "log_offset": by_target(self.features.offset[:TARGETS]),
            "level_mean": self.features.level_mean.tolist(),
            "level_spread": self.features.level_spread.tolist(),
            "usual_deviation": self.features.usual_deviation.tolist(),
            "modes": list(MODES),
            "horizons_minutes": list(self.contract.horizons_minutes),
            "memory_share": by_target(self.memory_share),
            "network_share": by_target(self.network_share),
            "simple_forecasts": list(SIMPLE_FORECASTS),
            "simple_weights": by_target(self.simple_weights),
            "interval_factor": by_target(self.interval_factor),
        }


def _mean(values: npt.NDArray[np.float32], axes: tuple[int, ...]) -> Tensor:
    """The mean of what is not missing; never 0, since others are measured in units of it."""
    return torch.from_numpy(np.nanmean(values.astype(np.float64), axis=axes)).float().clamp(min=_SMALLEST_CHANGE**2)


def last_of(features: Features) -> Features:
    """Those of the last sample, [batch, 1, ...]."""
    return Features(*(part.narrow(1, part.shape[1] - 1, 1) for part in features))


def _parted(change: Tensor, parts: int) -> tuple[Tensor, ...]:
    """[batch, t, outputs] of a head to this many [batch, t, horizons, targets]."""
    return change.reshape(*change.shape[:2], -1, parts, TARGETS).unbind(-2)


def _in_order(median: Tensor, low: Tensor, high: Tensor, unit: Tensor) -> Tensor:
    """[batch, t, horizons, quantiles, targets]: widths are positive."""
    below, above = (unit * functional.softplus(part + 1.0) for part in (low, high))
    return torch.stack((median - below, median, median + above), dim=-2)


def _window_head(outputs: int) -> nn.Sequential:
    """Dense layers over the last samples."""
    layers: list[nn.Module] = []
    for inputs, units in itertools.pairwise((WINDOW_INPUTS, *WINDOW_UNITS)):
        layers += [nn.Linear(inputs, units), nn.LayerNorm(units), nn.SiLU(), nn.Dropout(WINDOW_DROPOUT)]
    return nn.Sequential(*layers, nn.Linear(WINDOW_UNITS[-1], outputs))


def _dense(inputs: int, sizes: Architecture, outputs: int) -> nn.Sequential:
    """The head: dropout on what comes in, then dense layers."""
    layers: list[nn.Module] = [nn.Dropout(sizes.dropout)]
    for units in sizes.dense:
        layers += [nn.Linear(inputs, units), nn.SiLU(), nn.LayerNorm(units) if sizes.normalised else nn.Identity()]
        inputs = units
    return nn.Sequential(*layers, nn.Linear(inputs, outputs))


def describe(architecture: str) -> dict[str, Any]:
    """The architecture as the metadata tells it: every layer with what it takes and gives."""
    sizes = ARCHITECTURES[architecture]
    layers: list[dict[str, Any]] = [{"type": "MovingAverages", "minutes": list(MEMORY_MINUTES)}]
    for units in sizes.lstm:
        layers += [{"type": "LSTM", "units": units}, *([{"type": "LayerNorm"}] if sizes.normalised else [])]
    layers.append({"type": "Dropout", "rate": sizes.dropout})
    for units in sizes.dense:
        layers += [{"type": "Dense", "units": units, "activation": "silu"}]
        layers += [{"type": "LayerNorm"}] if sizes.normalised else []
    layers.append({"type": "WindowHead", "samples": RECENT_SAMPLES, "units": list(WINDOW_UNITS)})
    layers.append({"type": "Quantiles", "horizons_minutes": list(HORIZONS_MINUTES), "quantiles": list(QUANTILES)})
    return {"type": f"streaming LSTM ({architecture})", "framework": "PyTorch", "layers": layers}


def parameter_count(model: nn.Module) -> int:
    """Number of trainable parameters."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def predict(model: Forecaster, windows: npt.NDArray[np.float32], batch: int = 1024) -> npt.NDArray[np.float32]:
    """[n, window_size, features] to [n, targets] in raw units, by torch on the model's device, from an empty state."""
    return predict_all(model, windows, batch)["output"]


def predict_all(
    model: Forecaster, windows: npt.NDArray[np.float32], batch: int = 1024
) -> dict[str, npt.NDArray[np.float32]]:
    """As `predict`, every field of `Forecast` by its name."""
    device = model.change_width.device
    made = []
    model.eval()
    with torch.inference_mode():
        for begin in range(0, max(1, len(windows)), batch):
            part = torch.from_numpy(np.ascontiguousarray(windows[begin : begin + batch])).to(device)
            made.append([value.cpu().numpy() for value in model(part, model.empty_state(len(part)))])
    return {name: np.concatenate(parts) for name, parts in zip(Forecast._fields, zip(*made, strict=True), strict=True)}
