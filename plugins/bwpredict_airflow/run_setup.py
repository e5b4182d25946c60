"""What a run is to be, from its params and what Airflow knows of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from airflow.sdk import get_current_context

from bwpredict.config import Settings
from bwpredict.core.code_version import code_version
from bwpredict.pipeline import steps
from bwpredict.pipeline.model_catalog import DEFAULT_ENTRY, NamedModel
from bwpredict.pipeline.run_config import run_config
from bwpredict_airflow.task_errors import one_line_errors


def plan_run(params: Mapping[str, Any], settings: Settings, model: NamedModel = DEFAULT_ENTRY) -> dict[str, str]:
    """Write `run.json` of the task's DAG run, with these params; the task fails in one line where they are unusable."""
    run = get_current_context()["dag_run"]
    with one_line_errors():
        config = run_config(
            {name: value for name, value in params.items() if value is not None},
            run_id=run.run_id,
            interval_start=run.data_interval_start,
            run_after=run.run_after,
            now=datetime.now(UTC),
            settings=settings,
            code_version=code_version(),
            model=model,
            requested_by=run.triggering_user_name or "",
        )
        return asdict(steps.plan(config, settings.work))
