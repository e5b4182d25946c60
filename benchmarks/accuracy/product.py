"""Ours, as the product makes and serves it: trained by its own training, forecasts from the ONNX file."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from accuracy.task import Array, Entry, Fit, Fitted, Task
from bwpredict.config import TrainingConfig, load
from bwpredict.datasets.windows import WindowIndex
from bwpredict.inference import onnx_model
from bwpredict.models.onnx_export import export_onnx, model_properties
from bwpredict.training.trainer import train

VARIANTS: dict[str, dict[str, Any]] = {"bwpredict": {}}
"""Name of a row → what differs from the default TrainingConfig. The first is the product as it is."""

HIGHWAY_EPOCHS = 6
"""Most epochs of the highway for each one of the budget: they take little time."""


def entries() -> list[Entry]:
    """A row for each of `VARIANTS`."""
    return [Entry(name, fit_with(overrides), ours=True) for name, overrides in VARIANTS.items()]


def training_config(task: Task, overrides: Mapping[str, Any]) -> TrainingConfig:
    """The default configuration, shortened to the budget's epochs and changed by `overrides`. Raises ConfigError."""
    train_part, default = task.train, TrainingConfig()
    terms = {
        "epochs": min(default.epochs, task.budget.epochs),
        "highway_epochs": min(default.highway_epochs, HIGHWAY_EPOCHS * task.budget.epochs),
        "windows_per_epoch": task.budget.windows,
        "validation_windows": task.budget.validation_windows,
        "window_size": train_part.window_size,
        "horizon_minutes": max(1, round(train_part.horizon_steps * train_part.frame.cadence_seconds / 60)),
        "seed": task.seed,
    }
    return load(TrainingConfig, {**terms, **overrides}, origin="variant")


def fit_with(overrides: Mapping[str, Any]) -> Fit:
    """A fit of the product with these changes to its configuration."""

    def fit(task: Task) -> Fitted:
        with tempfile.TemporaryDirectory() as folder:
            result = train(task.split, training_config(task, overrides), Path(folder, "best.pth"), absent=task.absent)
            path = Path(folder, "model.onnx")
            export_onnx(result.model, path, model_properties(result.model, version="benchmark", snapshot_id="none"))
            onnx = path.read_bytes()
        return Fitted(_serve(onnx), result.history["parameters"], f"epoch {result.history['best_epoch']}")

    return fit


def _serve(onnx: bytes) -> Any:
    """Forecasts from the file's bytes, which are on disk only while they are read."""

    def forecast(index: WindowIndex) -> Array:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "model.onnx")
            path.write_bytes(onnx)
            return onnx_model.forecast(path, index)

    return forecast
