"""Alerts by Airflow's notifier mechanism: one for each failed run, to the URLs of `BWPREDICT_ALERT_URLS`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow.sdk import BaseNotifier

from bwpredict import alerts, steps
from bwpredict.config import Settings
from bwpredict.documents import read_document
from bwpredict.errors import BwPredictError, DocumentError
from bwpredict.named_models import model_of_dag
from bwpredict.registry.layout import DECISION_NAME
from bwpredict.registry.production import read_production
from bwpredict.store import open_store

if TYPE_CHECKING:
    from airflow.sdk import Context


class AlertNotifier(BaseNotifier):
    """Tells the people on call which run stopped, where and why.

    Put it both on the tasks, where the reason is at hand, and on the DAG, which alone hears of a run
    that timed out. For a failed task Airflow calls both, and the second call is left out.
    """

    def render_template_fields(self, context: Context, jinja_env: Any = None) -> None:
        """Nothing is a template here; and a DAG that runs by `dag.test()` could not render one."""

    def notify(self, context: Context) -> None:
        """Compose the alert from the run's work area and send it."""
        if context.get("reason") == "task_failure":
            return
        settings = _settings(context)
        alerts.send(settings.alert_urls.split(), compose(context, settings))


def compose(context: Context, settings: Settings) -> alerts.Alert:
    """The alert for the run in `context`, with the verdict if the failed step gave one."""
    dag_id, run_id = context["dag"].dag_id, context["run_id"]
    step = context["ti"].task_id if "ti" in context else "schedule"
    area = settings.work / run_id
    decision = _verdict(area / DECISION_NAME, "decision") if step == "decide" else None
    validation = _verdict(area / steps.VALIDATION_RESULT, "validation") if step == "validate" else None
    return alerts.compose(
        dag_id=dag_id,
        run_id=run_id,
        failed_step=step,
        run_url=f"{settings.base_url.rstrip('/')}/dags/{quote(dag_id)}/runs/{quote(run_id)}",
        decision=decision,
        validation=validation,
        error=_error(context),
        production=_production(settings),
        report_url=_existing(area / (steps.MODEL_CARD if decision else f"{steps.VALIDATION}/data_docs/index.html")),
    )


def _settings(context: Context) -> Settings:
    """The settings of the model that the DAG is about."""
    installation = Settings()
    return model_of_dag(context["dag"].dag_id, installation).settings(installation)


def _verdict(path: Path, kind: str) -> dict[str, Any] | None:
    """The document that says why the step stopped, or None if it stopped for another reason."""
    try:
        document = read_document(path, kind)
    except DocumentError:
        return None
    return None if document["passed"] else document


def _error(context: Context) -> BaseException | str | None:
    error = context.get("exception") or context.get("reason")
    return getattr(error, "reason", error)


def _production(settings: Settings) -> str | None:
    """The version that is served; None if there is none, or the registry cannot be asked now."""
    try:
        production = read_production(open_store(settings.registry))
    except BwPredictError:
        return None
    return production.version if production else None


def _existing(path: Path) -> str | None:
    return str(path) if path.exists() else None
