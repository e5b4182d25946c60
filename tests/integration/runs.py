"""Airflow's REST API as its user sees it: trigger, watch, read the log; and the registry as a consumer sees it."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import quote

import boto3
import httpx
from processes import run_once, wait_for
from stack import Stack

DAG = "bandwidth_predictor_retrain"
ENDED = ("success", "failed")


@dataclass(frozen=True)
class Api:
    """The stack, asked over HTTP as the user `admin`."""

    stack: Stack

    @cached_property
    def _headers(self) -> dict[str, str]:
        who = {"username": "admin", "password": self.stack.variables["AIRFLOW_ADMIN_PASSWORD"]}
        answer = httpx.post(f"{self.stack.url}/auth/token", json=who, timeout=60)
        return {"Authorization": f"Bearer {answer.raise_for_status().json()['access_token']}"}

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """Patient with a server that is away for a moment, but never asks twice for a change."""
        tries = 10 if method == "GET" else 1
        for left in reversed(range(tries)):
            try:
                answer = httpx.request(
                    method, f"{self.stack.url}/api/v2/{path}", json=body, headers=self._headers, timeout=60
                )
                return answer.raise_for_status().json()
            except httpx.HTTPError:
                if not left:
                    raise
                time.sleep(2)
        raise AssertionError

    def unpause(self) -> None:
        self.ask("PATCH", f"dags/{DAG}", {"is_paused": False})

    def trigger(self, **conf: Any) -> str:
        """The id of the new run."""
        answer = self.ask("POST", f"dags/{DAG}/dagRuns", {"logical_date": None, "conf": conf})
        return str(answer["dag_run_id"])

    def runs(self) -> list[dict[str, Any]]:
        answer: list[dict[str, Any]] = self.ask("GET", f"dags/{DAG}/dagRuns?limit=100")["dag_runs"]
        return answer

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

    def read(self, key: str) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.client.get_object(Bucket="bwpredict-models", Key=key)["Body"].read())
        return document

    def objects(self, bucket: str = "bwpredict-models") -> list[str]:
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
        return [found["Key"] for page in pages for found in page.get("Contents", [])]

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
