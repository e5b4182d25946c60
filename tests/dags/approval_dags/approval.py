"""The retraining DAG's last three tasks, for tests of the approval: what they hand on is a file beside a summary."""

import os
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path

from airflow.sdk import DAG, Param, get_current_context, task
from bwpredict_airflow.approval import Approval
from bwpredict_airflow.task_errors import NO_RETRY_ON_A_VERDICT

from bwpredict.workspace.references import make_reference

with DAG(
    "approval",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    schedule=None,
    default_args={"retries": 2, "retry_delay": timedelta(seconds=1), "retry_policy": NO_RETRY_ON_A_VERDICT},
    params={
        "dry_run": Param(default=False, type="boolean"),
        "human_approval": Param(default=False, type="boolean"),
        "approval_hours": Param(12, type="number"),
    },
):

    @task(multiple_outputs=False)
    def decide() -> dict[str, str]:
        folder = Path(os.environ["BWPREDICT_WORK"], get_current_context()["run_id"])
        folder.mkdir(parents=True)
        (folder / "summary.md").write_text("**v20261101_000412**: all checks passed {{ not a template }}.\n")
        (folder / "decision.json").write_text("{}")
        return asdict(make_reference(folder / "decision.json"))

    @task
    def publish(decision: dict[str, str]) -> str:
        return decision["path"]

    publish(Approval(task_id="approve", decision=decide()).output)
