"""A whole Airflow with two months of telemetry, and a model whose gate lets small trainings through."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import yaml
from airflow_server import AirflowServer, running_airflow
from whole_airflow import DAG, wait_for_run

from bwpredict.synth.fleet import FleetConfig
from bwpredict.synth.writer import write_partitioned

LENIENT = {
    "name": "lenient",
    "minimum_average_correlation": -1.0,
    "minimum_accuracy_percent": -100.0,
    "maximum_average_mape_percent": 1000.0,
    "minimum_skill": -1.0,
    "within_link_correlation_margin": 2.0,
    "champion_margin_percent": 100.0,
    "maximum_latency_p99_ms": 10000.0,
}
SMALL = {"epochs": 1, "windows_per_epoch": 640, "highway_epochs": 1, "seed": 7}


@pytest.fixture(scope="session")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AirflowServer]:
    """Its first model, of 2026-08, is in production."""
    root = tmp_path_factory.mktemp("whole-airflow")
    for start in ("2026-08-01", "2026-09-01"):
        write_partitioned(FleetConfig(links=3, days=9, start=start, seed=5), root / "telemetry")
    (root / "policies").mkdir()
    (root / "policies" / "lenient.yaml").write_text(yaml.safe_dump(LENIENT))
    models = {"models": [{"name": "default", "policy": "lenient", "training": SMALL}]}
    (root / "models.yaml").write_text(yaml.safe_dump(models))
    with running_airflow(
        root,
        "standalone",
        BWPREDICT_POLICIES=str(root / "policies"),
        BWPREDICT_MODELS=str(root / "models.yaml"),
        AIRFLOW__CORE__PARALLELISM="2",
    ) as server:
        server.api("PATCH", DAG, {"is_paused": False})
        run = server.api("POST", f"{DAG}/dagRuns", {"logical_date": None, "conf": {"month": "2026-08"}}).json
        ended = wait_for_run(server, run["dag_run_id"])
        assert ended["state"] == "success", ended
        yield server


@pytest.fixture(scope="session")
def first_run(airflow: AirflowServer) -> str:
    """The run that published the first model."""
    runs = airflow.api("GET", f"{DAG}/dagRuns?run_type=manual&order_by=run_after").json["dag_runs"]
    return runs[0]["dag_run_id"]
