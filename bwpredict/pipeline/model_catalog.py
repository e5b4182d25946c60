"""Several models from one installation: a YAML file names them, one for each fleet or region.

Each has its own telemetry, production pointer, gate policy, schedule and DAG. The model `default` is always
there; without a file (`BWPREDICT_MODELS`) it is the only one, and everything is as if there were no names.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from bwpredict.config import DEFAULT_MODEL, Settings, TrainingConfig, load, read_yaml
from bwpredict.errors import ConfigError
from bwpredict.gate.policies import DEFAULT as DEFAULT_POLICY
from bwpredict.gate.policies import unknown_policy

MONTHLY = "0 0 1 * *"
_SEPARATOR = "__"
_NOT_A_NAME = ("alerts", "history", "models", "monitoring", "training")
"""Folders of a registry: a model of that name would be inside the registry of `default`."""


class NamedModel(BaseModel):
    """One entry of the file. What is left out is as for `default`, but for telemetry and registry."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: str = Field(pattern=r"^[a-z][a-z0-9-]{0,39}$")
    telemetry: str | None = Field(None, min_length=1)
    """Store with the telemetry: a folder or `s3://bucket/prefix`. None, for `default` only: `BWPREDICT_TELEMETRY`."""
    registry: str | None = Field(None, min_length=1)
    """Store with the published models. None: `BWPREDICT_REGISTRY` for `default`, else the folder `name` in it."""
    policy: str = Field(DEFAULT_POLICY, min_length=1)
    """Name of the gate policy."""
    schedule: str | None = MONTHLY
    """Cron expression, in UTC. None: by hand only."""
    history_months: int = Field(1, ge=1, le=36)
    training: dict[str, Any] = {}
    """Fields of `TrainingConfig` with another default than there."""

    @field_validator("name")
    @classmethod
    def _is_no_folder_of_a_registry(cls, value: str) -> str:
        if value in _NOT_A_NAME:
            raise ValueError(f"is a folder of every registry; expected another name than {', '.join(_NOT_A_NAME)}")
        return value

    @field_validator("schedule")
    @classmethod
    def _comes(cls, value: str | None) -> str | None:
        if value is not None and not _is_cron(value):
            raise ValueError(f"expected a cron expression of five fields that fires, such as '{MONTHLY}', or null")
        return value

    @field_validator("training")
    @classmethod
    def _are_hyperparameters(cls, values: dict[str, Any]) -> dict[str, Any]:
        try:
            TrainingConfig.model_validate(values, strict=True)
        except ValidationError as error:
            first = error.errors()[0]
            raise ValueError(": ".join([*map(str, first["loc"]), first["msg"]])) from error
        return values

    @model_validator(mode="after")
    def _says_what_it_is_trained_on(self) -> Self:
        if self.name != DEFAULT_MODEL and self.telemetry is None:
            raise ValueError("telemetry: missing; every model except 'default' needs the place of its telemetry")
        return self

    def settings(self, installation: Settings) -> Settings:
        """The installation's settings with this model's own telemetry, registry and folder of work areas."""
        own: dict[str, Any] = {"telemetry": self.telemetry, "registry": self.registry}
        if self.name != DEFAULT_MODEL:
            own["registry"] = self.registry or f"{installation.registry.rstrip('/')}/{self.name}"
            own["work"] = installation.work / self.name
        return installation.model_copy(update={key: value for key, value in own.items() if value is not None})

    def named(self, what: str) -> str:
        """The name of this model's `what` (DAG, asset): the bare name for `default`."""
        return what if self.name == DEFAULT_MODEL else f"{what}{_SEPARATOR}{self.name}"

    @property
    def defaults(self) -> dict[str, Any]:
        """What the params of a run are, unless a person asks for something else."""
        return {"history_months": self.history_months, "policy": self.policy, **self.training}


DEFAULT_ENTRY = NamedModel(name=DEFAULT_MODEL)
"""What there is without a file."""


def read_models(installation: Settings) -> list[NamedModel]:
    """All models: `default`, then those of the file in its order. Opens no store and imports nothing heavy.

    Raises:
        ConfigError: one sentence with the file, the model and the key.
    """
    models = list(_models_in(Path(installation.models))) if installation.models else []
    if not any(model.name == DEFAULT_MODEL for model in models):
        models.insert(0, DEFAULT_ENTRY)
    models.sort(key=lambda model: model.name != DEFAULT_MODEL)
    _require_apart(models, installation)
    for model in models:
        if why := unknown_policy(model.policy, installation.policies):
            raise ConfigError(f"{installation.models}: model {model.name!r}: policy: {why}")
    return models


def find_model(name: str, installation: Settings) -> NamedModel:
    """The model of this name. Raises ConfigError: there is none, or as `read_models`."""
    models = {model.name: model for model in read_models(installation)}
    if name not in models:
        close = difflib.get_close_matches(name, models, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise ConfigError(f"model: {name!r} is not a model; there are: {', '.join(models)} (BWPREDICT_MODELS).{hint}")
    return models[name]


def model_of_dag(dag_id: str, installation: Settings) -> NamedModel:
    """The model that the DAG of this id (as `NamedModel.named` made it) is about. Raises ConfigError."""
    return find_model(dag_id.partition(_SEPARATOR)[2] or DEFAULT_MODEL, installation)


def _models_in(path: Path) -> Iterator[NamedModel]:
    content = read_yaml(path, "file of models (BWPREDICT_MODELS)")
    if not isinstance(content, dict) or set(content) != {"models"} or not isinstance(content["models"], list):
        raise ConfigError(f"{path}: expected one key, 'models', with a list of models that each have a name.")
    for place, entry in enumerate(content["models"], start=1):
        name = entry.get("name") if isinstance(entry, Mapping) else None
        origin = f"{path}: " + (f"model {name!r}" if isinstance(name, str) else f"model number {place}")
        if not isinstance(entry, Mapping):
            raise ConfigError(f"{origin}: expected a mapping of keys to values, not {entry!r}.")
        yield load(NamedModel, dict(entry), origin=origin)


def _require_apart(models: Sequence[NamedModel], installation: Settings) -> None:
    """Two models of one name, or with one production pointer, would publish over one another."""
    names: set[str] = set()
    registries: dict[str, str] = {}
    for model in models:
        if model.name in names:
            raise ConfigError(f"{installation.models}: model {model.name!r}: is named twice; give each its own name.")
        names.add(model.name)
        registry = _place(model.settings(installation).registry)
        if registry in registries:
            raise ConfigError(
                f"{installation.models}: model {model.name!r}: registry: {registry} is that of "
                f"{registries[registry]!r} too; each model needs its own, for its own production pointer."
            )
        registries[registry] = model.name


def _place(store: str) -> str:
    return store.rstrip("/") if "://" in store else str(Path(store).resolve())


def _is_cron(expression: str) -> bool:
    from croniter import CroniterError, croniter

    try:
        croniter(expression, datetime(2026, 1, 1, tzinfo=UTC)).get_next()
    except CroniterError:  # not an expression, or a day that never comes
        return False
    return len(expression.split()) == 5
