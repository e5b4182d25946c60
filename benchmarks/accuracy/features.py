"""Columns for models that take a table: lags and summaries of a window, in log space."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pandas as pd

from accuracy.task import BATCH_WINDOWS, OFFSETS, TARGETS, Array, bounded
from bwpredict import schema
from bwpredict.datasets.frame import TelemetryFrame
from bwpredict.datasets.windows import DAY_SECONDS, Index, WindowIndex

CONTEXT = [schema.FEATURES.index(name) for name in ("congestion_window", "queue_depth", "retransmits")]
HOUR, DAY = schema.FEATURES.index("time_of_day"), schema.FEATURES.index("day_of_week")

MEMORY_HOURS = (1, 6, 24)
_FAR = 2**40
"""More than any unix second: keeps the times of links apart."""

_AVERAGES: dict[int, tuple[TelemetryFrame, list[Array]]] = {}
"""Of the frame that was asked for last: its moving averages take longer than all else here."""

_GAPLESS: dict[int, tuple[TelemetryFrame, Index, Array]] = {}
"""The same of `_gapless`."""

Make = Callable[[Array], Array]


def table(index: WindowIndex, make: Make, *, memory: bool = False) -> Array:
    """[windows, columns]: `make` of all windows, some at a time; with memory, `memory_of` them beside it."""
    parts = [make(index.inputs(slice(begin, begin + BATCH_WINDOWS))) for begin in range(0, len(index), BATCH_WINDOWS)]
    made = np.concatenate(parts)
    return np.concatenate((made, memory_of(index)), axis=1) if memory else made


def memory_of(index: WindowIndex) -> Array:
    """[windows, columns]: moving averages, and the target's minute a day and a week before, relative to the last value.

    Everything is in the past of the last sample; 0 where there is no such minute.
    """
    last = index.starts + index.window_size - 1
    base = last_logs(index)
    averages = [values[last] - base for values in _moving_averages(index.frame)]
    before = [_minutes_before(index, last, seconds) - base for seconds in (DAY_SECONDS, 7 * DAY_SECONDS)]
    columns: Array = np.nan_to_num(np.concatenate([*averages, *before], axis=1), nan=0.0).astype(np.float32)
    return columns


def past_logs(index: WindowIndex, which: Index, steps: int) -> Array:
    """[n, steps, targets] in log space: the last samples of some windows' links, one for each step of the cadence.

    In a gap, the last value before it stands; before a link's first sample, the first one.
    """
    frame, last = index.frame, index.positions.rows(which) + index.window_size - 1
    first_slot, logs = _gapless(frame)
    link = np.asarray(frame.link)[last]
    first_time = frame.timestamps[frame.link_rows()[:-1]]
    slot = np.round((frame.timestamps[last] - first_time[link]) / frame.cadence_seconds).astype(np.int64)
    wanted = slot[:, None] + np.arange(1 - steps, 1)
    past: Array = logs[first_slot[link][:, None] + wanted.clip(min=0)]
    return past


def _gapless(frame: TelemetryFrame) -> tuple[Index, Array]:
    """For each link the place of its first sample in [places, targets], samples in log space without gaps."""
    if id(frame) not in _GAPLESS:
        rows, first, edges = [], [0], frame.link_rows()
        for begin, past in itertools.pairwise(edges):
            times = frame.timestamps[begin:past]
            slots = np.round((times - times[0]) / frame.cadence_seconds).astype(np.int64)
            rows.append(begin + np.searchsorted(slots, np.arange(slots[-1] + 1), side="right") - 1)
            first.append(first[-1] + len(rows[-1]))
        _GAPLESS.clear()
        _GAPLESS[id(frame)] = frame, np.array(first), target_logs(frame.values[np.concatenate(rows)])
    return _GAPLESS[id(frame)][1:]


def _moving_averages(frame: TelemetryFrame) -> list[Array]:
    """[rows, targets] for each of `MEMORY_HOURS`, of the samples up to each row of its link, in log space."""
    if id(frame) not in _AVERAGES:
        logs = pd.DataFrame(target_logs(np.asarray(frame.values))).groupby(np.asarray(frame.link))
        steps = [hours * 3600 / frame.cadence_seconds for hours in MEMORY_HOURS]
        made = [logs.transform(lambda link, com=step: link.ewm(com=com).mean()).to_numpy(np.float32) for step in steps]
        _AVERAGES.clear()
        _AVERAGES[id(frame)] = frame, made
    return _AVERAGES[id(frame)][1]


def _minutes_before(index: WindowIndex, last: Index, seconds: int) -> Array:
    """[windows, targets] in log space: what the target's minute was so long before; NaN where it was not measured."""
    frame = index.frame
    wanted = frame.timestamps[last] + index.horizon_steps * frame.cadence_seconds - seconds
    link = np.asarray(frame.link, np.int64) * _FAR
    key, asked = link + frame.timestamps, link[last] + wanted
    found = np.searchsorted(key, asked).clip(0, len(key) - 1)
    there = key[found] == asked
    return np.where(there[:, None], target_logs(frame.values[found]), np.nan)


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
