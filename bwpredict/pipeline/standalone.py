"""`bwpredict train`: a model and the guide's artifacts from any telemetry, without DAG, gate or registry."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bwpredict.config import Cut, RunConfig, SplitConfig, TrainingConfig, TrainingSource
from bwpredict.datasets import external
from bwpredict.datasets.anomalies import find_anomalies
from bwpredict.datasets.frame import TelemetryFrame
from bwpredict.datasets.windows import Split
from bwpredict.pipeline import challenger

logger = logging.getLogger(__name__)

Document = dict[str, Any]


@dataclass(frozen=True)
class Prepared:
    """Telemetry from anywhere, ready to train on."""

    run: RunConfig
    split: Split
    data: Document
    """What the metadata says of the data, as a snapshot would."""


def train_on(
    data_path: Path,
    output_dir: Path,
    training: TrainingConfig,
    *,
    split_by: Cut,
    quantize: bool = False,
    now: datetime,
    code_version: str,
    training_file: TrainingSource | None = None,
    champion: Path | None = None,
) -> Document:
    """Train on the file or folder and write all artifacts to `output_dir`; returns the comparison document.

    `champion`: the checkpoint that a warm start begins with.

    Raises:
        TelemetryError, ConfigError: as `prepare`.
        ConfigError: the learning rate does not fit.
    """
    prepared = prepare(data_path, training, split_by=split_by, now=now, code_version=code_version)
    run = prepared.run.model_copy(update={"training_file": training_file, "quantize": quantize})
    output_dir.mkdir(parents=True, exist_ok=True)
    challenger.fit(output_dir, prepared.split, run, champion)
    challenger.export_onnx(output_dir, prepared.split, run, prepared.data["snapshot_id"])
    return challenger.evaluate(output_dir, prepared.split, run, prepared.data, None)


def prepare(
    data_path: Path,
    training: TrainingConfig,
    *,
    split_by: Cut,
    now: datetime,
    code_version: str,
) -> Prepared:
    """Read the file or folder and cut its windows; writes nothing.

    Raises:
        TelemetryError: the telemetry cannot be read, or is too short for a window or a part of the split.
        ConfigError: the horizon does not fit.
    """
    frame = external.read_data_path(data_path)
    for sentence in find_anomalies(frame):
        logger.warning("%s", sentence)
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
    return Prepared(run, challenger.make_split(frame, run), data)


def _describe(frame: TelemetryFrame, data_path: Path) -> Document:
    """What the metadata says about the data: a digest of what was read takes the place of the snapshot."""
    return {
        "snapshot_id": digest(frame),
        "telemetry_uri": str(data_path),
        "start": datetime.fromtimestamp(int(frame.timestamps.min()), UTC).isoformat(),
        "end": datetime.fromtimestamp(int(frame.timestamps.max()), UTC).isoformat(),
        "rows": frame.rows,
        "links": len(frame.links),
    }


def digest(frame: TelemetryFrame) -> str:
    """SHA-256 of the samples, for documents to name them by."""
    sha256 = hashlib.sha256()
    for array in (frame.timestamps, frame.link, frame.values):
        sha256.update(array.tobytes())
    return sha256.hexdigest()
