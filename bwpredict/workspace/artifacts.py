"""Names of the files and folders in a run's workspace, and its configuration."""

from __future__ import annotations

import json
from functools import reduce
from operator import getitem
from pathlib import Path

from pydantic import ValidationError

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
    """The run's configuration, to work by.

    Raises:
        WorkAreaError: it cannot be read, or another release planned the run with settings that this one lacks.
    """
    run, unknown = _read(area / RUN)
    if unknown:
        raise WorkAreaError(
            f"{area / RUN}: another release of bwpredict planned this run, with settings that this one does not have"
            f" ({', '.join(unknown)}); clear the run's first task and all after it, or start a run for its month."
        )
    return run


def read_past_run(area: Path) -> RunConfig:
    """As `read_run`, of any release: without the settings that this one does not have."""
    return _read(area / RUN)[0]


def _read(path: Path) -> tuple[RunConfig, list[str]]:
    """The configuration without the settings that are unknown, and their names."""
    try:
        content = path.read_bytes()
        try:
            return RunConfig.model_validate_json(content), []
        except ValidationError as error:
            document = json.loads(content)
            unknown = [each["loc"] for each in error.errors() if each["type"] == "extra_forbidden"]
            for *parents, name in unknown:
                reduce(getitem, parents, document).pop(name)
            names = [".".join(map(str, place)) for place in unknown]
            return RunConfig.model_validate_json(json.dumps(document)), names
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WorkAreaError(f"{path}: cannot be read as a run's configuration.") from error
