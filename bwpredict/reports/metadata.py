"""The training guide's two documents about a model, with what this project adds to them.

`model_metadata_<version>.json` is everything a consumer or an auditor needs to know of the model,
`bandwidth_predictor_report.json` the summary. Both are pure functions of other documents.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata as distributions
from pathlib import Path
from typing import Any

from bwpredict import schema
from bwpredict.config import IMPORTED_PATHS, RunConfig
from bwpredict.core.guide import GUIDE_CORRELATION, GUIDE_MAPE_PERCENT
from bwpredict.reports.tables import unforecastable
from bwpredict.store.files import sha256_of

Document = dict[str, Any]

MODEL_NAME = "bandwidth_predictor"
BYTES_PER_MB = 1_000_000


@dataclass(frozen=True)
class Artifact:
    """Properties of the exported model."""

    onnx: str
    """Name of the ONNX file."""
    sha256: str
    size_bytes: int
    architecture: Mapping[str, Any]
    """`type`, `framework` and `layers`, as `model.architecture()` gives them."""
    parameters: int
    scaler_params: Mapping[str, Any]
    """As `Forecaster.scaler_params()` gives them: inside the graph already."""
    intervals: Mapping[str, Any]
    """As `intervals.describe()` gives it."""
    streaming: Mapping[str, Any] | None
    """As `onnx_export.streaming_contract()` gives it; None: the model has no file for streams."""


def model_metadata(
    *,
    run: RunConfig,
    artifact: Artifact,
    snapshot: Mapping[str, Any],
    split: Mapping[str, Any],
    history: Mapping[str, Any] | None,
    comparison: Mapping[str, Any],
    environment: Mapping[str, Any],
    filled: Mapping[str, float] | None = None,
    cadence_seconds: int = schema.CADENCE_SECONDS,
    calendar: schema.Calendar = schema.CALENDAR,
    profile: str | None = "profile.json",
    compression: Mapping[str, Any] | None = None,
    trained_elsewhere: Mapping[str, Any] | None = None,
) -> Document:
    """The `model_metadata` document of the challenger of one run.

    Args:
        split: as `windows.Split.describe` gives it.
        history: of the training; None for a model trained elsewhere.
        environment: as `measure_environment` gives it.
        filled: features that the telemetry lacks, or targets that training never sees change, with their constant.
        calendar: what its calendar columns follow.
        profile: name of the reference profile beside this document.
        compression: the document of that kind; None: not quantised.
        trained_elsewhere: the `imported_model` document; None: the run trained the model.
    """
    metrics = _performance(comparison)
    if trained_elsewhere:
        split = {**split, "parts": {"test": split["parts"]["test"]}}
    return {
        "version": run.version,
        "created_at": run.created_at,
        "training_duration_seconds": history["duration_seconds"] if history else None,
        "model_size_mb": round(artifact.size_bytes / BYTES_PER_MB, 3),
        "target_achieved": metrics["overall"]["target_met"],
        "training_config": _training_config(run),
        "performance_metrics": metrics,
        "warnings": unforecastable(comparison),
        "model_architecture": _architecture(artifact, run.training.window_size),
        "features": list(schema.FEATURES),
        "targets": list(schema.TARGETS),
        "scaler_params": dict(artifact.scaler_params),
        "contract": _contract(run, cadence_seconds, calendar, artifact.intervals),
        "intervals": dict(artifact.intervals),
        **({"streaming": dict(artifact.streaming)} if artifact.streaming else {}),
        **({"trained_elsewhere": dict(trained_elsewhere)} if trained_elsewhere else {}),
        "data": _data(snapshot, split),
        "filled_features": dict(filled or {}),
        "mape_floors": dict(schema.MAPE_FLOORS),
        "onnx": {"name": artifact.onnx, "sha256": artifact.sha256, "size_bytes": artifact.size_bytes},
        "compression": dict(compression) if compression else None,
        "profile": profile,
        "seed": run.training.seed if history else None,
        "code_version": run.code_version,
        "environment": {**environment, **{key: history[key] if history else None for key in ("device", "threads")}},
        "run": run.model_dump(mode="json", exclude={"imported": IMPORTED_PATHS}),
    }


def _architecture(artifact: Artifact, window_size: int) -> Document:
    return {
        **artifact.architecture,
        "input_shape": ["batch", window_size, len(schema.FEATURES)],
        "output_shape": ["batch", len(schema.TARGETS)],
        "total_parameters": artifact.parameters,
    }


def predictor_report(metadata: Mapping[str, Any]) -> Document:
    """The guide's `bandwidth_predictor_report` document, from the model's metadata."""
    overall = metadata["performance_metrics"]["overall"]
    return {
        "model": MODEL_NAME,
        "version": metadata["version"],
        "success": metadata["target_achieved"],
        "achieved_metrics": {
            "correlation": overall["average_correlation"],
            "mape": overall["average_mape"],
            "accuracy_percent": overall["accuracy_percent"],
        },
        "target_metrics": {"correlation": GUIDE_CORRELATION, "mape": GUIDE_MAPE_PERCENT},
        "training_time_seconds": metadata["training_duration_seconds"],
        "model_size_mb": metadata["model_size_mb"],
        "detailed_metrics": metadata["performance_metrics"]["per_target"],
    }


def measure_environment(lock: Path | None = None) -> Document:
    """Versions of what decides the weights, and the sha256 of the lock file, if there is one."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        **{name: _installed_version(name) for name in ("torch", "numpy", "onnxruntime")},
        "lock_sha256": sha256_of(lock) if lock is not None and lock.is_file() else None,
    }


def _training_config(run: RunConfig) -> Document:
    """Of a model trained elsewhere, what this installation knows: its contract, and how the days were cut."""
    known = None if run.imported is None else {"window_size", "horizon_minutes"}
    return run.training.model_dump(mode="json", include=known) | {"split": run.split.model_dump(mode="json")}


def _installed_version(name: str) -> str | None:
    try:
        return distributions.version(name)
    except distributions.PackageNotFoundError:
        return None


def _contract(
    run: RunConfig, cadence_seconds: int, calendar: schema.Calendar, intervals: Mapping[str, Any]
) -> Document:
    names = schema.INTERVAL_OUTPUTS if intervals["made"] else ()
    return {
        "input": _tensor("input", schema.FEATURES),
        "output": _tensor("output", schema.TARGETS),
        "further_outputs": [{**_tensor(name, schema.TARGETS), "level": intervals["level"]} for name in names],
        "raw_units": True,
        "window_size": run.training.window_size,
        "horizon_minutes": run.training.horizon_minutes,
        "cadence_seconds": cadence_seconds,
        "calendar": {
            "time_zone": schema.OF_EACH_LINK if calendar.link_zones else calendar.time_zone,
            "first_day": calendar.first_day,
            "sentence": calendar.sentence,
        },
    }


def _tensor(name: str, columns: tuple[str, ...]) -> Document:
    described = [
        {"name": column, **{key: getattr(schema.COLUMN[column], key) for key in ("unit", "minimum", "maximum")}}
        for column in columns
    ]
    return {"name": name, "dtype": "float32", "columns": described}


def _data(snapshot: Mapping[str, Any], split: Mapping[str, Any]) -> Document:
    return {
        **{name: snapshot[name] for name in ("snapshot_id", "start", "end", "rows", "links")},
        "split": split,
        "windows": {name: part["windows"] for name, part in split["parts"].items()},
    }


def _performance(comparison: Mapping[str, Any]) -> Document:
    """The guide's figures of the challenger, and every other measured figure beside them."""
    challenger = comparison["models"]["challenger"]
    return {
        **{name: challenger[name] for name in ("overall", "per_target")},
        "skill": {name: skills["challenger"] for name, skills in comparison["skill"].items()},
        **{name: comparison[name] for name in ("absent_targets", "test", "intervals")},
    }
