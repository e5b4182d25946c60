"""Ours, as the product makes and serves it: trained by its own training, forecasts from the ONNX files.

Two rows are of one training: windows from an empty state, and streams whose state is carried over the days before.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import onnxruntime as ort
import torch

from accuracy.task import Array, Budget, Entry, Fit, Fitted, Task
from bwpredict.config import TrainingConfig, load
from bwpredict.datasets.windows import WindowIndex
from bwpredict.inference import onnx_model
from bwpredict.inference.stream_model import StreamModel, forecast_stream, open_stream, stream_with
from bwpredict.models.network import Forecaster
from bwpredict.models.onnx_export import export_onnx, model_properties
from bwpredict.training.trainer import train

VARIANTS: dict[str, dict[str, Any]] = {"bwpredict": {}}
"""Name of a row → what differs from the default TrainingConfig. The first is the product as it is."""
STREAM = "bwpredict stream"


def entries() -> list[Entry]:
    """A row for each of `VARIANTS`, and the stream of the first."""
    rows = [Entry(name, fit_with(overrides), ours=True) for name, overrides in VARIANTS.items()]
    return [*rows, Entry(STREAM, fit_with({}, stream=True), ours=True)]


def training_config(task: Task, overrides: Mapping[str, Any]) -> TrainingConfig:
    """The default configuration, shortened to the budget's epochs and changed by `overrides`. Raises ConfigError."""
    train_part, default = task.train, TrainingConfig()
    terms = {
        "epochs": min(default.epochs, task.budget.epochs),
        "windows_per_epoch": round(default.windows_per_epoch * task.budget.windows / Budget().windows),
        "validation_windows": task.budget.validation_windows,
        "window_size": train_part.window_size,
        "horizon_minutes": max(1, round(train_part.horizon_steps * train_part.frame.cadence_seconds / 60)),
        "seed": task.seed,
    }
    return load(TrainingConfig, {**terms, **overrides}, origin="variant")


def fit_with(overrides: Mapping[str, Any], *, stream: bool = False) -> Fit:
    """A fit of the product with these changes to its configuration."""

    def fit(task: Task) -> Fitted:
        windows, streams, parameters, choice = _trained(_Key(task, overrides))
        serve = _serve_stream if stream else _serve_windows
        return Fitted(serve(streams if stream else windows), parameters, choice)

    return fit


class _Key:
    """One training: the same split, seed and overrides are the same one."""

    def __init__(self, task: Task, overrides: Mapping[str, Any]) -> None:
        self.task, self.overrides = task, overrides
        self._identity = (id(task.split), task.seed, task.budget, str(sorted(overrides.items())))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Key) and self._identity == other._identity

    def __hash__(self) -> int:
        return hash(self._identity)


def trained_network(task: Task, overrides: Mapping[str, Any]) -> Forecaster:
    """The product's network with these changes to its configuration, not exported."""
    with tempfile.TemporaryDirectory() as folder:
        config = training_config(task, overrides)
        return train(task.split, config, Path(folder, "best.pth"), absent=task.absent).model


def stream_in_torch(model: Forecaster) -> StreamModel:
    """What `open_stream` gives of the network's stream file, without the seconds that an export takes."""
    properties = model_properties(model, version="torch", snapshot_id="none")
    return stream_with(cast("ort.InferenceSession", _Torch(model)), properties, name="torch", version="torch")


@dataclass(frozen=True)
class _Torch:
    """In place of an ONNX Runtime session."""

    model: Forecaster

    def run(self, names: list[str], feeds: dict[str, Array]) -> list[Array]:
        with torch.inference_mode():
            made = self.model(*(torch.from_numpy(feeds[name]) for name in ("input", "state")))
        return [getattr(made, name).numpy() for name in names]


@lru_cache(maxsize=2)
def _trained(key: _Key) -> tuple[bytes, bytes, int, str]:
    """Window file, stream file, number of parameters, and the epoch that was kept."""
    task = key.task
    with tempfile.TemporaryDirectory() as folder:
        config = training_config(task, key.overrides)
        result = train(task.split, config, Path(folder, "best.pth"), absent=task.absent)
        properties = model_properties(result.model, version="benchmark", snapshot_id="none")
        windows, stream = Path(folder, "model.onnx"), Path(folder, "stream.onnx")
        export_onnx(result.model, windows, properties, stream=stream)
        files = windows.read_bytes(), stream.read_bytes()
    return *files, result.history["parameters"], f"epoch {result.history['best_epoch']}"


def _serve_windows(onnx: bytes) -> Callable[[WindowIndex], Array]:
    """Forecasts from the file's bytes, which are on disk only while they are read."""

    def forecast(index: WindowIndex) -> Array:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "model.onnx")
            path.write_bytes(onnx)
            return onnx_model.forecast(path, index)

    return forecast


def _serve_stream(onnx: bytes) -> Callable[[WindowIndex], Array]:
    """Forecasts of streams that are followed from days before the first window on."""

    def forecast(index: WindowIndex) -> Array:
        return forecast_stream(open_stream(onnx, threads=1), index).output

    return forecast
