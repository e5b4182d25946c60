"""Names of the files and folders in a run's workspace, and its configuration."""

from __future__ import annotations

from pathlib import Path

from bwpredict.config import RunConfig
from bwpredict.errors import WorkAreaError

RUN = "run.json"
SNAPSHOT = "snapshot.json"
RESUME = "resume"
"""Folder: a training that was killed resumes from the files in it."""
TELEMETRY = "telemetry"
VALIDATION = "validation"
VALIDATION_SHARDS = "validation_shards"
VALIDATION_RESULT = "validation.json"
MODEL_CARD = "model_card.html"
SUMMARY = "summary.md"
APPROVAL = "approval.json"
"""Who approved the publication, in runs that ask a person."""
PUBLICATION = "publication.json"
CHAMPION = "champion"
STUDY = "study"
CHECKPOINT = "best_model.pth"
IMPORTED = "imported_model.json"
"""Of a model trained elsewhere, instead of a checkpoint."""
UNPRUNED_CHECKPOINT = "unpruned_model.pth"
"""The model before pruning: what the pruned one is measured against."""
HISTORY = "history.json"
PARITY = "parity.json"
LATENCY = "latency.json"
COMPRESSION = "compression.json"
COMPARISON = "comparison.json"
FORECASTS = "forecasts.parquet"
REPORT = "bandwidth_predictor_report.json"
HISTORY_PLOT = "training_history.png"
SCATTER_PLOT = "predictions_scatter.png"
LINKS_PLOT = "link_forecasts"
"""The pictures are called `link_forecasts_<target>.png`."""
RESIDUALS_PLOT = "residuals.png"
HORIZON_PLOT = "horizon.png"


def read_run(area: Path) -> RunConfig:
    """The run's configuration. Raises WorkAreaError."""
    path = area / RUN
    try:
        return RunConfig.model_validate_json(path.read_bytes())
    except (OSError, ValueError) as error:
        raise WorkAreaError(f"{path}: cannot be read as a run's configuration.") from error
