"""Each retraining run gets its verdict as a note, so that the list of runs tells what became of them.

Airflow's listener mechanism: the scheduler calls these two functions when a run has ended.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.listeners import hookimpl

if TYPE_CHECKING:
    from airflow.models.dagrun import DagRun
    from sqlalchemy.orm import Session

_DAGS = "bandwidth_predictor_retrain"
_LONGEST = 1000


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
    if session is None or not dag_run.dag_id.startswith(_DAGS):  # `dag.test()` has no session, and nobody reads notes
        return
    verdict = _verdict(dag_run, session)[:_LONGEST]
    before = dag_run.note or ""
    if verdict not in before:
        dag_run.note = f"{before}\n\n{verdict}".strip()


def _verdict(dag_run: DagRun, session: Session) -> str:
    decision = _decision(dag_run, session)
    if decision:
        return str(decision["reason"])
    stopped = sorted(ti.task_id for ti in dag_run.task_instances if ti.state == "failed")
    return f"Stopped at {', '.join(stopped)}; its log ends with the reason." if stopped else "No decision was taken."


def _decision(dag_run: DagRun, session: Session) -> dict[str, Any] | None:
    """What the task `decide` pushed; read in the run's own session."""
    from airflow.models.xcom import XComModel
    from sqlalchemy import select

    from bwpredict_airflow.task_errors import DECISION_KEY

    found = session.scalar(
        select(XComModel).where(
            XComModel.dag_id == dag_run.dag_id,
            XComModel.run_id == dag_run.run_id,
            XComModel.task_id == "decide",
            XComModel.key == DECISION_KEY,
        )
    )
    value = XComModel.deserialize_value(found) if found else None
    return value if isinstance(value, dict) else None
