"""The YAML file of thresholds whose probability is exported."""

from __future__ import annotations

import math
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, field_validator

from bwpredict import schema
from bwpredict.config import load_yaml

Thresholds = dict[str, list[float]]
"""Target → thresholds in its unit, ascending."""


class ThresholdFile(BaseModel):
    """`thresholds: {rtt_ms: [50, 100], throughput_mbps: [10]}`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    thresholds: Thresholds = Field(min_length=1)

    @field_validator("thresholds")
    @classmethod
    def _are_values_of_targets(cls, given: Thresholds) -> Thresholds:
        if unknown := sorted(set(given) - set(schema.TARGETS)):
            raise ValueError(f"{', '.join(unknown)}: unknown target; expected one of {', '.join(schema.TARGETS)}")
        for target, values in given.items():
            high = schema.COLUMN[target].maximum
            if not values or not all(math.isfinite(value) and 0 <= value <= (high or math.inf) for value in values):
                raise ValueError(f"{target}: expected a list of values from 0 to {'any' if high is None else high}")
        return {target: sorted(set(values)) for target, values in given.items()}


def load_thresholds(path: Path | None) -> Thresholds:
    """The thresholds in the file; none without a file. Raises ConfigError."""
    return {} if path is None else load_yaml(ThresholdFile, path, "thresholds file").thresholds
