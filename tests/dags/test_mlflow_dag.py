"""The DAG `bandwidth_model_to_mlflow` against a real MLflow server."""

import pytest
from challengers import NOW, V1, V2
from fixtures_mlflow import REPOSITORY, asked
from fixtures_prometheus import free_port
from models import publish_model

from bwpredict.registry.promotion import read_production, rollback
from bwpredict.store.factory import open_store

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
NAME = "bandwidth_predictor"


@pytest.fixture
def store(tmp_path):
    """V2 is in production, and took the place of V1."""
    store = open_store(str(tmp_path / "registry"))
    publish_model(store, tmp_path, V1)
    publish_model(store, tmp_path, V2, champion=V1, factor=2.0)
    return store


@pytest.fixture
def run(airflow, mlflow_python, store):
    """Runs the DAG against the server at an address."""

    def run_(address):
        return airflow.json_of(
            "run_mlflow.py",
            BWPREDICT_MLFLOW_TRACKING_URI=address,
            BWPREDICT_MLFLOW_PYTHON=str(mlflow_python),
            BWPREDICT_REGISTRY=store.uri,
            PYTHONPATH=str(REPOSITORY),
            MLFLOW_HTTP_REQUEST_MAX_RETRIES="1",
            MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR="0",
        )

    return run_


def test_a_run_registers_what_is_in_production_and_moves_the_alias_after_a_rollback(run, store, mlflow_server):
    for version in (V2, V1):
        ended = run(mlflow_server)
        assert (ended["state"], ended["tasks"]) == ("success", {"push": "success"}), ended["log"]
        champion = asked(mlflow_server, "registered-models/alias", name=NAME, alias="champion")["model_version"]
        assert {tag["key"]: tag["value"] for tag in champion["tags"]}["bwpredict.version"] == version
        rollback(store, promoted_by="anna", now=NOW) if version == V2 else None


def test_without_an_answer_the_run_is_red_and_production_as_it_was(run, store):
    before = read_production(store)
    ended = run(f"http://user:planted@127.0.0.1:{free_port()}")
    assert (ended["state"], ended["tasks"]) == ("failed", {"push": "failed"}), ended["log"]
    assert "Production is as it was" in ended["log"]
    assert "planted" not in ended["log"]
    assert read_production(store) == before
