"""Making a challenger: fit, export, evaluate. What a retraining run and `bwpredict train` have in common.

Each function reads what the one before left in the folder, and writes the files that its docstring names.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from bwpredict import export, intervals, metadata, model, training
from bwpredict.config import RunConfig
from bwpredict.documents import read_document, write_document
from bwpredict.errors import ModelError
from bwpredict.evaluation.comparison import compare
from bwpredict.evaluation.forecasts import collect, write_forecasts
from bwpredict.evaluation.scoring import forecast, forecast_with_bounds
from bwpredict.files import sha256_of
from bwpredict.registry.layout import PROFILE_NAME, metadata_name, onnx_name
from bwpredict.reports import plots
from bwpredict.telemetry.frame import TelemetryFrame
from bwpredict.windows import Split, index_windows, split_windows

logger = logging.getLogger(__name__)

CHECKPOINT = "best_model.pth"
HISTORY = "history.json"
PARITY = "parity.json"
LATENCY = "latency.json"
COMPARISON = "comparison.json"
FORECASTS = "forecasts.parquet"
REPORT = "bandwidth_predictor_report.json"
HISTORY_PLOT = "training_history.png"
SCATTER_PLOT = "predictions_scatter.png"
PARITY_WINDOWS = 512
LOCK = Path(__file__).parent.parent / "requirements.txt"
"""The lock of a checkout; an installed package has none."""


@dataclass(frozen=True)
class Champion:
    """The model in production, as it was fetched: `onnx` lies on this machine."""

    version: str
    onnx: Path


def cut(frame: TelemetryFrame, run: RunConfig) -> Split:
    """The run's windows of this telemetry, split.

    Raises:
        TelemetryError, ConfigError: as `index_windows` and `split_windows`.
    """
    index = index_windows(frame, run.training.window_size, run.training.horizon_minutes)
    split = split_windows(index, run.split)
    counts = ", ".join(f"{len(part):,} {name}" for name, part in split.parts.items())
    logger.info("%s windows of %s links: %s", f"{len(index):,}", len(frame.links), counts)
    return split


def fit(folder: Path, split: Split, run: RunConfig) -> Path:
    """Train, then calibrate the intervals of the trained model.

    Writes `best_model.pth`, `history.json`, `training_history.png`. Returns the checkpoint.
    """
    absent = frozenset(split["train"].frame.filled or {})
    checkpoint = folder / CHECKPOINT
    result = training.train(
        split,
        run.training,
        checkpoint,
        absent=absent,
        on_epoch=lambda record: _log_epoch(record, run.training.epochs),
    )
    made = intervals.calibrate(result.model, split, absent=absent)
    intervals.attach(checkpoint, made)
    _log_intervals(made, split)
    write_document(folder / HISTORY, "training_history", result.history)
    plots.training_history(folder / HISTORY_PLOT, result.history)
    return checkpoint


def export_onnx(folder: Path, split: Split, run: RunConfig, snapshot_id: str) -> Path:
    """Export and check in a fresh process; writes the ONNX file, `parity.json`, `latency.json`. Returns the ONNX."""
    challenger = intervals.load_served(folder / CHECKPOINT)
    properties = export.model_properties(challenger, version=run.version, snapshot_id=snapshot_id)
    path = export.export_onnx(challenger, folder / onnx_name(run.version), properties)
    real = split["validation"].spread(PARITY_WINDOWS).inputs()
    parity, latency = export.check_export(challenger, path, real)
    write_document(folder / PARITY, "parity", parity)
    write_document(folder / LATENCY, "latency", latency)
    logger.info(
        "%s: largest relative difference to torch %s, single window p50 %s ms, p99 %s ms",
        path.name, parity["max_relative_error"], latency["p50_ms"], latency["p99_ms"],
    )  # fmt: skip
    return path


def evaluate(
    folder: Path, split: Split, run: RunConfig, snapshot: Mapping[str, Any], champion: Champion | None
) -> dict[str, Any]:
    """Score challenger, champion and baselines on the same test windows; returns the comparison document.

    Writes `comparison.json`, `forecasts.parquet`, `model_metadata_<version>.json`,
    `bandwidth_predictor_report.json` and `predictions_scatter.png`.
    """
    index = split["test"].spread(run.maximum_test_windows)
    path = folder / onnx_name(run.version)
    served = forecast_with_bounds(path, index)
    models = {"challenger": served.output}
    problem = None
    if champion:
        try:
            models["champion"] = forecast(champion.onnx, index)
        except ModelError as error:
            problem = str(error)
    forecasts = collect(index, models)
    comparison = compare(
        forecasts,
        challenger_version=run.version,
        challenger_sha256=sha256_of(path),
        champion_version=champion.version if champion else None,
        champion_sha256=sha256_of(champion.onnx) if champion else None,
        champion_problem=problem,
        bounds=served.bounds,
    )
    write_forecasts(folder / FORECASTS, forecasts)
    figures = comparison["models"]["challenger"]["per_target"]
    plots.predictions_scatter(
        folder / SCATTER_PLOT, forecasts.actual, forecasts.models["challenger"], figures, targets=forecasts.targets
    )
    _write_metadata(folder, split, run, snapshot, comparison)
    write_document(folder / COMPARISON, "comparison", comparison)
    return comparison


def _write_metadata(
    folder: Path, split: Split, run: RunConfig, snapshot: Mapping[str, Any], comparison: Mapping[str, Any]
) -> None:
    served = intervals.load_served(folder / CHECKPOINT)
    onnx = folder / onnx_name(run.version)
    frame = split["train"].frame
    document = metadata.model_metadata(
        run=run,
        artifact=metadata.Artifact(
            onnx=onnx.name,
            sha256=sha256_of(onnx),
            size_bytes=onnx.stat().st_size,
            architecture=model.architecture(),
            parameters=model.parameter_count(served.forecaster),
            scaler_params=served.forecaster.scaler_params(),
            intervals=intervals.describe(served.intervals, split),
        ),
        snapshot=snapshot,
        split=split.describe(),
        history=read_document(folder / HISTORY, "training_history"),
        comparison=comparison,
        environment=metadata.measure_environment(LOCK),
        filled=frame.filled,
        cadence_seconds=frame.cadence_seconds,
        profile=PROFILE_NAME if (folder / PROFILE_NAME).is_file() else None,
    )
    write_document(folder / metadata_name(run.version), "model_metadata", document)
    write_document(folder / REPORT, "bandwidth_predictor_report", metadata.predictor_report(document))


def _log_intervals(made: intervals.Intervals | None, split: Split) -> None:
    if made is None:
        logger.warning("no intervals are made: %s", intervals.why_none(split))
    else:
        logger.info("%.0f %% intervals calibrated on %s windows", 100 * made.level, f"{made.calibration_windows:,}")


def _log_epoch(record: training.Record, epochs: int) -> None:
    left = timedelta(seconds=round((epochs - int(record["epoch"])) * float(record["seconds"])))
    logger.info(
        "epoch %d/%d  training loss %.4f  validation loss %.4f%s  %s windows/s  at most %s left",
        record["epoch"],
        epochs,
        record["train_loss"],
        record["validation_loss"],
        " (best)" if record["best"] else "",
        f"{record['windows'] / record['seconds']:,.0f}",
        left,
    )
