"""Columns for models that take a table: lags and summaries of a window, in log space."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from accuracy.task import BATCH_WINDOWS, OFFSETS, TARGETS, Array, bounded
from bwpredict import schema
from bwpredict.datasets.windows import WindowIndex

CONTEXT = [schema.FEATURES.index(name) for name in ("congestion_window", "queue_depth", "retransmits")]
HOUR, DAY = schema.FEATURES.index("time_of_day"), schema.FEATURES.index("day_of_week")

Make = Callable[[Array], Array]


def table(index: WindowIndex, make: Make) -> Array:
    """[windows, columns]: `make` of all windows, some at a time."""
    return np.concatenate(
        [make(index.inputs(slice(begin, begin + BATCH_WINDOWS))) for begin in range(0, len(index), BATCH_WINDOWS)]
    )


def target_logs(values: Array) -> Array:
    """[..., at least targets] raw to [..., targets], log(value + offset)."""
    return np.log(np.maximum(values[..., :TARGETS], 0) + OFFSETS)


def last_logs(index: WindowIndex) -> Array:
    """[windows, targets], the last value of each window in log space."""
    return target_logs(index.frame.values[index.starts + index.window_size - 1])


def target_changes(index: WindowIndex) -> Array:
    """[windows, targets], from the last value to the target in log space."""
    return target_logs(index.targets()) - last_logs(index)


def from_changes(index: WindowIndex, changes: npt.NDArray[np.floating]) -> Array:
    """[windows, targets], raw forecasts from changes in log space."""
    return bounded(np.exp(np.minimum(last_logs(index) + changes, 30)) - OFFSETS)


def lags(windows: Array) -> Array:
    """[n, steps, features] to [n, columns]: every sample in log space, relative to the last, and the calendar."""
    logs, context = target_logs(windows), np.log1p(np.maximum(windows[..., CONTEXT], 0))
    last = logs[:, -1:]
    hour, day = (windows[:, -1, [column]] * (2 * np.pi / period) for column, period in ((HOUR, 24), (DAY, 7)))
    parts = [(logs - last)[:, :-1], last, context]
    flat = [part.reshape(len(windows), -1) for part in parts]
    return np.concatenate([*flat, np.sin(hour), np.cos(hour), np.sin(day), np.cos(day)], axis=1, dtype=np.float32)


def lags_and_summaries(windows: Array) -> Array:
    """[n, steps, features] to [n, columns]: `lags`, and level, spread and slope over the last 5, 15 and all samples."""
    logs = target_logs(windows)
    last = logs[:, -1]
    parts = [lags(windows), windows[:, -1, [HOUR, DAY]]]
    for steps in sorted({min(5, logs.shape[1]), min(15, logs.shape[1]), logs.shape[1]}):
        recent = logs[:, -steps:]
        slopes = np.linspace(-1, 1, steps, dtype=np.float32)
        parts += [
            recent.mean(axis=1) - last,
            np.median(recent, axis=1) - last,
            recent.std(axis=1),
            recent.max(axis=1) - last,
            recent.min(axis=1) - last,
            np.einsum("nst,s->nt", recent, slopes) / steps,
        ]
    return np.concatenate(parts, axis=1, dtype=np.float32)
