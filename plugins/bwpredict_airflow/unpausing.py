"""A scheduled run that starts only because somebody unpaused its DAG is skipped."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from airflow.utils.state import TaskInstanceState

if TYPE_CHECKING:
    from airflow.models.dagrun import DagRun
    from airflow.models.log import Log
    from sqlalchemy.orm import Session

SKIPPED = "Skipped: "
"""Begins the note of such a run."""
_EVENTS = ("patch_dag", "patch_dags", "cli_dag_unpause")
"""Airflow's audit log of the ways to unpause: for one DAG or several, in the browser, by API, on the command line."""


def skip_if_due_before_unpausing(dag_run: DagRun, session: Session) -> None:
    """Skip every task of a scheduled run whose DAG was unpaused after the run was due and before it was created."""
    if dag_run.run_type != "scheduled" or dag_run.clear_number:
        return
    unpaused_at = _unpaused_between(dag_run, session)
    if unpaused_at is None:
        return
    for task_instance in dag_run.task_instances:
        task_instance.set_state(TaskInstanceState.SKIPPED, session=session)
    dag_run.note = (
        f"{SKIPPED}the DAG was unpaused on {unpaused_at:%Y-%m-%d %H:%M} UTC, after this run was due on "
        f"{dag_run.run_after:%Y-%m-%d %H:%M} UTC, and unpausing starts nothing. To run it, press Trigger."
    )


def was_skipped(note: str | None, clear_number: int | None) -> bool:
    """Whether a run ended as one that nobody asked for; clearing it asks for it."""
    return bool(note and note.startswith(SKIPPED) and not clear_number)


def is_unpausing(entry: Log, dag_id: str) -> bool:
    """Whether this entry of the audit log says that somebody unpaused the DAG, alone or together with other DAGs."""
    extra = entry.extra or ""
    if entry.event == "cli_dag_unpause":
        return entry.dag_id == dag_id or "--treat-dag-id-as-regex" in extra
    return '"is_paused": false' in extra and (entry.dag_id == dag_id or entry.event == "patch_dags")


def _unpaused_between(dag_run: DagRun, session: Session) -> datetime | None:
    from airflow.models.log import Log
    from sqlalchemy import select

    found = session.scalars(
        select(Log)
        .where(Log.event.in_(_EVENTS), Log.dttm >= dag_run.run_after, Log.dttm <= dag_run.queued_at)
        .order_by(Log.dttm)
    )
    return next((entry.dttm for entry in found if is_unpausing(entry, dag_run.dag_id)), None)
