"""Each retraining run gets its verdict as a note, and a run that only unpausing started is skipped.

Airflow's listener mechanism: the scheduler calls these functions when a run has started or ended.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.listeners import hookimpl

from bwpredict_airflow.task_errors import DECISION_KEY, REASON_KEY
from bwpredict_airflow.unpausing import skip_if_due_before_unpausing, was_skipped

if TYPE_CHECKING:
    from airflow.models.dagrun import DagRun
    from sqlalchemy.orm import Session

_OURS = "bandwidth_predictor_"
_DAGS = f"{_OURS}retrain"
_ANSWER = f"{_DAGS}_on_degradation"
_LONGEST = 1000


@hookimpl
def on_dag_run_running(dag_run: DagRun, msg: str) -> None:  # noqa: ARG001 - Airflow passes both by name
    """Skip a run that starts only because somebody unpaused the DAG."""
    from sqlalchemy.orm import object_session

    session = object_session(dag_run)
    if session is not None and dag_run.dag_id.startswith(_OURS):
        skip_if_due_before_unpausing(dag_run, session)


@hookimpl
def on_dag_run_success(dag_run: DagRun, msg: str) -> None:  # noqa: ARG001 - Airflow passes both by name
    """Note why the model went into production, why production stays, or that nothing was to be published."""
    _write(dag_run)


@hookimpl
def on_dag_run_failed(dag_run: DagRun, msg: str) -> None:  # noqa: ARG001 - Airflow passes both by name
    """Note the rejection, or where the run stopped."""
    _write(dag_run)


def _write(dag_run: DagRun) -> None:
    from sqlalchemy.orm import object_session

    session = object_session(dag_run)
    if session is not None:  # `dag.test()` has none: see `write_note`
        write_note(dag_run, session)


def write_note(dag_run: DagRun, session: Session) -> None:
    """Note what became of a retraining, in one sentence with the reason."""
    if not dag_run.dag_id.startswith(_DAGS) or dag_run.dag_id.startswith(_ANSWER):
        return
    if was_skipped(dag_run.note, dag_run.clear_number):
        return
    verdict = _verdict(dag_run, session)[:_LONGEST]
    before = dag_run.note or ""
    if verdict not in before:
        dag_run.note = f"{before}\n\n{verdict}".strip()


def _verdict(dag_run: DagRun, session: Session) -> str:
    decision = _xcom(dag_run, session, "decide", DECISION_KEY)
    stopped = sorted(ti.task_id for ti in dag_run.task_instances if ti.state == "failed")
    if decision and stopped in ([], ["decide"]):
        not_published = _xcom(dag_run, session, "publish", REASON_KEY)
        return " ".join(map(str, filter(None, (decision["reason"], not_published))))
    return " ".join(_stop(dag_run, session, task_id) for task_id in stopped) or "No decision was taken."


def _stop(dag_run: DagRun, session: Session, task_id: str) -> str:
    """Where the run stopped and why: the first sentence of the error, and the first finding below it."""
    lines = str(_xcom(dag_run, session, task_id, REASON_KEY) or "the task's log ends with the reason.").splitlines()
    return f"Stopped at {task_id}: {' '.join(line.removeprefix('- ERROR ') for line in lines[:2])}"


def _xcom(dag_run: DagRun, session: Session, task_id: str, key: str) -> Any:
    """What a task pushed, or None; read in the run's own session."""
    from airflow.models.xcom import XComModel
    from sqlalchemy import select

    found = session.scalar(
        select(XComModel)
        .where(
            XComModel.dag_id == dag_run.dag_id,
            XComModel.run_id == dag_run.run_id,
            XComModel.task_id == task_id,
            XComModel.key == key,
        )
        .limit(1)
    )
    return XComModel.deserialize_value(found) if found else None
