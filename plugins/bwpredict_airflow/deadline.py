"""The alert for a month whose model is late: Airflow's deadline, sent to the URLs of `BWPREDICT_ALERT_URLS`."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk.definitions.deadline import BaseDeadlineReference

from bwpredict.alerting import alerts
from bwpredict.config import Settings
from bwpredict_airflow.extra_links import run_url

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

_ENDED = ("success", "failed")


class RunCreated(BaseDeadlineReference):
    """The moment a run was made, from which its time runs.

    Airflow's own `DAGRUN_QUEUED_AT` is nearly the same, but in 3.3.2 no run that has it can be cleared before its
    deadline: `_recalculate_dagrun_queued_at_deadlines` takes the interval, which is a mapping, for seconds.
    """

    def _evaluate_with(self, *, session: Session, **kwargs: Any) -> datetime:  # noqa: ARG002 Airflow asks with both
        return datetime.now(UTC)


async def send_deadline_alert(context: dict[str, Any] | None = None) -> None:
    """Send the alert, from the triggerer. A run that has ended is not late: its failure was reported."""
    run = (context or {}).get("dag_run") or {}
    if run.get("state") in _ENDED:
        return
    settings = Settings()
    dag_id, run_id = str(run.get("dag_id")), str(run.get("dag_run_id"))
    late = alerts.Alert(
        f"{dag_id}: the month's model is late",
        f"Run {run_id} was queued at {run.get('queued_at')} and is still {run.get('state')}."
        f" Production is unchanged until it ends.\nRun: {run_url(settings, dag_id, run_id)}",
    )
    await asyncio.to_thread(alerts.send, settings.alert_urls.split(), late)
