"""What every task of every DAG here has in common, unless its DAG says otherwise."""

from __future__ import annotations

from datetime import timedelta
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


def display_name(what: str, model: str = DEFAULT_MODEL) -> str:
    """What Airflow's pages call a DAG."""
    return f"Bandwidth model: {what}" + (f" ({model})" if model != DEFAULT_MODEL else "")
