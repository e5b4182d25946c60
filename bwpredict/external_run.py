"""`bwpredict train`: a model and the guide's artifacts from any telemetry, without DAG, gate or registry."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from bwpredict import challenger, schema
from bwpredict.config import RunConfig, SplitConfig, TrainingConfig
from bwpredict.errors import TelemetryError
from bwpredict.telemetry import external
from bwpredict.telemetry.frame import TelemetryFrame
from bwpredict.windows import Split, index_windows

logger = logging.getLogger(__name__)

Document = dict[str, Any]

SHORT_RECORDING = SplitConfig(validation=0.25, calibration=0, test=0.25, by="link", embargo=False)
"""How a recording of some hours is cut, where the usual split leaves a part empty."""


@dataclass(frozen=True)
class Prepared:
    """External telemetry, ready to train on."""

    split: Split
    run: RunConfig
    data: Document
    """What the metadata says of the data."""


def train_on(
    data_path: Path,
    output_dir: Path,
    training: TrainingConfig,
    *,
    split_by: Literal["calendar", "link"],
    now: datetime,
    code_version: str,
) -> Document:
    """Train on the file or folder and write all artifacts to `output_dir`; returns the comparison document.

    Raises:
        TelemetryError, ConfigError: as `prepare`.
    """
    prepared = prepare(data_path, training, split_by=split_by, now=now, code_version=code_version)
    split, run, data = prepared.split, prepared.run, prepared.data
    output_dir.mkdir(parents=True, exist_ok=True)
    challenger.fit(output_dir, split, run)
    challenger.export_onnx(output_dir, split, run, data["snapshot_id"])
    return challenger.evaluate(output_dir, split, run, data, None)


def prepare(
    data_path: Path,
    training: TrainingConfig,
    *,
    split_by: Literal["calendar", "link"],
    now: datetime,
    code_version: str,
) -> Prepared:
    """Read the file or folder and split its windows; writes nothing.

    Raises:
        TelemetryError: the telemetry cannot be read, or is too short for a window or a part of the split.
        ConfigError: the horizon does not fit.
    """
    frame = _without_dead_targets(external.read_data_path(data_path), training)
    data = _describe(frame, data_path)
    run = RunConfig(
        run_id=f"train-{now:%Y%m%dT%H%M%S}",
        version=f"v{now:%Y%m%d_%H%M%S}",
        month=data["end"][:7],
        telemetry=str(data_path),
        registry="",
        code_version=code_version,
        created_at=now.isoformat(timespec="seconds"),
        training=training,
        split=SplitConfig(by=split_by),
    )
    split, run = _cut(frame, run)
    return Prepared(split, run, data)


def _without_dead_targets(frame: TelemetryFrame, training: TrainingConfig) -> TelemetryFrame:
    """Targets that are zero in every window count as missing: there is nothing to learn or to score."""
    targets = index_windows(frame, training.window_size, training.horizon_minutes).targets()
    filled = dict(frame.filled or {})
    for name, column in zip(schema.TARGETS, targets.T, strict=True):
        if name not in filled and not column.any():
            filled[name] = 0.0
            logger.warning("%s is 0 in every window; it is left out and not forecast.", name)
    if set(schema.TARGETS) <= set(filled):
        raise TelemetryError("no column to forecast ever differs from 0 in a window; check the collector.")
    return replace(frame, filled=filled)


def _cut(frame: TelemetryFrame, run: RunConfig) -> tuple[Split, RunConfig]:
    """The windows, split as asked; recordings too short for that are cut link by link, which is said."""
    try:
        return challenger.cut(frame, run), run
    except TelemetryError as error:
        short = run.model_copy(update={"split": SHORT_RECORDING})
        split = challenger.cut(frame, short)
        logger.warning(
            "%s Cut instead: the first half of each link's time trains, a quarter validates, the last quarter tests,"
            " without an embargo between them.",
            error,
        )
        return split, short


def _describe(frame: TelemetryFrame, data_path: Path) -> Document:
    """What the metadata says of the data: a digest of what was read stands for the snapshot."""
    return {
        "snapshot_id": _digest(frame),
        "telemetry_uri": str(data_path),
        "start": datetime.fromtimestamp(int(frame.timestamps.min()), UTC).isoformat(),
        "end": datetime.fromtimestamp(int(frame.timestamps.max()), UTC).isoformat(),
        "rows": frame.rows,
        "links": len(frame.links),
    }


def _digest(frame: TelemetryFrame) -> str:
    digest = hashlib.sha256()
    for array in (frame.timestamps, frame.link, frame.values):
        digest.update(array.tobytes())
    return digest.hexdigest()
