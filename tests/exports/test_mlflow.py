"""`bwpredict push mlflow` against a real MLflow server on SQLite; both run in a separate environment."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from challengers import NOW, V1, V2
from fixtures_mlflow import REPOSITORY, asked
from fixtures_prometheus import free_port
from models import publish_model, windows

from bwpredict.registry.promotion import promote, read_production, rollback
from bwpredict.store.factory import open_store

NAME = "bandwidth_predictor"
FORECAST = f"""
import numpy, sys, mlflow.pyfunc
model = mlflow.pyfunc.load_model("models:/{NAME}@champion")
answer = model.predict({{"input": numpy.load(sys.argv[1])}})
numpy.save(sys.argv[2], answer["output"])
print(model.metadata.signature.inputs, model.input_example["input"].shape)
"""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def run_there(mlflow_python, address, *arguments):
    """The environment's Python with bwpredict and the server's address: exit code and all that it said."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(REPOSITORY),
        "BWPREDICT_MLFLOW_TRACKING_URI": address,
        "MLFLOW_TRACKING_URI": address,
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
        "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "0",
    }
    command = [mlflow_python, *map(str, arguments)]
    ended = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    return ended.returncode, ended.stdout + ended.stderr


def test_mlflow_has_what_is_in_production_and_its_champion_moves_after_production(
    mlflow_python, mlflow_server, tmp_path
):
    store = open_store(str(tmp_path / "registry"))
    publish_model(store, tmp_path, V1)
    publish_model(store, tmp_path, V2, champion=V1, factor=2.0)
    rollback(store, promoted_by="anna", now=NOW)
    push = ("-m", "bwpredict", "push", "mlflow", "--registry", store.uri)

    def champion():
        return asked(mlflow_server, "registered-models/get", name=NAME)["registered_model"]["aliases"]

    code, said = run_there(mlflow_python, mlflow_server.replace("//", "//user:planted@"), *push, V2)
    assert (code, "it is not in production, so the alias champion does not move" in said) == (0, True), said
    assert "planted" not in said
    assert "aliases" not in asked(mlflow_server, "registered-models/get", name=NAME)["registered_model"]

    code, said = run_there(mlflow_python, mlflow_server, *push)
    assert (code, f"{V1} is version 2 of {NAME} in MLflow; the alias champion points to it" in said) == (0, True), said
    assert champion() == [{"alias": "champion", "version": "2"}]

    promote(store, V2, promoted_by="anna", now=NOW)
    assert champion() == [{"alias": "champion", "version": "2"}]
    code, said = run_there(mlflow_python, mlflow_server, *push)
    assert (code, f"{V2} is version 1 of {NAME}" in said) == (0, True), said
    assert champion() == [{"alias": "champion", "version": "1"}]

    version = asked(mlflow_server, "model-versions/get", name=NAME, version="1")["model_version"]
    run = asked(mlflow_server, "runs/get", run_id=version["run_id"])["run"]
    parameters, figures = ({one["key"]: one["value"] for one in run["data"][key]} for key in ("params", "metrics"))
    assert (run["info"]["status"], run["info"]["run_name"]) == ("FINISHED", V2)
    assert (parameters["training.seed"], parameters["month"]) == ("42", "2026-10")
    assert figures["overall.average_correlation"] < 1
    assert figures["per_target.rtt_ms.mae"] > 0

    given, answer = tmp_path / "given.npy", tmp_path / "answer.npy"
    np.save(given, windows(5))
    code, said = run_there(mlflow_python, mlflow_server, "-c", FORECAST, given, answer)
    assert code == 0, said
    assert "(1, 20, 9)" in said
    assert np.allclose(np.load(answer), 2 * windows(5)[:, -1, :4])


def test_an_mlflow_that_is_away_costs_production_nothing(mlflow_python, tmp_path):
    store = open_store(str(tmp_path / "registry"))
    publish_model(store, tmp_path, V1)
    before = read_production(store)
    address = f"http://user:planted@127.0.0.1:{free_port()}"
    code, said = run_there(mlflow_python, address, "-m", "bwpredict", "push", "mlflow", "--registry", store.uri)
    assert (code, "error: MLflow: " in said, "Production is as it was" in said) == (2, True, True), said
    assert "planted" not in said
    assert "Traceback" not in said
    assert read_production(store) == before


def test_without_mlflow_the_command_names_the_extra(cli, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow", None)  # as if it were not installed
    command = ("push", "mlflow", "--registry", tmp_path, "--tracking-uri", "http://127.0.0.1:9")
    code, _, said = cli(*command)
    assert (code, "pip install 'bwpredict[mlflow]'" in said) == (2, True)
