"""Prediction intervals: outputs `lower` and `upper` beside `output`, in the same graph.

Split-conformal, for each target, in the model's log space (Lei et al., Distribution-Free Predictive
Inference for Regression, 2018, locally weighted, with a quantile of its own on each side):

    score = (actual - forecast) / scale(window)
    lower, upper = forecast + scale(window) * quantiles of the calibration part's scores

`scale` is a small function of the window, fitted on the validation part: links and hours that err more get
wider intervals. It, like the model, never sees the calibration part, so that calibration and later windows
stay exchangeable, as far as they are so at all. They are not quite: windows overlap, links share their
causes, and networks drift. So the guarantee of the method is the goal here and not a promise, and the
coverage that was measured on the test part stands in the comparison.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy.optimize import minimize
from torch import Tensor, nn

from bwpredict import schema
from bwpredict.datasets.windows import Split, WindowIndex
from bwpredict.errors import ModelError
from bwpredict.inference.confidence import FLOORS, FORMULA, confidence, overall_confidence
from bwpredict.models.checkpoint import read_checkpoint
from bwpredict.models.network import Forecaster, load_checkpoint
from bwpredict.store.files import atomic_path

__all__ = [
    "Intervals", "Served", "attach", "calibrate", "confidence", "conformal_quantiles", "describe", "fewest_scores",
    "fit_scale", "load_served", "overall_confidence", "why_none", "window_statistics",
]  # fmt: skip

Floats = npt.NDArray[np.float64]

STATISTICS = ("spread", "step", "change", "level")
"""Of a window, for each target, in log space: the logarithms of the mean distance to the window's mean, of
the mean minute-to-minute step, and of the forecast's distance to the last value; and the forecast itself."""
FITTED_WINDOWS = 10_000
CALIBRATION_WINDOWS = 20_000
_TARGETS = len(schema.TARGETS)
_BATCH = 1024
_SMALLEST_CHANGE = 1e-2
"""Added to a change before its logarithm, which would else turn the rounding of a constant window into a size."""
_SMALLEST_SPREAD = 0.05
_SMALLEST_ERROR = 1e-6
_SMALLEST_SHARE = 0.01
"""Errors below this share of the mean one count as that: that a target stands still somewhere, as loss does on an
idle link, must not make the scale there so small that its first change is a score beyond all others."""
_LARGEST_STATISTIC = 4.0
_RIDGE = 1e-3
_SMOOTHING = 0.05
_KEY = "intervals"
_EVERYTHING = 1e9
"""A quantile so large that the interval is all that is physically possible."""


class Intervals(nn.Module):
    """The scale of a window's errors, and the calibrated quantiles of the scores."""

    statistic_mean: Tensor
    statistic_scale: Tensor
    coefficients: Tensor
    log_scale: Tensor
    least_log_scale: Tensor
    largest_log_scale: Tensor
    lower_quantile: Tensor
    upper_quantile: Tensor

    def __init__(self, level: float = schema.INTERVAL_LEVEL) -> None:
        """Without a width, until `calibrate` fits it."""
        super().__init__()
        self.level = level
        self.calibration_windows = 0
        columns = len(STATISTICS) * _TARGETS
        self.register_buffer("statistic_mean", torch.zeros(columns))
        self.register_buffer("statistic_scale", torch.ones(columns))
        self.register_buffer("coefficients", torch.zeros(columns, _TARGETS))
        for name in ("log_scale", "least_log_scale", "largest_log_scale", "lower_quantile", "upper_quantile"):
            self.register_buffer(name, torch.zeros(_TARGETS))

    def forward(self, logs: Tensor, forecast: Tensor) -> tuple[Tensor, Tensor]:
        """Bounds [batch, targets] in log space; `logs` [batch, steps, targets], `forecast` [batch, targets]."""
        scale = self.scale(logs, forecast)
        return forecast + self.lower_quantile * scale, forecast + self.upper_quantile * scale

    def scale(self, logs: Tensor, forecast: Tensor) -> Tensor:
        """[batch, targets], how far off forecasts from such windows are; never beyond what was fitted on."""
        statistics = (window_statistics(logs, forecast) - self.statistic_mean) / self.statistic_scale
        statistics = statistics.clamp(-_LARGEST_STATISTIC, _LARGEST_STATISTIC)
        # Not a matrix product: quantisation would round its weights, and those of the scale are few.
        log_scale = self.log_scale + (statistics[..., None] * self.coefficients).sum(dim=-2)
        return torch.exp(torch.minimum(torch.maximum(log_scale, self.least_log_scale), self.largest_log_scale))

    def document(self) -> dict[str, Any]:
        """The parameters for the metadata; a quantile is null where the interval is all that is possible."""
        quantiles = {
            side: {
                name: value if abs(value) < _EVERYTHING else None
                for name, value in zip(schema.TARGETS, values.tolist(), strict=True)
            }
            for side, values in (("lower", self.lower_quantile), ("upper", self.upper_quantile))
        }
        return {
            "made": True,
            "reason": None,
            "level": self.level,
            "method": "split-conformal, scores divided by a scale fitted on the validation part, in log space",
            "calibration_windows": self.calibration_windows,
            "quantiles": quantiles,
            "scale": {
                "statistics": [f"{kind} of {target}" for kind in STATISTICS for target in schema.TARGETS],
                "mean": self.statistic_mean.tolist(),
                "scale": self.statistic_scale.tolist(),
                "coefficients": dict(zip(schema.TARGETS, self.coefficients.T.tolist(), strict=True)),
                "log_scale": dict(zip(schema.TARGETS, self.log_scale.tolist(), strict=True)),
            },
            "confidence": {"formula": FORMULA, "floors": dict(FLOORS)},
        }


class Served(nn.Module):
    """What consumers get: the forecast, and its interval where the model has one."""

    def __init__(self, forecaster: Forecaster, intervals: Intervals | None = None) -> None:
        """`intervals` None: the model gives forecasts only."""
        super().__init__()
        self.forecaster = forecaster
        self.intervals = intervals

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of what `forward` gives, in order."""
        return ("output",) if self.intervals is None else ("output", *schema.INTERVAL_OUTPUTS)

    def forward(self, window: Tensor) -> tuple[Tensor, ...]:
        """[batch, window_size, features] to [batch, targets] for each of `outputs`, all in raw units.

        lower <= output <= upper holds whatever the window, and all three keep the physical bounds.
        """
        forecaster = self.forecaster
        output = forecaster(window)
        if self.intervals is None:
            return (output,)
        lower, upper = self.intervals(forecaster.in_log_space(window), forecaster.in_log_space(output))
        return output, torch.minimum(forecaster.to_raw(lower), output), torch.maximum(forecaster.to_raw(upper), output)

    def predict(self, windows: npt.NDArray[np.float32]) -> dict[str, npt.NDArray[np.float32]]:
        """[n, window_size, features] to [n, targets] for each of `outputs`, by torch on the model's device."""
        device = self.forecaster.offset.device
        with torch.inference_mode():
            values = self(torch.from_numpy(np.ascontiguousarray(windows)).to(device))
        return {name: value.cpu().numpy() for name, value in zip(self.outputs, values, strict=True)}


def window_statistics(logs: Tensor, forecast: Tensor) -> Tensor:
    """[batch, len(STATISTICS) * targets] of `logs` [batch, steps, targets] and `forecast` [batch, targets]."""
    deviation = logs - logs[:, -1:]  # exactly zero for a constant window
    spread = (deviation - deviation.mean(dim=1, keepdim=True)).abs().mean(dim=1)
    step = (logs[:, 1:] - logs[:, :-1]).abs().mean(dim=1)
    change = (forecast - logs[:, -1]).abs()
    return torch.cat((torch.log(torch.cat((spread, step, change), dim=-1) + _SMALLEST_CHANGE), forecast), dim=-1)


def why_none(split: Split, level: float = schema.INTERVAL_LEVEL) -> str | None:
    """Why no intervals can be made from this split, in a sentence; None: they can.

    Neighbouring windows are nearly the same window, so those that do not overlap are counted.
    """
    part = split.parts.get("calibration")
    if part is None:
        return "The split has no calibration part, so there is nothing to calibrate intervals on."
    disjoint = len(part) // (part.window_size + part.horizon_steps)
    fewest = fewest_scores(level)
    if disjoint >= fewest:
        return None
    return (
        f"The calibration part is too small for {level:.0%} intervals: {len(part):,} windows,"
        f" of which about {disjoint} do not overlap; expected {fewest} of those."
    )


def describe(intervals: Intervals | None, split: Split) -> dict[str, Any]:
    """What the metadata says of the intervals; of none, why there are none."""
    if intervals is not None:
        return intervals.document()
    return {"made": False, "reason": why_none(split) or "The model was made without intervals."}


def fewest_scores(level: float) -> int:
    """How many scores it takes until the largest of them is the finite-sample quantile of one side."""
    tail = (1 - level) / 2
    return math.ceil(round((1 - tail) / tail, 9))


def calibrate(model: Forecaster, split: Split, *, absent: frozenset[str] = frozenset()) -> Intervals | None:
    """Intervals for this model: the scale from the validation part, the quantiles from the calibration part.

    The interval of an `absent` target, which was never measured, is all that is physically possible.
    None where `why_none` gives a reason.
    """
    if why_none(split) is not None:
        return None
    intervals = Intervals()
    fit_scale(intervals, *_in_log_space(model, split["validation"].spread(FITTED_WINDOWS)))
    logs, forecast, actual = _in_log_space(model, split["calibration"].spread(CALIBRATION_WINDOWS))
    scores = (actual - forecast) / intervals.scale(logs, forecast)
    lower, upper = conformal_quantiles(scores.double().numpy(), intervals.level)
    missing = np.array([name in absent for name in schema.TARGETS])
    intervals.lower_quantile.copy_(torch.from_numpy(np.where(missing, -_EVERYTHING, lower)))
    intervals.upper_quantile.copy_(torch.from_numpy(np.where(missing, _EVERYTHING, upper)))
    intervals.calibration_windows = len(scores)
    return intervals


def fit_scale(intervals: Intervals, logs: Tensor, forecast: Tensor, actual: Tensor) -> None:
    """Fit the scale: the size that a window's error stays within as often as the level says.

    A linear quantile regression of the error's logarithm, which errors near zero do not disturb.
    `logs` [n, steps, targets], `forecast` and `actual` [n, targets], in log space.
    """
    statistics = window_statistics(logs, forecast)
    intervals.statistic_mean.copy_(statistics.mean(dim=0))
    intervals.statistic_scale.copy_(statistics.std(dim=0).clamp(min=_SMALLEST_SPREAD))
    standard = (statistics - intervals.statistic_mean) / intervals.statistic_scale
    inputs = standard.clamp(-_LARGEST_STATISTIC, _LARGEST_STATISTIC).double().numpy()
    errors = (actual - forecast).abs().double().numpy()
    sizes = np.log(np.maximum(errors, np.maximum(_SMALLEST_SHARE * errors.mean(axis=0), _SMALLEST_ERROR)))
    for target in range(_TARGETS):
        weights = _quantile_regression(inputs, sizes[:, target], intervals.level)
        fitted = weights[0] + inputs @ weights[1:]
        intervals.log_scale[target] = float(weights[0])
        intervals.coefficients[:, target] = torch.from_numpy(weights[1:])
        intervals.least_log_scale[target] = float(fitted.min())
        intervals.largest_log_scale[target] = float(fitted.max())


def conformal_quantiles(scores: Floats, level: float) -> tuple[Floats, Floats]:
    """[targets] each: the bounds that a further score, exchangeable with `scores` [n, targets], keeps at `level`.

    Each side may be missed with half of 1 - level. Of n scores the upper bound is number
    ceil((n + 1) q) with q = 1 - (1 - level) / 2, and the lower one its mirror image.

    Raises:
        ValueError: fewer than `fewest_scores(level)` scores.
    """
    count = len(scores)
    rank = math.ceil(round((count + 1) * (1 - (1 - level) / 2), 9))
    if rank > count:
        raise ValueError(f"{count} scores are too few for {level:.0%}; expected {fewest_scores(level)}")
    ordered = np.sort(scores, axis=0)
    return ordered[count - rank], ordered[rank - 1]


def _quantile_regression(inputs: Floats, values: Floats, quantile: float) -> Floats:
    """[1 + columns], intercept and weights of the linear quantile regression; `inputs` [n, columns], standardised.

    The loss is smoothed around zero, so that a quasi-Newton method finds the one minimum.
    """
    design = np.column_stack((np.ones(len(inputs)), inputs))

    def loss(weights: Floats) -> tuple[float, Floats]:
        error = values - design @ weights
        smooth = quantile * error + _SMOOTHING * np.logaddexp(0, -error / _SMOOTHING)
        below = 0.5 * (1 - np.tanh(error / (2 * _SMOOTHING)))
        penalty = _RIDGE * weights
        penalty[0] = 0
        gradient = design.T @ (below - quantile) / len(design) + 2 * penalty
        return float(smooth.mean() + penalty @ weights), gradient

    start = np.zeros(design.shape[1])
    start[0] = np.quantile(values, quantile)
    return np.asarray(minimize(loss, start, jac=True, method="L-BFGS-B").x)


def _in_log_space(model: Forecaster, index: WindowIndex) -> tuple[Tensor, Tensor, Tensor]:
    """Windows [n, steps, targets], their forecasts and what came true [n, targets], in log space on the CPU."""
    device = model.offset.device
    batches = []
    with torch.inference_mode():
        for begin in range(0, len(index), _BATCH):
            which = slice(begin, begin + _BATCH)
            window = torch.from_numpy(index.inputs(which)).to(device)
            actual = torch.from_numpy(index.targets(which)).to(device)
            batches.append([model.in_log_space(values) for values in (window, model(window), actual)])
        logs, forecast, actual = (torch.cat(parts).cpu() for parts in zip(*batches, strict=True))
    return logs, forecast, actual


def attach(path: Path, intervals: Intervals | None) -> None:
    """Put the intervals into the checkpoint at `path`, or take them out of it (None)."""
    checkpoint = read_checkpoint(path)
    checkpoint.pop(_KEY, None)
    if intervals is not None:
        checkpoint[_KEY] = {
            "level": intervals.level,
            "calibration_windows": intervals.calibration_windows,
            "state": intervals.state_dict(),
        }
    with atomic_path(path) as temporary:
        torch.save(checkpoint, temporary)


def load_served(path: Path) -> Served:
    """The model in a checkpoint with its intervals, if it has any; never runs code from the file.

    Raises:
        ModelError: not a checkpoint of this model.
    """
    forecaster, stored = load_checkpoint(path), read_checkpoint(path).get(_KEY)
    if stored is None:
        return Served(forecaster).eval()
    try:
        intervals = Intervals(float(stored["level"]))
        intervals.calibration_windows = int(stored["calibration_windows"])
        intervals.load_state_dict(stored["state"])
    except Exception as error:  # torch raises whatever a damaged file makes it raise
        raise ModelError(f"{path}: its intervals are not of this model ({type(error).__name__}).") from error
    return Served(forecaster, intervals).eval()
