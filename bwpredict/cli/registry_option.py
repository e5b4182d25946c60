"""Which registry a command is about: by place, or by the name of a model."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bwpredict.config import DEFAULT_MODEL, Settings
from bwpredict.errors import ConfigError
from bwpredict.pipeline.model_catalog import find_model

if TYPE_CHECKING:
    from bwpredict.store.base import Store

logger = logging.getLogger(__name__)

Registry = Annotated[
    str,
    typer.Option(
        help="Folder or s3://bucket/prefix with the published models (default: that of --model).", show_default=False
    ),
]
Model = Annotated[
    str,
    typer.Option(
        "--model", help="One of the models that $BWPREDICT_MODELS names (default: 'default').", show_default=False
    ),
]

Reason = Annotated[str | None, typer.Option(help="Why production moves; the history shows it.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]


def print_json(document: Any) -> None:
    """Write the document to stdout, for scripts; dates and paths become text."""
    print(json.dumps(document, indent=2, default=str))


def report(document: Any, sentence: str, *, as_json: bool) -> None:
    """Give the result of a command: the document for a script, or the sentence for a person."""
    if as_json:
        print_json(document)
    else:
        logger.info("%s", sentence)


def open_registry(registry: str, model: str) -> Store:
    """The registry at this place or, where that is empty, of this model.

    Raises:
        ConfigError: both are given, there is no such model, or its registry is a folder that does not exist.
    """
    from bwpredict.store.factory import open_store

    if registry and model:
        raise ConfigError("--registry and --model both say which registry is meant: give one of them.")
    place = registry or settings_of(model).registry
    if "://" not in place and not Path(place).exists():
        raise ConfigError(
            f"{place}: no such folder; expected a registry. Set it with --registry or $BWPREDICT_REGISTRY, or"
            " publish a first model with `bwpredict retrain`."
        )
    return open_store(place)


def settings_of(model: str) -> Settings:
    """The settings of the model of this name; empty: `default`. Raises ConfigError."""
    installation = Settings()
    return find_model(model or DEFAULT_MODEL, installation).settings(installation)
