"""A whole Airflow: what its tests ask and wait for."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from airflow_server import AirflowServer
from lenient_gate import LENIENT

DAG_ID = "bandwidth_predictor_retrain"
DAG = f"/dags/{DAG_ID}"
ENDS_WITHIN_SECONDS = 900
STEPS = [
    "plan",
    "snapshot",
    "plan_shards",
    "check",
    "validate",
    "train",
    "export",
    "compare",
    "decide",
    "approve",
    "publish",
]
"""The tasks of the retraining DAG, in order."""

LENIENT_POLICY = {"name": "lenient", **LENIENT}
"""A gate policy that lets any model through."""
SMALL_TRAINING = {"epochs": 1, "windows_per_epoch": 640, "seed": 7}


def runs_of(server: AirflowServer, dag_id: str) -> list[dict[str, Any]]:
    """The DAG's runs, in the order in which they were due."""
    answer = server.api("GET", f"/dags/{dag_id}/dagRuns?limit=100&order_by=run_after").json
    return cast("list[dict[str, Any]]", answer["dag_runs"])


def started_runs_of(server: AirflowServer, dag_id: str) -> list[dict[str, Any]]:
    """Without a run that was due just before the DAG was unpaused, which is created to be skipped."""
    return [run for run in runs_of(server, dag_id) if not (run["note"] or "").startswith("Skipped: ")]


def wait_for_run(server: AirflowServer, run_id: str, dag_id: str = DAG_ID) -> dict[str, Any]:
    """The run as it ended."""
    return wait_until(
        lambda: server.api("GET", f"/dags/{dag_id}/dagRuns/{run_id.replace('+', '%2B')}").json,
        lambda run: run["state"] in ("success", "failed"),
    )


def wait_until(
    ask: Callable[[], Any],
    done: Callable[[Any], bool],
    *,
    within_seconds: float = ENDS_WITHIN_SECONDS,
    every_seconds: float = 1.0,
) -> Any:
    deadline = time.monotonic() + within_seconds
    while True:
        answer = ask()
        if done(answer):
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"still {answer}")
        time.sleep(every_seconds)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below the folder, but for the store's own locks."""
    files = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}
