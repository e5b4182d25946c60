"""Build a RunConfig from DAG params or CLI options."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from bwpredict.config import GatePolicy, ImportedModel, RunConfig, Settings, TrainingConfig, load, load_yaml
from bwpredict.core.consumer_rules import ConsumerRules
from bwpredict.errors import ConfigError
from bwpredict.gate.policies import find_policy
from bwpredict.pipeline.model_catalog import DEFAULT_ENTRY, NamedModel
from bwpredict.tuning import config_files

TRAINING_PARAMS = tuple(TrainingConfig.model_fields)
OVERRIDE_PARAMS = ("force_bootstrap", "accept_telemetry")
REASON_PARAM = "override_reason"
RUN_PARAMS = (
    *("history_months", "dry_run", "quantize", "backfill", "publish_past_months"),
    *OVERRIDE_PARAMS,
)
TRAINING_FILE_PARAM = "training_config"
POLICY_PARAM = "policy"
OVERRIDES_PARAM = "gate_overrides"
CHALLENGER_PARAM = "challenger_model"
STREAM_PARAM = "challenger_stream"
STATED_PARAMS = ("trained_through", "trained_on")
KNOWN_PARAMS = frozenset(
    {
        *("month", TRAINING_FILE_PARAM, POLICY_PARAM, OVERRIDES_PARAM, REASON_PARAM, CHALLENGER_PARAM, STREAM_PARAM),
        *(*TRAINING_PARAMS, *RUN_PARAMS, *STATED_PARAMS),
    }
)
_NAMES_OF_A_POLICY = ("name", "version")


def run_config(
    params: Mapping[str, Any],
    *,
    run_id: str,
    interval_start: datetime | None,
    run_after: datetime,
    now: datetime,
    settings: Settings,
    code_version: str,
    model: NamedModel = DEFAULT_ENTRY,
    requested_by: str = "",
    challenger: Path | None = None,
    challenger_stream: Path | None = None,
) -> RunConfig:
    """The configuration of one retraining run.

    Args:
        params: `month` (YYYY-MM or None), those of `RUN_PARAMS` and `TRAINING_PARAMS`, `training_config` (name or
            path of a training configuration file), `policy` (name or path of the gate policy), `gate_overrides`
            (fields of it), `override_reason`, `challenger_model` (name of a file in the registry's `challengers/`,
            which the run judges instead of training), `challenger_stream` (its file for streams, there too), and what
            its author states: `trained_through`, `trained_on`. What is left out has the model's default.
        interval_start: start of the data interval, for a run by the schedule.
        run_after: when the run was due, for a run that has neither a month nor an interval.
        now: names the version, in UTC.
        settings: those of `model`.
        requested_by: the person that asks for the run; empty: the schedule.
        challenger: instead of `challenger_model`, a file on this machine; so is `challenger_stream`.

    Raises:
        ConfigError: an unknown param or policy, a param with an unusable value, an override without a reason, or
            consumer rules that cannot be used.
        ModelError: the challenger may not be loaded, or does not keep the contract.
    """
    require_known(params)
    reason = _override_reason(params)
    hyperparameters, source = config_files.resolve(params.get(TRAINING_FILE_PARAM) or "", settings.registry)
    found = find_policy(params.get(POLICY_PARAM) or model.policy, settings.policies)
    values = {
        "run_id": run_id,
        "model_name": model.name,
        "version": now.astimezone(UTC).strftime("v%Y%m%d_%H%M%S"),
        "month": params.get("month") or _month(interval_start, run_after),
        "telemetry": settings.telemetry,
        "registry": settings.registry,
        "code_version": code_version,
        "created_at": now.astimezone(UTC).isoformat(timespec="seconds"),
        "history_months": model.history_months,
        "training": {**model.training, **hyperparameters, **_given(params, TRAINING_PARAMS)},
        "training_file": source,
        "policy": overridden(found.policy, params.get(OVERRIDES_PARAM) or {}),
        "policy_origin": found.origin,
        REASON_PARAM: reason,
        "requested_by": requested_by,
        **_consumer_rules(settings),
        **_given(params, RUN_PARAMS),
    }
    run = load(RunConfig, values, origin="params")
    return run.model_copy(update={"imported": _imported(params, run, challenger, challenger_stream)})


def _given(params: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    return {name: params[name] for name in names if name in params}


def _consumer_rules(settings: Settings) -> dict[str, ConsumerRules]:
    """Rules of the installation; none: the shipped ones."""
    path = settings.consumer_rules
    return {"consumer_rules": load_yaml(ConsumerRules, Path(path), "document of consumer rules")} if path else {}


def _imported(
    params: Mapping[str, Any], run: RunConfig, path: Path | None, stream_path: Path | None
) -> ImportedModel | None:
    """The model that the run judges instead of training one; None: it trains."""
    name, stream = params.get(CHALLENGER_PARAM), str(params.get(STREAM_PARAM) or "")
    stated = {key: str(params.get(key) or "") for key in STATED_PARAMS}
    if path is None and not name:
        if given := [key for key, value in {**stated, STREAM_PARAM: stream}.items() if value]:
            raise ConfigError(f"params: {given[0]} is about a model trained elsewhere: give {CHALLENGER_PARAM} too.")
        return None
    from bwpredict.pipeline import imported_model

    file, stream_file = (str(name), stream or None) if path is None else (path, stream_path)
    found = imported_model.record_file(file, stream_file, run.registry, run.training, stated, by=run.requested_by)
    imported_model.require_days_left(found, run.month)
    return found


def require_known(params: Mapping[str, Any], *others: str) -> None:
    """Refuse a param that is neither in `KNOWN_PARAMS` nor in `others`. Raises ConfigError, with the closest name."""
    known = KNOWN_PARAMS.union(others)
    for name in sorted(set(params) - known):
        close = difflib.get_close_matches(name, known, n=1)
        raise ConfigError(f"params: {name}: unknown param." + (f" Did you mean {close[0]}?" if close else ""))


def _override_reason(params: Mapping[str, Any]) -> str:
    reason = " ".join(str(params.get(REASON_PARAM) or "").split())
    overrides = [name for name in OVERRIDE_PARAMS if params.get(name)]
    if overrides and not reason:
        raise ConfigError(f"params: {overrides[0]} needs a reason for the record: give it as {REASON_PARAM}.")
    return reason


def overridden(policy: GatePolicy, overrides: Mapping[str, Any]) -> GatePolicy:
    """The policy with other thresholds, under a name that says which, so that nobody takes it for the original.

    Raises:
        ConfigError: not a field of a policy, or a value out of its bounds.
    """
    if not overrides:
        return policy
    renamed = sorted(set(overrides) & set(_NAMES_OF_A_POLICY))
    if renamed:
        raise ConfigError(f"{OVERRIDES_PARAM}: {renamed[0]}: a policy keeps its name; override thresholds only.")
    name = f"{policy.name} (overridden: {', '.join(sorted(overrides))})"
    return load(GatePolicy, {**policy.model_dump(), **overrides, "name": name}, origin=OVERRIDES_PARAM)


def gate_overrides_schema() -> dict[str, Any]:
    """JSON Schema of `gate_overrides`, so that a form says what there is, and refuses what `overridden` would."""
    properties = GatePolicy.model_json_schema()["properties"]
    thresholds = {name: field for name, field in properties.items() if name not in _NAMES_OF_A_POLICY}
    return {
        "type": ["null", "object"],
        "properties": {
            name: {key: value for key, value in field.items() if key != "title"} for name, field in thresholds.items()
        },
        "additionalProperties": False,
        "description": "Thresholds that replace those of the policy, for this run alone, such as"
        ' {"minimum_skill": 0.05}. The decision names every one of them; docs/policies.md lists all.',
    }


def _month(interval_start: datetime | None, run_after: datetime) -> str:
    """The month of the data interval, or the last one that was over at `run_after`; in UTC."""
    if interval_start is None:
        interval_start = run_after.astimezone(UTC).replace(day=1) - timedelta(days=1)
    return interval_start.astimezone(UTC).strftime("%Y-%m")
