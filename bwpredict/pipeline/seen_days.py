"""Which days a model has seen in training, and the test windows of the days that it has not."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from bwpredict.datasets.windows import DAY_SECONDS, WindowIndex

Days = npt.NDArray[np.int64]


def days_seen(metadata: Mapping[str, Any]) -> Days:
    """Days since 1970-01-01 UTC with samples that the model was trained, validated or calibrated on.

    Where links or sessions are cut one by one, a day is in different parts of different links, and counts as seen.

    Args:
        metadata: the model's document of kind `model_metadata`.
    """
    if elsewhere := metadata.get("trained_elsewhere"):
        return days_through(elsewhere["counts_as_seen_through"])
    split = metadata["data"]["split"]
    spans = [part for name, part in split["parts"].items() if name != "test"]
    ranges = [
        np.arange(_second(part["start"]) // DAY_SECONDS, -(-_second(part["end"]) // DAY_SECONDS)) for part in spans
    ]
    return np.unique(np.concatenate(ranges)) if ranges else np.empty(0, np.int64)


def days_through(date: str | None) -> Days:
    """All days from 1970-01-01 to this one (YYYY-MM-DD); None where that is None."""
    return np.arange(0 if date is None else np.datetime64(date, "D").astype(np.int64) + 1)


def target_days(index: WindowIndex) -> Days:
    """[n], the day of each window's target, in days since 1970-01-01 UTC."""
    return np.asarray(index.frame.timestamps[index.target_rows] // DAY_SECONDS, dtype=np.int64)


def split_by_seen(index: WindowIndex, seen: Days) -> tuple[WindowIndex, list[str]]:
    """The windows whose target is on none of these days, and the dates that are left out."""
    days = target_days(index)
    known = np.isin(days, seen)
    dates = np.unique(days[known]).astype("datetime64[D]")
    return (index.take(np.flatnonzero(~known)) if known.any() else index), [str(date) for date in dates]


def _second(iso: str) -> int:
    return int(datetime.fromisoformat(iso).timestamp())
