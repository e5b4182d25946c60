"""Daily levels of each link's targets, measured on the batches that the schema suite checks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import Executor

import numpy as np
import pandas as pd

from bwpredict import schema
from bwpredict.datasets.anomalies import Levels, levels_of_rows, merge_levels
from bwpredict.profiling.batches import Batch
from bwpredict.telemetry.days import DAY_SECONDS


class LinkLevels:
    """Measures the levels of the batches that pass through `watch`, so that no file is read twice."""

    def __init__(self, beside: Executor) -> None:
        """Measure batches in the executor `beside` while they are checked."""
        self._beside = beside
        self._days: list[Levels] = []

    def watch(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """The same batches; each is measured on its way."""
        for batch in batches:
            measured = self._beside.submit(_measured, batch.frame)
            yield batch
            del batch  # Not kept while the next one is made.
            self._days += measured.result()

    def levels(self) -> Levels:
        """The levels of all days that passed."""
        return merge_levels(self._days)


def _measured(frame: pd.DataFrame) -> list[Levels]:
    """The levels of each day. Missing values and text are ignored here, since other checks report them."""
    columns = {name: _numbers(frame, name) for name in ("timestamp", *schema.LINK_KEY, *schema.TARGETS)}
    known = np.isfinite(columns["timestamp"])
    for key in schema.LINK_KEY:
        known &= np.isfinite(columns[key])
    time, node, peer = (columns[name][known].astype(np.int64) for name in ("timestamp", *schema.LINK_KEY))
    values = np.stack([columns[name][known] for name in schema.TARGETS]).T
    return levels_of_rows(time, node, peer, values, DAY_SECONDS)


def _numbers(frame: pd.DataFrame, name: str) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    if name not in frame or not pd.api.types.is_numeric_dtype(frame[name]):
        return np.full(len(frame), np.nan)
    return frame[name].to_numpy("float64", na_value=np.nan)
