"""What every DAG here and every task have in common, unless a DAG says otherwise."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from bwpredict.config import DEFAULT_MODEL
from bwpredict_airflow.notifier import AlertNotifier
from bwpredict_airflow.task_errors import NO_RETRY_ON_A_VERDICT

TASK_DEFAULTS: dict[str, Any] = {
    "owner": "bandwidth-prediction",
    "retries": 2,
    "retry_delay": timedelta(minutes=5),
    "retry_policy": NO_RETRY_ON_A_VERDICT,
    "on_failure_callback": AlertNotifier(),
}
DAG_DEFAULTS: dict[str, Any] = {
    "start_date": datetime(2026, 1, 1, tzinfo=UTC),
    "catchup": False,
    "max_active_runs": 1,
    "default_args": TASK_DEFAULTS,
    "on_failure_callback": AlertNotifier(),
}


def display_name(what: str, model: str = DEFAULT_MODEL) -> str:
    """What Airflow's pages call a DAG."""
    return f"Bandwidth model: {what}" + (f" ({model})" if model != DEFAULT_MODEL else "")
