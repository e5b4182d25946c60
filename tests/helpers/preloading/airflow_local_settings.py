"""Airflow loads this module at start. A scheduler imports the tasks' modules before its LocalExecutor forks tasks."""

import sys

if "scheduler" in sys.argv:
    import task_imports  # noqa: F401
