"""Alerts by Airflow's notifier mechanism, to the URLs of `BWPREDICT_ALERT_URLS`."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseNotifier

from bwpredict.alerting import alerts, incidents
from bwpredict.config import Settings
from bwpredict.documents import read_document
from bwpredict.errors import BwPredictError, DocumentError, StoreError
from bwpredict.pipeline.model_catalog import model_of_dag
from bwpredict.pipeline.run_history import keeps_in_a_row
from bwpredict.registry.layout import DECISION_NAME
from bwpredict.registry.pointer import read_production
from bwpredict.store.factory import open_store
from bwpredict.workspace import areas
from bwpredict.workspace.artifacts import MODEL_CARD, VALIDATION, VALIDATION_RESULT
from bwpredict_airflow.extra_links import run_page, run_url
from bwpredict_airflow.unpausing import was_skipped

if TYPE_CHECKING:
    from airflow.sdk import Context


class _Notifier(BaseNotifier):
    """What both notifiers share."""

    def render_template_fields(self, context: Context, jinja_env: Any = None) -> None:
        """Nothing is a template here; and a DAG that runs by `dag.test()` could not render one."""


class AlertNotifier(_Notifier):
    """Tells the people on call which run stopped, where and why: once, while the same lasts.

    Put it both on the tasks, where the reason is at hand, and on the DAG, which alone hears of a run
    that timed out. For a failed task Airflow calls both, and the second call is left out.
    """

    def notify(self, context: Context) -> None:
        """Compose the alert from the run's work area and send it, unless the same alert was sent lately."""
        if context.get("reason") == "task_failure":
            return
        settings, now = settings_of(context), datetime.now(UTC)
        incident = compose(context, settings, now=now)
        incidents.report(open_store(settings.registry), settings.alert_urls.split(), incident, now=now)


class RecoveryNotifier(_Notifier):
    """Tells the people on call that a DAG they were alerted about is well again, or that production stays and stays.

    Put it on the DAG. A dry run shows nothing about publishing, so it is not a recovery; neither is a skipped run.
    """

    def notify(self, context: Context) -> None:
        """Send the good news if there was an alert before; count the runs in which production stayed."""
        run = context.get("dag_run")
        if context.get("params", {}).get("dry_run") or (run and was_skipped(run.note, run.clear_number)):
            return
        settings, now = settings_of(context), datetime.now(UTC)
        dag_id, run_id = context["dag"].dag_id, context["run_id"]
        url = run_url(settings, dag_id, run_id)
        what = f"run {run_id} of {dag_id} succeeded: {url}"
        store, urls = open_store(settings.registry), settings.alert_urls.split()
        incidents.recover(store, urls, dag_id, what, now=now)
        area = settings.work / run_id
        areas.fetch(area, DECISION_NAME)
        if not (area / DECISION_NAME).is_file():  # a DAG that decides nothing
            return
        decision = read_document(area / DECISION_NAME, "decision")
        if decision["outcome"] != "keep":
            incidents.recover(store, urls, f"{dag_id}.keep", what, now=now)
            return
        count = keeps_in_a_row(settings.work, run_id)
        if count >= decision["policy"]["thresholds"]["keeps_before_notice"]:
            incident = alerts.production_stays(
                dag_id=dag_id,
                run_id=run_id,
                count=count,
                since=now,
                production=_production(settings, run_id),
                run_url=url,
                decision=decision,
            )
            incidents.report(store, urls, incident, now=now)


def compose(context: Context, settings: Settings, *, now: datetime) -> alerts.Incident:
    """The alert about the run in `context`, with the verdict if the failed step gave one."""
    dag_id, run_id = context["dag"].dag_id, context["run_id"]
    task = context.get("ti")
    step = task.task_id if task else "schedule"
    area = settings.work / run_id
    decision = _verdict(area / DECISION_NAME, "decision") if step == "decide" else None
    validation = _verdict(area / VALIDATION_RESULT, "validation") if step == "validate" else None
    report = MODEL_CARD if decision else f"{VALIDATION}/data_docs/index.html" if validation else ""
    page = run_page(model_of_dag(dag_id, settings).name, run_id, report)
    return alerts.compose(
        dag_id=dag_id,
        run_id=run_id,
        failed_step=step,
        since=getattr(task, "start_date", None) or now,
        run_url=run_url(settings, dag_id, run_id),
        decision=decision,
        validation=validation,
        error=_error(context),
        production=_production(settings, run_id),
        report_url=f"{settings.base_url.rstrip('/')}{page}" if report else None,
    )


def settings_of(context: Context) -> Settings:
    """The settings of the model that the DAG is about."""
    installation = Settings()
    return model_of_dag(context["dag"].dag_id, installation).settings(installation)


def _verdict(path: Path, kind: str) -> dict[str, Any] | None:
    """The document that says why the step stopped, or None if it stopped for another reason."""
    try:
        areas.fetch(path.parent, path.name)
        document = read_document(path, kind)
    except (DocumentError, StoreError):
        return None
    stopped = document["outcome"] == "reject" if kind == "decision" else not document["passed"]
    return document if stopped else None


def _error(context: Context) -> BaseException | str | None:
    error = context.get("exception") or context.get("reason")
    return getattr(error, "reason", error)


def _production(settings: Settings, run_id: str) -> str:
    """What is served, in words."""
    try:
        production = read_production(open_store(settings.registry))
    except BwPredictError:
        return "unknown, the registry cannot be read now; nothing moves it but a publication"
    if production is None:
        return alerts.served(None, promoted_by=None, run_id=run_id)
    return alerts.served(production.version, promoted_by=production.promoted_by, run_id=run_id)
