"""Compare what a consumer was built for with what a model was made for.

A model's forecasts mean something only to a consumer that sends the same columns in the same order and units, as
many samples, and reads the same targets that many minutes ahead. Anything else would be numbers without an error.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from bwpredict import schema
from bwpredict.errors import ContractChangedError

_UNITS_OF_INPUT = tuple((name, schema.COLUMN[name].unit) for name in schema.FEATURES)
_UNITS_OF_OUTPUT = tuple((name, schema.COLUMN[name].unit) for name in schema.TARGETS)


@dataclass(frozen=True)
class ServingContract:
    """All that a consumer relies on. By default: what this version of bwpredict makes."""

    input_name: str = "input"
    output_name: str = "output"
    features: tuple[tuple[str, str], ...] = _UNITS_OF_INPUT
    """Name and unit of each column of the input, in order."""
    targets: tuple[tuple[str, str], ...] = _UNITS_OF_OUTPUT
    """Name and unit of each column of the outputs, in order."""
    window_size: int = schema.WINDOW_SIZE
    cadence_seconds: int = schema.CADENCE_SECONDS
    horizon_minutes: int = schema.HORIZON_MINUTES
    time_zone: str = schema.CALENDAR.time_zone
    first_day: str = schema.CALENDAR.first_day
    raw_units: bool = True
    interval_level: float | None = None
    """Level of the intervals that the consumer reads; None: it can do without."""

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the input's columns, in order."""
        return tuple(name for name, _ in self.features)


def contract_of(metadata: Mapping[str, Any]) -> ServingContract:
    """The contract in a `model_metadata` document (checked against its schema before)."""
    contract = metadata["contract"]
    levels = {tensor["name"]: tensor["level"] for tensor in contract.get("further_outputs", [])}
    bounds = {levels.get(name) for name in schema.INTERVAL_OUTPUTS}
    return ServingContract(
        input_name=contract["input"]["name"],
        output_name=contract["output"]["name"],
        features=_columns(contract["input"]),
        targets=_columns(contract["output"]),
        window_size=contract["window_size"],
        cadence_seconds=contract["cadence_seconds"],
        horizon_minutes=contract["horizon_minutes"],
        time_zone=contract["calendar"]["time_zone"],
        first_day=contract["calendar"]["first_day"],
        raw_units=contract["raw_units"],
        interval_level=bounds.pop() if len(bounds) == 1 else None,
    )


def differences(built_for: ServingContract, found: ServingContract) -> list[str]:
    """What changed, one clause each; intervals that came in addition are no change."""
    changed = []
    for field in fields(ServingContract):
        expected, got = getattr(built_for, field.name), getattr(found, field.name)
        if expected == got or (field.name == "interval_level" and expected is None):
            continue
        changed.append(f"{field.name} is {_words(got)}, built for {_words(expected)}")
    return changed


def require_same(built_for: ServingContract, found: ServingContract, *, model: str) -> None:
    """Raise a ContractChangedError that names `model` and everything that changed, if anything did."""
    if changed := differences(built_for, found):
        raise ContractChangedError(
            f"{model}: this consumer was built for another contract: {'; '.join(changed)}; "
            "keep the model that it has, change the consumer, and accept the new contract then."
        )


def _columns(tensor: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    return tuple((column["name"], column["unit"]) for column in tensor["columns"])


def _words(value: Any) -> str:
    if isinstance(value, tuple):
        return "[" + ", ".join(f"{name} {unit}".strip() for name, unit in value) + "]"
    return "none" if value is None else str(value)
