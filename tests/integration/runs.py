"""Airflow's REST API as its user sees it: trigger, watch, read the log; and the registry as a consumer sees it."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from itertools import count
from typing import Any
from urllib.parse import quote

import boto3
import httpx
from processes import run_once, wait_for
from stack import Stack

DAG = "bandwidth_predictor_retrain"
EXAMPLE = "bandwidth_model_announced"
"""The DAG that waits for the asset event of a publication."""
ENDED = ("success", "failed")
_SEEDS = count(8)


def months_ago(number: int) -> str:
    """The month this many before this one, as YYYY-MM."""
    now = datetime.now(UTC)
    months = now.year * 12 + now.month - 1 - number
    return f"{months // 12}-{months % 12 + 1:02}"


@dataclass(frozen=True)
class Api:
    """The stack, asked over HTTP as the user `admin`."""

    stack: Stack

    @cached_property
    def _client(self) -> httpx.Client:
        """Signed in. One for all requests: each new client would read the certificates of this machine.

        Connections are not kept: a server that closes one just then would lose a request that is not asked twice.
        """
        limits = httpx.Limits(max_keepalive_connections=0)
        client = httpx.Client(base_url=self.stack.url, timeout=60, limits=limits)
        who = {"username": "admin", "password": self.stack.variables["AIRFLOW_ADMIN_PASSWORD"]}
        token = client.post("/auth/token", json=who).raise_for_status().json()["access_token"]
        client.headers["Authorization"] = f"Bearer {token}"
        return client

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """Patient with a server that is away for a moment, but never asks twice for a change."""
        tries = 10 if method == "GET" else 1
        for left in reversed(range(tries)):
            try:
                return self._client.request(method, f"/api/v2/{path}", json=body).raise_for_status().json()
            except httpx.HTTPError:
                if not left:
                    raise
                time.sleep(2)
        raise AssertionError

    def page(self, path: str) -> str:
        """The HTML of one of the plugin's pages."""
        return self._client.get(f"/bandwidth-models/{path}").raise_for_status().text

    def unpause(self, dag: str = DAG) -> None:
        self.ask("PATCH", f"dags/{dag}", {"is_paused": False})

    def trigger(self, **conf: Any) -> str:
        """The id of the new run, with a seed of its own: of two runs with the same inputs only one publishes."""
        conf = {"seed": next(_SEEDS), **conf}
        answer = self.ask("POST", f"dags/{DAG}/dagRuns", {"logical_date": None, "conf": conf})
        return str(answer["dag_run_id"])

    def back_fill(self, month: str, **conf: Any) -> str:
        """The id of the run for this past month (YYYY-MM). Airflow takes one back-fill of a DAG after another."""

        def is_free() -> bool:
            return all(one["completed_at"] for one in self.ask("GET", f"backfills?dag_id={DAG}")["backfills"])

        wait_for("the back-fill before to be over", is_free)
        day = f"{month}-01T00:00:00Z"
        self.ask("POST", "backfills", {"dag_id": DAG, "from_date": day, "to_date": day, "dag_run_conf": conf})

        def made() -> list[str]:
            runs = self.runs(query="run_type=backfill&")
            return [str(run["dag_run_id"]) for run in runs if run["logical_date"].startswith(month)]

        wait_for(f"the run for {month}", made)
        return made()[0]

    def clear(self, run_id: str, task_id: str) -> None:
        """Have one task of a run that has ended run again."""
        what = {"dag_run_id": run_id, "task_ids": [task_id], "only_failed": False, "dry_run": False}
        self.ask("POST", f"dags/{DAG}/clearTaskInstances", what)

    def runs(self, dag: str = DAG, query: str = "") -> list[dict[str, Any]]:
        answer: list[dict[str, Any]] = self.ask("GET", f"dags/{dag}/dagRuns?{query}limit=100")["dag_runs"]
        return answer

    def returned(self, dag: str, run_id: str, task_id: str) -> Any:
        """What a task returned."""
        path = f"dags/{dag}/dagRuns/{quote(run_id)}/taskInstances/{task_id}/xcomEntries/return_value"
        return self.ask("GET", path)["value"]

    def run(self, run_id: str) -> dict[str, Any]:
        answer: dict[str, Any] = self.ask("GET", f"dags/{DAG}/dagRuns/{quote(run_id)}")
        return answer

    def tasks(self, run_id: str) -> dict[str, dict[str, Any]]:
        answer = self.ask("GET", f"dags/{DAG}/dagRuns/{quote(run_id)}/taskInstances")
        return {task["task_id"]: task for task in answer["task_instances"]}

    def log(self, run_id: str, task_id: str, try_number: int = 1) -> str:
        path = f"dags/{DAG}/dagRuns/{quote(run_id)}/taskInstances/{task_id}/logs/{try_number}?full_content=true"
        return json.dumps(self.ask("GET", path))

    def wait_for_task(self, run_id: str, task_id: str, *states: str, seconds: float = 600) -> None:
        def is_there() -> bool:
            run = self.run(run_id)
            assert run["state"] not in ENDED or "success" in states, self.story(run_id)
            return self.tasks(run_id)[task_id]["state"] in states

        wait_for(f"{task_id} to be {' or '.join(states)}", is_there, seconds)

    def ended(self, run_id: str, seconds: float = 900) -> str:
        """The state in which the run ended."""
        wait_for(f"the end of {run_id}", lambda: self.run(run_id)["state"] in ENDED, seconds)
        return str(self.run(run_id)["state"])

    def story(self, run_id: str) -> str:
        """For the message of a test that fails."""
        lines = [f"{name}: {task['state']}, try {task['try_number']}" for name, task in self.tasks(run_id).items()]
        failed = [name for name, task in self.tasks(run_id).items() if task["state"] in ("failed", "up_for_retry")]
        logs = [self.log(run_id, name, self.tasks(run_id)[name]["try_number"])[-3000:] for name in failed]
        return "\n".join([*lines, *logs])


@dataclass(frozen=True)
class Registry:
    """The bucket of models, and `bwpredict` in the workers' environment."""

    stack: Stack

    def bwpredict(self, *arguments: str) -> str:
        return run_once(["bwpredict", *arguments], self.stack.environment("worker"))

    def read(self, key: str, bucket: str = "bwpredict-models") -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.client.get_object(Bucket=bucket, Key=key)["Body"].read())
        return document

    def work_area(self, run_id: str) -> dict[str, str]:
        """Object in the bucket of work areas by name of each file of the run; empty: there is none yet."""
        if f"areas/{run_id}.json" not in self.objects("bwpredict-work"):
            return {}
        document = self.read(f"areas/{run_id}.json", "bwpredict-work")
        return {name: entry["object"] for name, entry in document["files"].items()}

    def read_of_run(self, run_id: str, name: str) -> dict[str, Any]:
        """A document of the run's work area."""
        return self.read(self.work_area(run_id)[name], "bwpredict-work")

    def objects(self, bucket: str = "bwpredict-models") -> list[str]:
        return list(self.etags(bucket))

    def etags(self, bucket: str = "bwpredict-models") -> dict[str, str]:
        """ETag of each object by its key."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
        return {found["Key"]: found["ETag"] for page in pages for found in page.get("Contents", [])}

    @cached_property
    def client(self) -> Any:
        return boto3.client(
            "s3",
            endpoint_url=self.stack.s3.endpoint,
            region_name="us-east-1",
            aws_access_key_id=self.stack.variables["S3_ACCESS_KEY_ID"],
            aws_secret_access_key=self.stack.variables["S3_SECRET_ACCESS_KEY"],
        )

    def versions(self) -> set[str]:
        return {key.split("/")[1] for key in self.objects() if key.startswith("models/")}
