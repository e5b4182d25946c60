"""The table of runs: parameters and results, and the current task of those that are still running."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from airflow.models.dagrun import DagRun
from airflow.models.taskinstance import TaskInstance
from airflow.utils.session import create_session
from airflow.utils.state import TaskInstanceState
from sqlalchemy import select

from bwpredict.config import RunConfig, SplitConfig, TrainingConfig
from bwpredict.core.formatting import display_name, number
from bwpredict.pipeline.run_history import RunSummary, read_comparisons
from bwpredict.schema import TARGETS

_GROUPS = ("training", "split")
"""Parts of a run's configuration whose fields are its parameters."""
_UNDER_WAY = (TaskInstanceState.RUNNING, TaskInstanceState.UP_FOR_RETRY, TaskInstanceState.DEFERRED)
CHANGE = "error_against_champion"
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""Text that begins so is a formula to a spreadsheet."""

Cells = dict[str, Any]


@dataclass(frozen=True)
class Step:
    """Where Airflow is with a run: `running`, `queued`, `failed` or `success`, and the tasks that it is at."""

    state: str
    tasks: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """Such as "Running: train."."""
        at = f": {', '.join(self.tasks)}" if self.tasks else ""
        return {"failed": "Stopped by an error", "success": "Ended without a decision"}.get(
            self.state, self.state.capitalize()
        ) + f"{at}."


def steps_of(dag_id: str, run_ids: Sequence[str]) -> dict[str, Step]:
    """Run id → its step, of those of these runs that Airflow knows."""
    if not run_ids:
        return {}
    wanted = (DagRun.dag_id == dag_id, DagRun.run_id.in_(run_ids))
    with create_session() as session:
        states = session.execute(select(DagRun.run_id, DagRun.state).where(*wanted)).all()
        tasks = [
            (task.run_id, task.task_display_name, task.state)
            for task in session.scalars(
                select(TaskInstance)
                .where(TaskInstance.dag_id == dag_id, TaskInstance.run_id.in_(run_ids))
                .where(TaskInstance.state.in_((*_UNDER_WAY, TaskInstanceState.FAILED)))
                .order_by(TaskInstance.start_date)
            )
        ]

    def at(run_id: str, state: str) -> tuple[str, ...]:
        ended = state == "failed"
        return tuple(
            dict.fromkeys(
                name for of, name, its in tasks if of == run_id and (its == TaskInstanceState.FAILED) == ended
            )
        )

    return {run_id: Step(str(state), at(run_id, str(state))) for run_id, state in states}


def run_rows(runs: Sequence[RunSummary], find: str = "", verdict: str = "") -> list[Cells]:
    """A row for each run that has this verdict and holds the text `find` anywhere, for the table and for CSV."""
    shown = [run for run in runs if verdict in ("", run.verdict)]
    rows = (_row(run, comparison) for run, comparison in zip(shown, read_comparisons(shown), strict=True))
    wanted = find.strip().casefold()
    return [row for row in rows if wanted in " ".join(map(str, row.values())).casefold()]


def changed_parameters(run: RunConfig) -> str:
    """The parameters that have another value than their default, in words."""
    defaults = _parameters(run.model_copy(update={"training": TrainingConfig(), "split": SplitConfig()}))
    changed = {name: value for name, value in _parameters(run).items() if value != defaults[name]}
    return ", ".join(f"{display_name(name.partition('.')[2])} {number(value)}" for name, value in changed.items())


def as_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows with a line of their names; texts that a spreadsheet would take for formulas get an apostrophe."""
    output = io.StringIO()
    writer = csv.DictWriter(output, list(rows[0]) if rows else ["run_id"])
    writer.writeheader()
    writer.writerows({name: _plain(value) for name, value in row.items()} for row in rows)
    return output.getvalue()


def _row(run: RunSummary, comparison: Mapping[str, Any]) -> Cells:
    return {
        "run_id": run.run_id,
        "planned_at": run.created_at,
        "month": run.month,
        "verdict": run.verdict,
        "reason": run.reason,
        "version": run.version,
        "champion_version": run.decision.get("champion_version"),
        "policy": run.run.policy.name,
        "changed_parameters": changed_parameters(run.run),
        **dict(_figures(comparison)),
        **_parameters(run.run),
    }


def _figures(comparison: Mapping[str, Any]) -> Iterator[tuple[str, float | None]]:
    challenger = comparison.get("models", {}).get("challenger", {"overall": {}, "per_target": {}})
    for name in ("average_correlation", "average_mape"):
        yield name, challenger["overall"].get(name)
    for figure in ("mae", "skill"):
        for target in TARGETS:
            yield f"{figure}.{target}", challenger["per_target"].get(target, {}).get(figure)
    weighted = (comparison.get("difference") or {}).get("weighted", {})
    for name in ("percent", "low", "high"):
        yield f"{CHANGE}.{name}", weighted.get(name)


def _parameters(run: RunConfig) -> Cells:
    return {f"{group}.{name}": value for group in _GROUPS for name, value in getattr(run, group).model_dump().items()}


def _plain(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
