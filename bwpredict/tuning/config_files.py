"""Training configuration files: written by hand or proposed by a search, reviewed, then used by name.

```
<registry>/training/proposed/<name>.yaml   what a search found; nothing reads it but people
<registry>/training/approved/<name>.yaml   the same bytes, with who approved them and when at the end
```

Both are written once and never changed. A file sets hyperparameters only: how long to train, the seed and
the model's contract (window, horizon) stay with the run.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from bwpredict.config import TrainingConfig, TrainingSource, load
from bwpredict.errors import ConfigError, ConflictError, ObjectMissingError
from bwpredict.store.base import Store
from bwpredict.store.factory import open_store

NOT_IN_A_FILE = frozenset({"epochs", "windows_per_epoch", "seed", "window_size", "horizon_minutes"})
NAME = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,79}$"
_PROPOSED, _APPROVED = "training/proposed/", "training/approved/"
_APPROVAL = b"\napproval:\n"


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class StudyRecord(_Record):
    """The search that a configuration came from: what it takes to run it again, and what it reached."""

    snapshot_id: str = Field(description="digest of the telemetry")
    telemetry: str
    code_version: str
    created_at: str
    seed: int
    epochs: int
    windows_per_epoch: int
    pruner: str
    trials: int = Field(ge=1, description="finished trials, those that were pruned included")
    pruned: int = Field(ge=0)
    best_trial: int = Field(ge=0)
    validation_loss: float
    default_validation_loss: float = Field(description="mean over its seeds")
    within_noise: bool | None = Field(default=None, description="None: not measured")


class Approval(_Record):
    """Who let a configuration be used by name, when, and the digest of what they saw."""

    by: str = Field(min_length=1)
    at: str
    proposal_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class TrainingFile(_Record):
    """The content of a training configuration file."""

    format: Literal[1]
    name: str = Field(pattern=NAME)
    training: dict[str, Any]
    study: StudyRecord | None = None
    approval: Approval | None = None

    @field_validator("training")
    @classmethod
    def _are_hyperparameters(cls, values: dict[str, Any]) -> dict[str, Any]:
        if kept := sorted(set(values) & NOT_IN_A_FILE):
            raise ValueError(f"{kept[0]} belongs to the run and cannot be set here")
        try:
            TrainingConfig.model_validate(values, strict=True)
        except ValidationError as error:
            first = error.errors()[0]
            raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error
        return values


def parse(content: bytes, *, origin: str) -> TrainingFile:
    """The training configuration in `content`. Raises ConfigError, which names `origin` and the key."""
    try:
        values = yaml.safe_load(content)
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{origin}: cannot be read as a YAML training configuration: {error}.") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{origin}: a training configuration is a mapping of names to values.")
    return load(TrainingFile, values, origin=origin)


def resolve(name_or_path: str, registry: str) -> tuple[dict[str, Any], TrainingSource | None]:
    """The hyperparameters that `name_or_path` stands for, and where they came from; none for the empty text.

    A path (with a slash, or ending in .yaml or .yml) is any file; a name is one that was approved in `registry`.

    Raises:
        ConfigError: no such file or name, not valid, or proposed and not yet approved.
    """
    if not name_or_path:
        return {}, None
    if "/" in name_or_path or name_or_path.endswith((".yaml", ".yml")):
        content, origin = _read_path(Path(name_or_path)), name_or_path
        file = parse(content, origin=origin)
    else:
        content, file = _read_approved(open_store(registry), name_or_path)
    approval = file.approval
    source = TrainingSource(
        name=file.name,
        sha256=hashlib.sha256(content).hexdigest(),
        approved_by=approval.by if approval else None,
        approved_at=approval.at if approval else None,
    )
    return dict(file.training), source


def propose(store: Store, path: Path) -> str:
    """Put the file at `path` among the registry's proposals; the same file again is no change. Returns its name.

    Raises:
        ConfigError: not a training configuration, or there is another proposal of its name.
    """
    file = parse(_read_path(path), origin=str(path))
    try:
        store.upload(path, _PROPOSED + f"{file.name}.yaml")
    except ConflictError as error:
        raise ConfigError(
            f"{file.name}: the registry has another proposal with this name; give the study another name."
        ) from error
    return file.name


def approve(store: Store, name: str, *, by: str, now: datetime) -> TrainingFile:
    """Let a proposed configuration be used by its name, on record; what is approved never changes again.

    Raises:
        ConfigError: nothing of that name is proposed, it is not valid, or it was approved before.
    """
    proposed = _read(store, _PROPOSED, name)
    if proposed is None:
        raise ConfigError(f"{name}: no such proposal in {store.uri}; there are: {_names(store, _PROPOSED)}.")
    parse(proposed, origin=f"{store.uri}/{_PROPOSED}{name}.yaml")
    approval = Approval(
        by=by,
        at=now.astimezone(UTC).isoformat(timespec="seconds"),
        proposal_sha256=hashlib.sha256(proposed).hexdigest(),
    )
    lines = yaml.safe_dump({"approval": approval.model_dump()}, sort_keys=False)
    content = proposed + b"\n" + lines.encode()
    try:
        store.write(f"{_APPROVED}{name}.yaml", content, if_etag=None)
    except ConflictError as error:
        _, before = _read_approved(store, name)
        assert before.approval is not None  # noqa: S101 - _read_approved saw to it
        raise ConfigError(f"{name}: was already approved by {before.approval.by} at {before.approval.at}.") from error
    return parse(content, origin=name)


def _read_path(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); expected a training configuration.") from error


def _read_approved(store: Store, name: str) -> tuple[bytes, TrainingFile]:
    """An approved file that is still what was approved."""
    content = _read(store, _APPROVED, name)
    if content is None:
        raise ConfigError(_why_not_approved(store, name))
    origin = f"{store.uri}/{_APPROVED}{name}.yaml"
    file = parse(content, origin=origin)
    reviewed = content[: content.rfind(_APPROVAL)]
    if (
        file.name != name
        or file.approval is None
        or file.approval.proposal_sha256 != hashlib.sha256(reviewed).hexdigest()
    ):
        raise ConfigError(f"{origin}: differs from what was approved under this name; approve it again.")
    return content, file


def _why_not_approved(store: Store, name: str) -> str:
    if _read(store, _PROPOSED, name) is not None:
        return (
            f"training_config: {name} is proposed but not approved; review {store.uri}/{_PROPOSED}{name}.yaml,"
            f" then: bwpredict tune approve {name} --registry {store.uri}"
        )
    return f"training_config: {name}: no such name in {store.uri}; approved are: {_names(store, _APPROVED)}."


def _read(store: Store, folder: str, name: str) -> bytes | None:
    try:
        return store.read(f"{folder}{name}.yaml")[0]
    except ObjectMissingError:
        return None


def _names(store: Store, folder: str) -> str:
    names = [each.key.removeprefix(folder).removesuffix(".yaml") for each in store.list(folder)]
    return ", ".join(names) or "none"
