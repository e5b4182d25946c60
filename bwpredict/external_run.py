"""`bwpredict train`: a model and the guide's artifacts from any telemetry, without DAG, gate or registry."""

from __future__ import annotations

import hashlib
import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from bwpredict import challenger
from bwpredict.config import RunConfig, SplitConfig, TrainingConfig
from bwpredict.telemetry import external
from bwpredict.telemetry.frame import TelemetryFrame

logger = logging.getLogger(__name__)

Document = dict[str, Any]


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
        TelemetryError: the telemetry cannot be read, or is too short for a window or a part of the split.
        ConfigError: the learning rate, or the horizon, does not fit.
    """
    frame = external.read_data_path(data_path)
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
    for sentence in external.missing_features(frame):
        logger.info("%s", sentence)
    split = challenger.cut(frame, run)
    output_dir.mkdir(parents=True, exist_ok=True)
    challenger.fit(output_dir, split, run)
    challenger.export_onnx(output_dir, split, run, data["snapshot_id"])
    return challenger.evaluate(output_dir, split, run, data, None)


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
