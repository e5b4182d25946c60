"""The command line's `bwpredict push`: published versions into other tools' registries."""

from __future__ import annotations

import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from bwpredict.cli.registry_option import AsJson, Model, Registry, open_registry, report
from bwpredict.config import DEFAULT_MODEL, Settings
from bwpredict.errors import ConfigError
from bwpredict.pipeline.model_catalog import find_model

app = typer.Typer(help="Register published versions in other tools.", no_args_is_help=True)


@app.command("mlflow", epilog="Example: bwpredict push mlflow --tracking-uri http://mlflow:5000")
def push_mlflow(
    version: Annotated[
        str, typer.Argument(help="A published version (default: the one in production).", show_default=False)
    ] = "",
    registry: Registry = "",
    model: Model = "",
    tracking_uri: Annotated[
        str, typer.Option(help="MLflow's tracking server (default: $BWPREDICT_MLFLOW_TRACKING_URI).")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Register a published version in MLflow; set the alias champion if it is in production."""
    from bwpredict.exports import mlflow

    uri = tracking_uri or Settings().mlflow_tracking_uri
    if not uri:
        raise ConfigError("no MLflow server: give --tracking-uri, or set BWPREDICT_MLFLOW_TRACKING_URI.")
    store = open_registry(registry, model)
    name = find_model(model or DEFAULT_MODEL, Settings()).named("bandwidth_predictor")
    with tempfile.TemporaryDirectory() as folder:
        pushed = mlflow.push(
            store, version or mlflow.version_in_production(store), Path(folder), tracking_uri=uri, name=name
        )
    champion = (
        "the alias champion points to it"
        if pushed.is_champion
        else "it is not in production, so the alias champion does not move"
    )
    sentence = f"{pushed.version} is version {pushed.number} of {pushed.name} in MLflow; {champion}"
    report(asdict(pushed), sentence, as_json=as_json)
