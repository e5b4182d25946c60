"""A real MLflow server with its registry on SQLite, in a separate environment."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from fixtures_prometheus import free_port

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def mlflow_python() -> Path:
    """The Python of the environment with MLflow, which Airflow's cannot hold."""
    command = ["bash", "scripts/mlflow.sh"]
    made = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip(f"MLflow cannot be installed: {made.stderr.strip()[-300:]}")
    return REPOSITORY / "build" / "mlflow" / "bin" / "python"


@pytest.fixture(scope="module")
def mlflow_server(mlflow_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a tracking server with its registry on SQLite."""
    folder, port = tmp_path_factory.mktemp("mlflow"), free_port()
    command = [mlflow_python, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    places = ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", str(folder / "files")]
    environment = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [*command, *places], stdout=log, stderr=log, env=environment, cwd=folder, start_new_session=True
        )
        try:
            yield _wait(process, f"http://127.0.0.1:{port}", folder / "log")
        finally:
            os.killpg(process.pid, 15)
            process.wait(30)


def _wait(process: subprocess.Popen[bytes], address: str, log: Path) -> str:
    for _ in range(600):
        try:
            requests.get(f"{address}/health", timeout=5).raise_for_status()
        except requests.RequestException:
            assert process.poll() is None, log.read_text()
            time.sleep(0.2)
        else:
            return address
    raise AssertionError(log.read_text())


def asked(address: str, what: str, **query: str) -> Any:
    """The server's answer to a question of its REST interface."""
    answer = requests.get(f"{address}/api/2.0/mlflow/{what}", params=query, timeout=30)
    answer.raise_for_status()
    return answer.json()
