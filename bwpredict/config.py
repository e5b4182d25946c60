"""Settings of an installation, configuration of a run, and gate policy: validated, with defaults."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from bwpredict import schema
from bwpredict.core.consumer_rules import ConsumerRules, shipped_rules
from bwpredict.core.guide import GUIDE_ACCURACY_PERCENT, GUIDE_CORRELATION, GUIDE_MAPE_PERCENT
from bwpredict.errors import ConfigError
from bwpredict.schema import Target

Model = TypeVar("Model", bound=BaseModel)
Cut = Literal["calendar", "link"]
Pruner = Literal["median", "hyperband", "none"]
"""How a search ends trials early."""

Engine = Literal["pandas", "spark"]
"""What Great Expectations runs the schema suite on."""

DEFAULT_MODEL = "default"
"""Name of the model of an installation that configures no others."""

GUIDE_THRESHOLDS: dict[str, Any] = {
    "minimum_average_correlation": GUIDE_CORRELATION,
    "maximum_average_mape_percent": GUIDE_MAPE_PERCENT,
    "minimum_accuracy_percent": GUIDE_ACCURACY_PERCENT,
    "mape_excluded_targets": [],
    "minimum_skill_by_target": {},
}
"""What the training guide asks for; a gate policy named `guide` cannot ask for anything else."""

SHIPPED = "shipped with bwpredict"
"""The origin of a policy that came with the package."""


class Settings(BaseSettings):
    """Where things are, from the environment: `BWPREDICT_TELEMETRY`, `BWPREDICT_REGISTRY`, …"""

    model_config = SettingsConfigDict(env_prefix="BWPREDICT_", frozen=True, use_attribute_docstrings=True)

    telemetry: str = "data/telemetry"
    """Store with the telemetry: a folder or `s3://bucket/prefix`."""
    registry: str = "data/registry"
    """Store with the published models: a folder or `s3://bucket/prefix`."""
    work: Path = Path("data/work")
    """Folder for the runs' work areas; without `work_store`, every machine must see the same one."""
    work_store: str = ""
    """Store through which machines share work areas, a folder or `s3://bucket/prefix`; `work` is then local to each."""
    alert_urls: str = ""
    """Apprise URLs, separated by blanks, that alerts go to. May hold secrets: never log it."""
    base_url: str = "http://localhost:8080"
    """Address of the Airflow UI, for links in alerts."""
    checkpoint_seconds: float = Field(30.0, ge=0)
    """Seconds between two saves of a training's state, from which another process can continue it."""
    rank_nodes: int = Field(1, ge=1)
    """Number of machines that share a training of several ranks."""
    rank_rendezvous: str = ""
    """host:port at which these machines meet; empty: one machine."""
    policies: str = ""
    """Folder with your own gate policies, in addition to the built-in ones; empty: none."""
    consumer_rules: str = ""
    """YAML file with what consumers do with a forecast; empty: the rules that come with bwpredict."""
    signing_key: str = ""
    """PEM file with the ed25519 key that signs published versions; empty: they are not signed."""
    openssf_key: str = ""
    """PEM file with the EC key that signs published versions for OpenSSF's `model_signing verify`; empty: none."""
    trusted_keys: str = ""
    """PEM files, separated by blanks, with the public keys that `--require-signature` trusts."""
    builder: str = "urn:bwpredict:local"
    """URI by which provenance names the installation that made a version."""
    metrics_file: Path | None = None
    """File that the monitor writes Prometheus metrics to, such as a textfile collector's `bwpredict.prom`."""
    pushgateway: str = ""
    """URL of a Pushgateway that the monitor pushes its metrics to; empty: none."""
    mlflow_tracking_uri: str = ""
    """MLflow server that models in production are registered in; empty: none. May hold a password: never log it."""
    mlflow_python: str = ""
    """Python that has `bwpredict[mlflow]`, for the DAG that registers models; empty: the one that Airflow runs on."""
    validation_engine: Engine = "pandas"
    """What Great Expectations runs the schema suite on: `pandas` in shards, or `spark` (needs `bwpredict[spark]`)."""
    models: str = ""
    """YAML file that defines several models; empty: only the model `default`."""


class _Strict(BaseModel):
    """An unknown key is an error; values do not change once made."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)


class TrainingConfig(_Strict):
    """Everything that decides the weights, in addition to snapshot and code."""

    epochs: int = Field(9, ge=1, le=1000)
    """maximum number of epochs; each draws `windows_per_epoch` windows"""
    batch_size: int = Field(512, ge=8, le=65536)
    """windows in each update, and for every 16 of them a chunk of one stream"""
    learning_rate: float = Field(3e-3, gt=0, le=1)
    """highest learning rate of the schedule"""
    window_size: int = Field(schema.WINDOW_SIZE, ge=schema.MINIMUM_WINDOW_SIZE, le=schema.MAXIMUM_WINDOW_SIZE)
    """samples in the input window"""
    horizon_minutes: int = Field(schema.HORIZON_MINUTES, ge=1, le=60)
    """how far ahead the model forecasts"""
    seed: int = Field(42, ge=0, lt=2**31)
    """the same seed gives the same result, bit for bit on CPU"""
    windows_per_epoch: int = Field(
        80_000, ge=64, description="training windows drawn for each epoch, at most twice those there are"
    )
    validation_windows: int = Field(4_000, ge=64, description="validation windows, evenly spread")
    patience_epochs: int = Field(4, ge=1, description="epochs without a better validation loss before training stops")
    gradient_clip_norm: float = Field(1.0, gt=0)
    """maximum norm of the gradient; larger gradients are scaled down"""
    weight_decay: float = Field(1e-4, ge=0)
    """weight decay of AdamW"""
    precision: Literal["float32", "bfloat16"] = "float32"
    """precision of the dense layers' products in training; the published model computes in float32"""
    architecture: Literal["compact", "guide"] = "compact"
    """`compact`: one LSTM layer; `guide`: the training guide's layers"""
    raw_error_share: float = Field(0.4, ge=0, le=1)
    """share of the loss that counts errors in raw units; the rest counts relative errors"""
    target_smoothing: int = Field(2, ge=0, le=30)
    """training learns the mean over this many minutes on each side of the target"""
    ranks: int = Field(1, ge=1, le=1024, description="processes that train together, each on its share of a batch")
    warm_start: bool = Field(default=False, description="also train the champion further, and keep the better model")

    @model_validator(mode="before")
    @classmethod
    def _read_without_pruning(cls, values: Any) -> Any:
        """The configurations of earlier models name the share that was pruned; 0 is what every model has now."""
        if isinstance(values, dict) and values.get("prune_share") == 0:
            return {key: value for key, value in values.items() if key not in ("prune_share", "fine_tune_epochs")}
        return values

    @model_validator(mode="after")
    def _each_rank_has_windows(self) -> Self:
        if self.batch_size < 2 * self.ranks:
            raise ValueError(f"batch_size {self.batch_size} is less than two windows for each of {self.ranks} ranks")
        return self


class SplitConfig(_Strict):
    """Shares of the time span, and days of the test part; what is left is the training part, which comes first."""

    validation: float = Field(0.1, gt=0, lt=0.5)
    """Share on which training chooses the best epoch."""
    calibration: float = Field(0.1, ge=0, lt=0.5)
    """Share on which the width of the intervals is set."""
    test: float = Field(0.15, gt=0, lt=0.5)
    """Share on which the gate judges."""
    test_days: int = Field(7, ge=1)
    """Minimum number of whole days in the test part, if they are at most two fifths of the span's days.

    Intervals count days, so few days do not distinguish two models. A shorter span has as many as fit."""
    by: Cut = "calendar"
    """`calendar`: one cut for all links. `link`: each link's own span is cut (for links that never overlap)."""
    embargo: bool = True
    """Leave out one window and horizon between two parts."""


_RENAMED_POLICY_FIELDS = {"mape_left_out": "mape_excluded_targets", "minimum_skill_of": "minimum_skill_by_target"}


class GatePolicy(_Strict):
    """What a challenger must reach. A named, versioned document; `guide` holds the defaults.

    A threshold of None (`null` in YAML) is not checked: the decision only shows the figure.
    """

    # Without strict mode, pydantic reads "0.9" and `yes` as numbers.
    model_config = ConfigDict(strict=True)

    @model_validator(mode="before")
    @classmethod
    def _current_names(cls, values: Any) -> Any:
        """Policies and runs written by 0.1 name two fields differently."""
        if not isinstance(values, dict):
            return values
        return {_RENAMED_POLICY_FIELDS.get(name, name): value for name, value in values.items()}

    name: str = Field("guide", min_length=1)
    """Name of the policy; decisions show it."""
    version: int = Field(1, ge=1)
    """Version of the policy; raise it with every change."""
    minimum_average_correlation: float | None = Field(GUIDE_CORRELATION, ge=-1, le=1)
    """Minimum correlation of forecast and actual value, averaged over the targets."""
    maximum_average_mape_percent: float | None = Field(GUIDE_MAPE_PERCENT, gt=0)
    """The average MAPE must be below this."""
    minimum_accuracy_percent: float | None = Field(GUIDE_ACCURACY_PERCENT, ge=-100, le=100)
    """Minimum accuracy: 100 times the average correlation."""
    minimum_skill: float = Field(0.0, ge=-1, lt=1)
    """Each target's skill (1 - MAE / MAE of its best baseline) must be above this."""
    minimum_skill_by_target: dict[Target, Annotated[float, Field(ge=-1, lt=1)]] = {}
    """Minimum skill of single targets, in place of `minimum_skill`."""
    within_link_correlation_margin: float | None = Field(0.02, ge=0, le=2)
    """How far the median within-link correlation may be below the best baseline's."""
    champion_rule: Literal["non-inferior", "superior", "expected"] = "non-inferior"
    """`non-inferior`: the weighted mean over the targets, and each target, within their margins above the champion's,
    at the upper end of the 95 % interval. `superior`: the same, with the whole interval of the weighted mean below 0.
    `expected`: the weighted mean at most 0 by its estimate, and no target shown to be worse by more than the mean's
    margin."""
    mean_margin_percent: float = Field(1.0, ge=0, le=100)
    """How much larger than the champion's the error may be in the weighted mean over the targets."""
    champion_margin_percent: float = Field(3.0, ge=0, le=100)
    """How much larger than the champion's each target's error may be, in units of each link's champion error."""
    champion_margin_percent_of: dict[Target, Annotated[float, Field(ge=0, le=100)]] = {}
    """Margins of single targets, in place of `champion_margin_percent`."""
    pooled_margin_percent: float = Field(3.0, ge=0, le=100)
    """How much larger than the champion's each target's MAE over all windows may be, by its estimate."""
    winkler_margin_percent: float | None = Field(5.0, ge=0, le=1000)
    """How much larger than the champion's the Winkler score of each target's intervals may be; None: not judged."""
    anchor_margin_percent: float | None = Field(2.0, ge=0, le=100)
    """How much larger than that of the best of the last twelve champions the error may be, in the weighted mean; None:
    not judged."""
    target_weights: dict[Target, Annotated[float, Field(ge=0)]] = {}
    """Weights of the targets in the weighted mean; 1 for targets that are not named."""
    slice_margin_percent: float | None = Field(3.0, ge=0, le=100)
    """How much larger than the champion's each target's MAE may be within a slice, before it blocks if that is
    significant; None: not judged."""
    link_margin_percent: float | None = Field(10.0, ge=0, le=1000)
    """How much larger than the champion's the error of a link may be before the link counts as worse, if that is
    significant; None: not judged."""
    maximum_worse_links_percent: float = Field(2.0, ge=0, le=100)
    """Share of the links that may count as worse."""
    keeps_before_notice: int = Field(3, ge=1)
    """Number of runs in a row that keep production before an alert is sent."""
    minimum_test_windows: int = Field(500, ge=1)
    """Minimum number of windows in the test part."""
    maximum_latency_p99_ms: float = Field(10.0, gt=0)
    """Limit for the 99th percentile of the time of a single forecast."""
    maximum_parity_error: float = Field(1e-3, gt=0)
    """Largest difference between ONNX Runtime and torch, relative to max(|torch|, the target's MAPE floor)."""
    maximum_parity_error_quantized: float = Field(0.05, gt=0)
    """The same for a model with int8 weights, which cannot match float32 to that precision."""
    maximum_regret_percent: float | None = Field(None, ge=0, le=1000)
    """Limit for the extra cost of a consumer's settings over those of perfect knowledge; None: not judged."""
    mape_excluded_targets: list[Target] = []
    """Targets that idle near zero: the average MAPE leaves them out, and the decision says so."""
    minimum_coverage: float | None = Field(None, ge=0, le=1)
    """Minimum share of the test windows whose actual value is within the interval, per target; None: not judged."""
    maximum_coverage: float | None = Field(None, ge=0, le=1)
    """Maximum of the same share, since intervals that cover nearly everything say little; None: not judged."""

    @property
    def champion_margins_percent(self) -> dict[str, float]:
        """Of every target."""
        return dict.fromkeys(schema.TARGETS, self.champion_margin_percent) | {**self.champion_margin_percent_of}

    @property
    def weights(self) -> dict[str, float]:
        """Of every target."""
        return dict.fromkeys(schema.TARGETS, 1.0) | {**self.target_weights}

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        low, high = self.minimum_coverage, self.maximum_coverage
        if low is not None and high is not None and low > high:
            raise ValueError(f"minimum_coverage {low:g} is above maximum_coverage {high:g}")
        if len(self.target_weights) == len(schema.TARGETS) and not any(self.target_weights.values()):
            raise ValueError("target_weights are all 0: at least one target must count")
        # A decision by "guide" must mean the guide's thresholds, not somebody's of the same name.
        changed = [name for name, value in GUIDE_THRESHOLDS.items() if getattr(self, name) != value]
        if self.name == "guide" and changed:
            raise ValueError(f"a policy whose {changed[0]} differs from the guide's needs another name")
        return self


class TrainingSource(_Strict):
    """The training configuration file that a run's hyperparameters came from."""

    name: str
    sha256: str
    approved_by: str | None = None
    """None: a file that was named by its path, and that nobody approved."""
    approved_at: str | None = None


NEVER = "never"
"""Instead of a date: the model was trained on no day of this telemetry."""


IMPORTED_PATHS: dict[str, Any] = {"path": True, "stream": {"path"}}
"""Fields of an `ImportedModel` that no document has, the paths of its files; as pydantic's `exclude`."""


class ImportedStream(_Strict):
    """The file for streams of a model trained elsewhere."""

    name: str
    """File name."""
    path: str | None = None
    """As `ImportedModel.path`."""
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    size_bytes: int = Field(ge=1)


class ImportedModel(_Strict):
    """A model trained elsewhere that a run judges instead of training one, and what its author states of it."""

    name: str
    """File name."""
    path: str | None = None
    """Path of the file; None: `challengers/<name>` in the registry's store."""
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    size_bytes: int = Field(ge=1)
    trained_through: str | None = None
    """Last day (YYYY-MM-DD, UTC) of which the training, the validation or the scaling saw anything, on any link, or
    `NEVER`; None: nobody stated it."""
    trained_on: str = Field("", max_length=500)
    """What it was trained on, in the author's words."""
    stated_by: str = ""
    """Who stated `trained_through`: a person, or the file itself."""
    producer: str = ""
    """The program that wrote the file, as the file says."""
    stream: ImportedStream | None = None
    """The same model for consumers that keep a state for each link; None: there is none."""

    @field_validator("trained_through")
    @classmethod
    def _is_a_day(cls, value: str | None) -> str | None:
        try:
            if value not in (None, NEVER) and date.fromisoformat(value).isoformat() != value:
                raise ValueError
        except ValueError:
            raise ValueError(f"expected YYYY-MM-DD, such as 2026-09-30, or {NEVER!r}") from None
        return value


class RunConfig(_Strict):
    """One retraining run, as written to `run.json` by the first step."""

    run_id: str
    model_name: str = "default"
    """Which of the installation's models this is about."""
    version: str = Field(pattern=r"^v\d{8}_\d{6}$")
    month: str = Field(pattern=r"^\d{4}-(0[1-9]|1[0-2])$")
    history_months: int = Field(1, ge=1, le=36)
    telemetry: str
    registry: str
    code_version: str
    created_at: str
    force_bootstrap: bool = False
    """Judge the challenger by the absolute checks alone, although there is a champion."""
    accept_telemetry: bool = False
    """Go on although the telemetry failed validation."""
    override_reason: str = ""
    """Why a person asked for one of these two."""
    requested_by: str = ""
    """The person that asked for the run; empty: the schedule, or unknown."""
    dry_run: bool = False
    """Stop after the decision: publish nothing."""
    backfill: bool = False
    """Give what a past month would have given: judged against the champion of its time, and not published."""
    publish_past_months: bool = False
    """Publish although production serves a later month, or although this is a back-fill."""
    quantize: bool = False
    """Export with int8 weights, for ONNX Runtime only."""
    maximum_test_windows: int = Field(100_000, ge=500)
    training: TrainingConfig = TrainingConfig()
    training_file: TrainingSource | None = None
    imported: ImportedModel | None = None
    """A model trained elsewhere, which this run judges; None: the run trains one."""
    split: SplitConfig = SplitConfig()
    policy: GatePolicy = GatePolicy()
    policy_origin: str = SHIPPED
    """Where the policy came from: `SHIPPED`, or the path of its file."""
    consumer_rules: ConsumerRules = Field(default_factory=shipped_rules)
    """What consumers do with a forecast."""

    @property
    def publishes(self) -> bool:
        """Whether a challenger that passes goes into production."""
        return not self.dry_run and (self.publish_past_months or not self.backfill)

    @field_validator("run_id")
    @classmethod
    def _is_a_file_name(cls, value: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+:-]{0,200}", value):
            raise ValueError("must be letters, digits and . _ + : - only")
        return value


def load(model: type[Model], values: dict[str, Any], *, origin: str) -> Model:
    """Validate `values` as `model`, with one clear sentence on failure.

    Raises:
        ConfigError: names `origin`, the key, what was given and what was expected.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        key, unknown = ".".join(str(part) for part in first["loc"]), first["type"] == "extra_forbidden"
        message = "no such key; check its spelling" if unknown else first["msg"].removeprefix("Value error, ")
        if not key:  # a rule about several fields: its message names them
            raise ConfigError(f"{origin}: {message}.") from error
        what = "Expected YYYY-MM, such as 2026-10" if key == "month" else message
        given = "" if unknown or first["type"] == "missing" else f" (given: {first['input']!r})"
        raise ConfigError(f"{origin}: {key}: {what}{given}.") from error


def read_yaml(path: Path, what: str) -> Any:
    """The content of the YAML file at `path`; errors call such a file a `what`. Raises ConfigError."""
    try:
        return yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        why = " ".join(str(reason).split()).rstrip(".")
        raise ConfigError(f"{path}: cannot be read as a YAML {what}: {why}.") from error


def load_yaml(model: type[Model], path: Path, what: str) -> Model:
    """The YAML file at `path` as `model`; errors call such a file a `what`. Raises ConfigError."""
    values = read_yaml(path, what)
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: a {what} is a mapping of names to values.")
    return load(model, values, origin=str(path))


def load_policy(path: Path) -> GatePolicy:
    """The gate policy in the YAML file at `path`. Raises ConfigError."""
    return load_yaml(GatePolicy, path, "gate policy")
