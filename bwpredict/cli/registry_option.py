"""Which registry a command is about: by place, or by the name of a model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from bwpredict.config import DEFAULT_MODEL, Settings
from bwpredict.errors import ConfigError
from bwpredict.pipeline.model_catalog import find_model

if TYPE_CHECKING:
    from bwpredict.store.base import Store

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


def open_registry(registry: str, model: str) -> Store:
    """The registry at this place or, where that is empty, of this model.

    Raises:
        ConfigError: both are given, there is no such model, or its registry cannot be.
    """
    from bwpredict.store.factory import open_store

    if registry and model:
        raise ConfigError("--registry and --model both say which registry is meant: give one of them.")
    return open_store(registry or settings_of(model).registry)


def settings_of(model: str) -> Settings:
    """The settings of the model of this name; empty: `default`. Raises ConfigError."""
    installation = Settings()
    return find_model(model or DEFAULT_MODEL, installation).settings(installation)
