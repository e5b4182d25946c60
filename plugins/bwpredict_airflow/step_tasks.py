"""The steps of a run as tasks: one by one, and validation in parallel shards."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import get_current_context, task

from bwpredict.config import Settings
from bwpredict.core.code_version import code_version
from bwpredict.pipeline import steps
from bwpredict.pipeline.model_catalog import DEFAULT_ENTRY, NamedModel
from bwpredict.pipeline.run_config import run_config
from bwpredict.workspace.references import Reference
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


def run_step(step: Callable[[Reference], Reference], before: Mapping[str, str]) -> dict[str, str]:
    """Run one step of `bwpredict.pipeline.steps` on what the task before handed over; return what to hand on."""
    with one_line_errors():
        return asdict(step(Reference(**before)))


def validate_in_shards(snapshot: Any) -> Any:
    """Add the tasks `plan_shards`, `check` (mapped) and `validate` after the task that gives `snapshot`.

    Gives what `validate` hands on: the reference of the profile.
    """

    @task(task_display_name="Plan shards", execution_timeout=timedelta(minutes=5), multiple_outputs=False)
    def plan_shards(snapshot: dict[str, str]) -> list[dict[str, Any]]:
        """Split the snapshot's days into shards: a day of a large fleet is a shard, small days share one."""
        with one_line_errors():
            shards = steps.plan_shards(Reference(**snapshot))
        return [{"snapshot": snapshot, "days": days} for days in shards]

    @task(
        task_display_name="Check days",
        execution_timeout=timedelta(minutes=30),
        multiple_outputs=False,
        map_index_template="{{ shard_label }}",
    )
    def check(shard: dict[str, Any]) -> dict[str, str]:
        """Check some days of telemetry with the Great Expectations schema suite, on any worker.

        Green whatever it finds, so that all days are looked at; the task's label names the days and what failed.
        Writes `validation_shards/<first day>/`.
        """
        with one_line_errors():
            checked = steps.check_shard(Reference(**shard["snapshot"]), shard["days"])
        context = get_current_context()
        context["shard_label"] = steps.shard_label(checked)  # type: ignore[typeddict-unknown-key]
        return asdict(checked)

    @task(task_display_name="Validate telemetry", execution_timeout=timedelta(hours=1), multiple_outputs=False)
    def validate(shards: list[dict[str, str]]) -> dict[str, str]:
        """Aggregate the results of all shards, and measure drift since the champion.

        **Red here: the telemetry is not fit to train on.** The log has a sentence for each expectation that
        failed; the Data Docs (`validation/data_docs/index.html`) show the rows.
        """
        with one_line_errors():
            # As a slice: Airflow logs an error at the end of a plain loop over what mapped tasks returned.
            return asdict(steps.aggregate_validation([Reference(**shard) for shard in shards[:]]))

    # Airflow takes a task's docs from its docstring, but not a mapped task's.
    return validate(check.override(doc_md=check.function.__doc__).expand(shard=plan_shards(snapshot)))  # type: ignore[arg-type]
