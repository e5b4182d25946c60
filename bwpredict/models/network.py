"""The network: trainable layers, and around them the transforms that make raw units go in and out.

The forecast is a change from an anchor, in log space and in units of the typical change:

    forecast = exp(anchor + typical_change * change_share * (highway(inputs) + layers(inputs))) - offset

The anchor is a blend of the last value and of means and medians, whichever two served best in training, and all
trainable parts start at zero: where nothing can be learnt, the model is its best simple baseline, be it the anchor or
another blend that served better in validation.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from bwpredict import schema
from bwpredict.core import encoding
from bwpredict.errors import ModelError
from bwpredict.models import least_absolute
from bwpredict.models.checkpoint import read_checkpoint
from bwpredict.models.layers import ARCHITECTURES, GuideLayers, Highway
from bwpredict.store.files import atomic_path

ANCHOR_MINUTES = 15
ANCHORS = ("last_value", "mean_15_minutes", "median_15_minutes", "mean_window", "median_window", "median_training")
CALENDAR_FEATURES = {"time_of_day": 24, "day_of_week": 7}
_TARGETS = len(schema.TARGETS)
_CONTEXT = tuple(schema.FEATURES.index(name) for name in ("congestion_window", "queue_depth", "retransmits"))
_CALENDAR = tuple(schema.FEATURES.index(name) for name in CALENDAR_FEATURES)
LAYER_INPUTS = 2 * _TARGETS + len(_CONTEXT) + 2 * len(_CALENDAR)
"""Columns that the first layer sees: each target as level and as deviation from the anchor, the
context features, and the calendar as sines and cosines."""

MEMBERS = 2
"""Dense nets of the highway: the first learns what levels tell as far as they last, the last is made to doubt them."""

_BLEND_PARTS = 10
_LARGEST_USUAL_SHARE = 0.4
"""Of the training's median in the anchor: levels move, and a forecast that hardly looks at the window is late."""
_KNOWN_WINDOWS = 512
_FAMILIAR_QUANTILE, _FAMILIAR_SAMPLE = 0.98, 2000
_CHANGE_QUANTILES = (0.0005, 0.9995)
_LEVEL_BINS = 48
_LARGEST_LAYER_INPUT = 10.0
_LARGEST_DEVIATION = 50.0
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


class Forecaster(nn.Module):
    """Raw window in, raw forecast out; scaling is part of the graph, so no consumer can get it wrong."""

    level_edges: Tensor
    level_mean: Tensor
    level_scale: Tensor
    level_drift: Tensor
    typical_change: Tensor
    change_bounds: Tensor
    change_share: Tensor
    anchor_weights: Tensor
    served_anchor_weights: Tensor
    usual_level: Tensor
    offset: Tensor
    typical_level: Tensor
    known_levels: Tensor
    familiar_within: Tensor
    layers: GuideLayers | None

    def __init__(self, contract: Contract, architecture: str = "guide") -> None:
        """Untrained and unscaled; `fit_transforms` measures the scales on training windows."""
        super().__init__()
        self.contract = contract
        self.doubted_share = 0.0
        """Share of the windows whose levels the last member of the highway, and the layers, are given wrong ones of in
        training: what they learn then holds for links whose levels training never saw, and for those that drift."""
        self.drift_scale = 0.0
        """By how many times a link's usual drift from day to day the levels are moved in training."""
        steps = contract.window_size
        columns, encoded = steps * (LAYER_INPUTS + _TARGETS), _TARGETS * (_LEVEL_BINS + 2 * steps)
        self.highway = Highway(columns, encoded, MEMBERS)
        self.layers = GuideLayers(LAYER_INPUTS) if architecture == "guide" else None
        levels = _TARGETS + len(_CONTEXT)
        self.register_buffer("level_edges", torch.linspace(0, 1, _LEVEL_BINS + 1).repeat(_TARGETS, 1))
        self.register_buffer("level_mean", torch.zeros(levels))
        self.register_buffer("level_scale", torch.ones(levels))
        self.register_buffer("level_drift", torch.zeros(levels))
        self.register_buffer("typical_change", torch.ones(_TARGETS))
        self.register_buffer("typical_level", torch.ones(_TARGETS))
        self.register_buffer("known_levels", torch.zeros(_KNOWN_WINDOWS, _TARGETS))
        self.register_buffer("familiar_within", torch.ones(()))
        self.register_buffer("change_bounds", torch.tensor([[-1.0], [1.0]]).repeat(1, _TARGETS))
        self.register_buffer("change_share", torch.ones(_TARGETS))
        self.register_buffer("usual_level", torch.zeros(_TARGETS))
        self.register_buffer("anchor_weights", torch.full((len(ANCHORS), _TARGETS), 1 / len(ANCHORS)))
        self.register_buffer("served_anchor_weights", self.anchor_weights.clone())
        self.register_buffer("offset", torch.tensor([schema.MAPE_FLOORS[name] for name in schema.TARGETS]))

    @property
    def architecture(self) -> str:
        """One of `layers.ARCHITECTURES`."""
        return "dense" if self.layers is None else "guide"

    def forward(self, window: Tensor) -> Tensor:
        """[batch, window_size, features] to [batch, targets], both in raw units.

        Loss comes out within [0, 1], the other targets at 0 or above.
        """
        anchors, change = self._anchors_and_change(window)
        anchor = (anchors * self.served_anchor_weights).sum(dim=1)
        return self.to_raw(anchor + self.typical_change * self.bounded(self.change_share * change))

    def anchor_and_change(self, window: Tensor) -> tuple[Tensor, Tensor]:
        """[batch, window_size, features] to the anchor in log space and what the trained parts add, in typical changes.

        Both [batch, targets].
        """
        anchors, change = self._anchors_and_change(window)
        return self.blend(anchors), change

    def _anchors_and_change(self, window: Tensor) -> tuple[Tensor, Tensor]:
        anchors, sequence, encoded = self._prepared(window)
        change: Tensor = self.highway(_columns(sequence), encoded, self.trust(self.blend(anchors)))
        if self.layers is not None:
            change = change + self.layers(sequence.clamp(-_LARGEST_LAYER_INPUT, _LARGEST_LAYER_INPUT))
        return anchors, change

    def members_difference(self, window: Tensor) -> Tensor:
        """[batch, window_size, features] to what the members that trust levels add to the last one [batch, targets]."""
        _, sequence, encoded = self._prepared(window)
        _, difference = self.highway.last_and_difference(_columns(sequence), encoded)
        return difference

    def _prepared(self, window: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The simple forecasts, as `anchors`, and what the trained parts see: the sequence and the encoded columns."""
        logs = self.in_log_space(window)
        anchors = self.anchors(logs)
        anchor = self.blend(anchors)
        deviation = (logs - anchor[:, None]) / self.typical_change
        sequence = self._sequence(deviation, self._levels(window, logs), window)
        return anchors, sequence, self._encoded(deviation, anchor)

    def anchor_and_changes(self, window: Tensor) -> tuple[Tensor, Tensor]:
        """For training: the anchor [batch, targets], and the change with each member alone [members, batch, targets].

        Each member is to be right by itself. Levels are moved as links drift from day to day; for the last member
        `doubted_share` of them are wrong instead.
        """
        logs = self.in_log_space(window)
        anchor, levels = self.anchor(logs), self._levels(window, logs)
        deviation = (logs - anchor[:, None]) / self.typical_change
        changes = []
        for number in range(MEMBERS):
            shift = self._doubt(levels) if number == MEMBERS - 1 else self._drifted(levels)
            sequence = self._sequence(deviation, levels + shift[:, None], window)
            encoded = self._encoded(deviation, anchor + shift[:, :_TARGETS])
            changes.append(self.highway.of_member(number, _columns(sequence), encoded))
        stacked = torch.stack(changes)
        if self.layers is not None:
            stacked = stacked + self.layers(sequence.clamp(-_LARGEST_LAYER_INPUT, _LARGEST_LAYER_INPUT))
        return anchor, stacked

    def trust(self, anchor: Tensor) -> Tensor:
        """[batch, targets] in log space to [batch, 1]: 1 where training saw such levels often, down to 0 where never.

        What training learnt of the links that it saw says nothing about a new one, or one that was rebuilt.
        """
        return (2 - 2 * self._strangeness(anchor) / self.familiar_within).clamp(0, 1)

    def _strangeness(self, anchor: Tensor) -> Tensor:
        """[batch, 1], the largest difference of any level from the most similar known window, in typical changes."""
        differences = (anchor[:, None] - self.known_levels).abs() / self.typical_change
        return differences.amax(dim=-1).amin(dim=-1, keepdim=True)

    def bounded(self, change: Tensor) -> Tensor:
        """The change within what training has seen: a window unlike any of those must not make it explode."""
        return torch.clamp(change, self.change_bounds[0], self.change_bounds[1])

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
        return self.blend(self.anchors(logs))

    def blend(self, anchors: Tensor) -> Tensor:
        """[batch, len(ANCHORS), targets], as `anchors`, to the anchor [batch, targets]."""
        return (anchors * self.anchor_weights).sum(dim=1)

    def anchors(self, logs: Tensor) -> Tensor:
        """[batch, steps, targets] to the simple forecasts [batch, len(ANCHORS), targets]."""
        recent = logs[:, -self.contract.anchor_steps :]
        last, usual = logs[:, -1], self.usual_level.expand_as(logs[:, -1])
        simple = (last, recent.mean(dim=1), encoding.median(recent), logs.mean(dim=1), encoding.median(logs), usual)
        return torch.stack(simple, dim=1)

    def _levels(self, window: Tensor, logs: Tensor) -> Tensor:
        return torch.cat((logs, torch.log1p(window[..., _CONTEXT].clamp(min=0))), dim=-1)

    def levels(self, samples: Tensor) -> Tensor:
        """[..., features] raw to [..., levels]: what tells links apart, the targets and the context in log space."""
        return self._levels(samples, self.in_log_space(samples))

    def _drifted(self, levels: Tensor) -> Tensor:
        """[batch, levels]: moved as far as from one day to another, so that no net learns single days by heart.

        Training with noise on the inputs is a penalty on how much they matter (Bishop, Neural Computation 7, 1995).
        """
        return torch.randn_like(levels[:, 0]) * (self.drift_scale * self.level_drift)

    def _doubt(self, levels: Tensor) -> Tensor:
        """[batch, levels], 0 for most windows: for the others each level is moved by itself, as if of another link.

        Levels that do not belong together tell that the link is unknown (in the sense of DropoutNet, Volkovs et al.,
        NeurIPS 2017, which trains for items without a history by leaving their identity out).
        """
        chosen = torch.rand(len(levels), 1, device=levels.device) < self.doubted_share
        return chosen * torch.randn_like(levels[:, 0]) * self.level_scale

    def _sequence(self, deviation: Tensor, levels: Tensor, window: Tensor) -> Tensor:
        """[batch, steps, LAYER_INPUTS]: deviations, levels of about unit size, and the calendar."""
        levels = (levels - self.level_mean) / self.level_scale
        angles = [
            window[..., column] * (2 * math.pi / period)
            for column, period in zip(_CALENDAR, CALENDAR_FEATURES.values(), strict=True)
        ]
        calendar = torch.stack([function(angle) for angle in angles for function in (torch.sin, torch.cos)], dim=-1)
        levels = levels.clamp(-_LARGEST_LAYER_INPUT, _LARGEST_LAYER_INPUT)
        return torch.cat((deviation, levels, calendar), dim=-1)

    def _encoded(self, deviation: Tensor, anchor: Tensor) -> Tensor:
        """[batch, encoded]: what the dense part sees beside `_columns`."""
        fine = encoding.zoomed(deviation)
        levels = encoding.piecewise_linear(anchor, self.level_edges)
        return torch.cat((levels, fine.flatten(1), encoding.ordered(fine).flatten(1)), dim=1)

    @torch.no_grad()
    def fit_transforms(self, windows: Tensor, targets: Tensor) -> None:
        """Measure scales and blend, and solve the highway's linear part, on training windows in raw units.

        `windows` [n, steps, features] in order of link and time, `targets` [n, targets].
        """
        logs, actual = self.in_log_space(windows), self.in_log_space(targets)
        levels = self._levels(windows, logs)
        self.level_mean.copy_(levels.mean(dim=(0, 1)))
        self.level_scale.copy_(levels.flatten(0, 1).std(dim=0).clamp(min=_SMALLEST_SCALE))
        self.usual_level.copy_(actual.median(dim=0).values)
        self.anchor_weights.copy_(_best_blend(self.anchors(logs), actual))
        self.served_anchor_weights.copy_(self.anchor_weights)
        anchor = self.anchor(logs)
        self.level_edges.copy_(encoding.bin_edges(anchor, _LEVEL_BINS))
        self.typical_level.copy_(torch.exp(anchor).mean(dim=0))
        self.typical_change.copy_((actual - anchor).abs().mean(dim=0).clamp(min=_SMALLEST_SCALE))
        self._get_to_know(anchor)
        change = (actual - anchor) / self.typical_change
        self.change_bounds.copy_(torch.quantile(change, torch.tensor(_CHANGE_QUANTILES), dim=0))
        deviation = (logs - anchor[:, None]) / self.typical_change
        columns = _columns(self._sequence(deviation, levels, windows))
        weights, biases = least_absolute.fit(columns.numpy(), change.numpy())
        self.highway.linear.weight.copy_(torch.from_numpy(weights))
        self.highway.linear.bias.copy_(torch.from_numpy(biases))

    def _get_to_know(self, anchor: Tensor) -> None:
        """Keep the levels of some windows [n, targets], and how far from them nearly all the others are."""

        def spread(count: int) -> Tensor:
            return anchor[torch.linspace(0, len(anchor) - 1, count).long()]

        self.known_levels.copy_(spread(_KNOWN_WINDOWS))
        strangeness = self._strangeness(spread(_FAMILIAR_SAMPLE))
        self.familiar_within.copy_(torch.quantile(strangeness, _FAMILIAR_QUANTILE).clamp(min=1.0))

    def scaler_params(self) -> dict[str, Any]:
        """The transforms' parameters, for the metadata: all of them are inside the graph already."""
        context = [schema.FEATURES[column] for column in _CONTEXT]

        def by_target(values: Tensor) -> dict[str, Any]:
            return dict(zip(schema.TARGETS, values.transpose(0, -1).tolist(), strict=True))

        return {
            "inside_graph": True,
            "log_offset": by_target(self.offset),
            "level_columns": [*schema.TARGETS, *context],
            "level_mean": self.level_mean.tolist(),
            "level_scale": self.level_scale.tolist(),
            "typical_change": by_target(self.typical_change),
            "typical_level": by_target(self.typical_level),
            "familiar_within": float(self.familiar_within),
            "change_bounds": by_target(self.change_bounds),
            "change_share": by_target(self.change_share),
            "largest_difference_of_members": by_target(self.highway.largest_difference),
            "anchors": list(ANCHORS),
            "anchor_weights": by_target(self.anchor_weights),
            "served_anchor_weights": by_target(self.served_anchor_weights),
        }


def _columns(sequence: Tensor) -> Tensor:
    """[batch, steps, LAYER_INPUTS], deviations first, to the highway's columns: the sequence, and those by size."""
    sequence = sequence.clamp(-_LARGEST_DEVIATION, _LARGEST_DEVIATION)
    return torch.cat((sequence.flatten(1), encoding.ordered(sequence[..., :_TARGETS]).flatten(1)), dim=1)


def anchor_blends() -> Tensor:
    """[blends, len(ANCHORS)], the weights of all blends of at most two anchors that are tried."""
    alone = torch.eye(len(ANCHORS))
    shares = [part / _BLEND_PARTS for part in range(1, _BLEND_PARTS)]
    pairs = itertools.combinations(alone, 2)
    blends = torch.stack([*alone, *(share * one + (1 - share) * other for one, other in pairs for share in shares)])
    return blends[blends[:, ANCHORS.index("median_training")] <= _LARGEST_USUAL_SHARE]


def _best_blend(anchors: Tensor, actual: Tensor) -> Tensor:
    """[len(ANCHORS), targets], the blend with the least error, relative and raw ones alike.

    `anchors` [n, len(ANCHORS), targets] and `actual` [n, targets] in log space.
    """
    relative, raw = [], []
    candidates = anchor_blends()
    for blend in candidates:
        forecast = torch.einsum("nat,a->nt", anchors, blend)
        relative.append((forecast - actual).abs().mean(dim=0))
        raw.append((forecast.exp() - actual.exp()).abs().mean(dim=0))
    return candidates[(_over_the_least(relative) + _over_the_least(raw)).argmin(dim=0)].T


def _over_the_least(errors: list[Tensor]) -> Tensor:
    """[candidates, targets], each error in units of its target's least one."""
    stacked = torch.stack(errors)
    return stacked / stacked.amin(dim=0).clamp(min=_SMALLEST_SCALE * 1e-3)


def parameter_count(model: nn.Module) -> int:
    """Number of trainable parameters."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def save_checkpoint(model: Forecaster, path: Path, extra: dict[str, Any]) -> None:
    """Write weights, contract, architecture and `extra` (plain values) to `path`, whole or not at all."""
    described = {"contract": asdict(model.contract), "architecture": model.architecture}
    with atomic_path(path) as temporary:
        torch.save({**described, "state": model.state_dict(), **extra}, temporary)


def load_checkpoint(path: Path) -> Forecaster:
    """The model in a checkpoint; never runs code from the file (`weights_only=True`).

    Raises:
        ModelError: not a checkpoint of this model.
    """
    checkpoint = read_checkpoint(path)
    try:
        if checkpoint["architecture"] not in ARCHITECTURES:
            raise ValueError(checkpoint["architecture"])
        model = Forecaster(Contract(**checkpoint["contract"]), checkpoint["architecture"])
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
