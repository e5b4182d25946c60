"""A published version in MLflow: a run with its model, parameters and figures, and a version of a registered model.

The alias `champion` follows production: it moves after production has moved, never before.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import onnx
import pandas as pd
from requests.exceptions import RequestException

from bwpredict.documents import read_document
from bwpredict.errors import ConfigError, PushError
from bwpredict.inference.guard import check_onnx
from bwpredict.registry.layout import CONFORMANCE_NAME, metadata_name, onnx_name
from bwpredict.registry.pointer import read_production
from bwpredict.registry.versions import fetch, read_manifest
from bwpredict.store.base import Store

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # read when mlflow is imported
os.environ["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] = "true"  # the URL that it prints has the password
os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")

import mlflow
import mlflow.onnx
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.types import Schema, TensorSpec

ALIAS = "champion"
VERSION_TAG, SHA256_TAG = "bwpredict.version", "bwpredict.onnx_sha256"

Document = dict[str, Any]


@dataclass(frozen=True)
class Pushed:
    """A version as MLflow has it."""

    version: str
    name: str
    """Of the registered model."""
    number: str
    """Which version of it."""
    is_champion: bool
    """Whether production serves it, so that the alias is on it."""


def push(store: Store, version: str, folder: Path, *, tracking_uri: str, name: str) -> Pushed:
    """Register `version` as one of the registered model `name`, unless it is; put the alias on it if it serves.

    Args:
        folder: an empty one, for the version's files.

    Raises:
        ObjectMissingError, ObjectCorruptError, DocumentError, ModelError: the version is incomplete.
        PushError: MLflow did not answer, or refused.
    """
    with _explained(tracking_uri):
        mlflow.set_tracking_uri(tracking_uri)
        number = _find(name, version) or _register(store, version, folder, name)
        production = read_production(store)
        is_champion = production is not None and production.version == version
        if is_champion:
            mlflow.MlflowClient().set_registered_model_alias(name, ALIAS, number)
    return Pushed(version, name, number, is_champion)


def version_in_production(store: Store) -> str:
    """What is in production. Raises ConfigError: nothing."""
    production = read_production(store)
    if production is None:
        raise ConfigError(f"{store.uri}: nothing is in production yet, so there is nothing to push.")
    return production.version


def _find(name: str, version: str) -> str | None:
    found = mlflow.MlflowClient().search_model_versions(f"name = '{name}'")
    return next((str(each.version) for each in found if each.tags.get(VERSION_TAG) == version), None)


def _register(store: Store, version: str, folder: Path, name: str) -> str:
    """The run first; only a complete run is registered."""
    fetch(store, version, list(read_manifest(store, version).sha256), folder)
    metadata = read_document(folder / metadata_name(version), "model_metadata")
    content = check_onnx(folder / onnx_name(version), name=onnx_name(version))
    tags = {VERSION_TAG: version, SHA256_TAG: metadata["onnx"]["sha256"]}
    mlflow.set_experiment(name)
    with mlflow.start_run(run_name=version, tags=tags):
        mlflow.log_params(_parameters(metadata))
        mlflow.log_metrics(_figures(metadata["performance_metrics"]))
        mlflow.log_artifacts(str(folder), "published")
        logged = mlflow.onnx.log_model(
            onnx.load_from_string(content),
            name="model",
            signature=_signature(metadata["contract"]),
            input_example=_example(folder / CONFORMANCE_NAME, metadata["contract"]),
            pip_requirements=[f"{package}=={installed_version(package)}" for package in ("onnx", "onnxruntime")],
            save_as_external_data=False,
        )
        return str(mlflow.register_model(logged.model_uri, name, tags=tags).version)


def _parameters(metadata: Mapping[str, Any]) -> Document:
    run = metadata["run"]
    told = {name: run[name] for name in ("month", "history_months", "telemetry", "code_version")}
    told |= {"snapshot_id": metadata["data"]["snapshot_id"], "policy": run["policy"]["name"]}
    return told | {f"training.{name}": value for name, value in _flat(metadata["training_config"]).items()}


def _figures(performance: Mapping[str, Any]) -> dict[str, float]:
    """All numbers, by their path in the document."""
    numbers = {name: value for name, value in _flat(performance).items() if isinstance(value, int | float)}
    return {name: float(value) for name, value in numbers.items() if np.isfinite(value)}


def _flat(document: Mapping[str, Any]) -> Document:
    """The document's values, by their path in it."""
    return {str(path): value for path, value in pd.json_normalize(dict(document)).iloc[0].to_dict().items()}


def _signature(contract: Mapping[str, Any]) -> ModelSignature:
    windows = (-1, contract["window_size"], len(contract["input"]["columns"]))
    outputs = [contract["output"], *contract.get("further_outputs", [])]
    return ModelSignature(
        inputs=Schema([TensorSpec(np.dtype("float32"), windows, contract["input"]["name"])]),
        outputs=Schema([TensorSpec(np.dtype("float32"), (-1, len(one["columns"])), one["name"]) for one in outputs]),
    )


def _example(path: Path, contract: Mapping[str, Any]) -> dict[str, Any] | None:
    """The first of the windows that the version was published with."""
    if not path.is_file():
        return None
    case = read_document(path, "conformance")["cases"][0]
    return {contract["input"]["name"]: np.array([case["input"]], np.float32)}


@contextmanager
def _explained(tracking_uri: str) -> Iterator[None]:
    try:
        yield
    except (MlflowException, RequestException) as error:
        secret = urlsplit(tracking_uri).netloc.rpartition("@")[0]
        said = " ".join((str(error).replace(f"{secret}@", "") if secret else str(error)).split()).rstrip(".")
        raise PushError(f"MLflow: {said}. Production is as it was; push again.") from error
