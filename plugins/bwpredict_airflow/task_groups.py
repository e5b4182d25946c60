"""The tasks of validation: the snapshot's days are dealt out, checked one by one on any worker, and judged together."""

from __future__ import annotations

from dataclasses import asdict
from datetime import timedelta
from typing import Any

from airflow.sdk import get_current_context, task

from bwpredict.pipeline import steps
from bwpredict.workspace.references import Reference
from bwpredict_airflow.task_errors import reason_in_one_line


def validated(snapshot: Any) -> Any:
    """Add the tasks `deal_out`, `check` (mapped) and `validate` after the task that gives `snapshot`.

    Gives what `validate` hands on: the reference of the profile.
    """

    @task(execution_timeout=timedelta(minutes=5), multiple_outputs=False)
    def deal_out(snapshot: dict[str, str]) -> list[dict[str, Any]]:
        """Deal the snapshot's days out to shards: a day of a large fleet is one, small days share one."""
        with reason_in_one_line():
            shards = steps.plan_shards(Reference(**snapshot))
        return [{"snapshot": snapshot, "days": days} for days in shards]

    @task(execution_timeout=timedelta(minutes=30), multiple_outputs=False, map_index_template="{{ what_came_of_it }}")
    def check(shard: dict[str, Any]) -> dict[str, str]:
        """Hold some days of telemetry against the schema suite of Great Expectations, on any worker.

        Green whatever it finds, so that all days are looked at; the task's label names the days and what failed.
        Writes `validation_shards/<first day>/`.
        """
        with reason_in_one_line():
            checked = steps.check_shard(Reference(**shard["snapshot"]), shard["days"])
        context = get_current_context()
        context["what_came_of_it"] = steps.label_of(checked)  # type: ignore[typeddict-unknown-key]
        return asdict(checked)

    @task(execution_timeout=timedelta(hours=1), multiple_outputs=False)
    def validate(shards: list[dict[str, str]]) -> dict[str, str]:
        """Judge the telemetry by what all its days showed together, and by its drift since the champion.

        **Red here: the telemetry is not fit to train on.** The log has a sentence for each expectation that
        failed; the Data Docs (`validation/data_docs/index.html`) show the rows.
        """
        with reason_in_one_line():
            # As a slice: Airflow logs an error at the end of a plain loop over what mapped tasks returned.
            return asdict(steps.judge([Reference(**shard) for shard in shards[:]]))

    # Airflow takes a task's docs from its docstring, but not a mapped task's.
    return validate(check.override(doc_md=check.function.__doc__).expand(shard=deal_out(snapshot)))  # type: ignore[arg-type]
