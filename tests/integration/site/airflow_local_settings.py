"""Airflow's own hook for an installation's policies: here, runs of seconds instead of hours, also the scheduled one."""

import json
import os
import sys
from datetime import timedelta

if "worker" in sys.argv:
    import task_imports  # noqa: F401

DEFAULTS = json.loads(os.environ["RETRAIN_DEFAULTS"])
LATE_AFTER = timedelta(seconds=20)
PATIENT = "publish"
"""Its tries must reach over the minute in which the S3 server is away."""


def dag_policy(dag):
    if dag.dag_id == "bandwidth_predictor_retrain":
        _put(DEFAULTS, dag.params)
        for alert in dag.deadline:
            alert.interval = LATE_AFTER


def task_policy(task):
    task.retry_delay = timedelta(seconds=30 if task.task_id == PATIENT else 3)
    if task.dag_id == "bandwidth_predictor_retrain":
        _put(DEFAULTS, task.params)


def _put(defaults, params):
    for name, value in defaults.items():
        params[name] = value
