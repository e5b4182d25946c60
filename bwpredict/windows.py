"""Windows over a telemetry frame: which rows make a window, in which part of the split, never copied.

A window is `window_size` consecutive samples of one link, followed by `horizon_steps` more, of which
the last is the target. All of them are one cadence apart: a window never crosses a gap or a link.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt

from bwpredict import schema
from bwpredict.config import SplitConfig
from bwpredict.errors import ConfigError, TelemetryError
from bwpredict.telemetry.frame import TelemetryFrame

Index = npt.NDArray[np.int64]

PARTS = ("train", "validation", "calibration", "test")
DAY_SECONDS = 86_400
FEWEST_DAYS_FOR_WHOLE_DAYS = 7


@dataclass(frozen=True)
class WindowIndex:
    """Positions of windows in a frame: 8 bytes a window, whatever its length."""

    frame: TelemetryFrame
    starts: Index
    """[windows], row of each window's first sample, ascending."""
    window_size: int
    horizon_steps: int

    def __len__(self) -> int:
        """Number of windows."""
        return len(self.starts)

    @property
    def target_rows(self) -> Index:
        """[windows], row of each window's target."""
        return self.starts + (self.window_size - 1 + self.horizon_steps)

    def inputs(self, which: Index | slice = slice(None)) -> npt.NDArray[np.float32]:
        """[n, window_size, features] of the chosen windows, raw units.

        Consecutive samples lie side by side in memory, so a window is one run of bytes to copy.
        """
        features = self.frame.values.shape[1]
        view = np.lib.stride_tricks.sliding_window_view(self.frame.values.reshape(-1), self.window_size * features)
        windows: npt.NDArray[np.float32] = view[self.starts[which] * features]
        return windows.reshape(-1, self.window_size, features)

    def targets(self, which: Index | slice = slice(None)) -> npt.NDArray[np.float32]:
        """[n, targets] of the chosen windows, raw units."""
        return self.frame.values[self.target_rows[which], : len(schema.TARGETS)]

    def take(self, which: Index | npt.NDArray[np.bool_] | slice) -> WindowIndex:
        """The chosen windows, as an index of their own."""
        return replace(self, starts=self.starts[which])

    def spread(self, most: int) -> WindowIndex:
        """At most `most` windows, evenly spread over links and time."""
        if len(self) <= most:
            return self
        return self.take(np.linspace(0, len(self) - 1, most).astype(np.int64))


def index_windows(frame: TelemetryFrame, window_size: int, horizon_minutes: int) -> WindowIndex:
    """Every window of the frame.

    Raises:
        ConfigError: the horizon is not at least half a cadence.
        TelemetryError: no link has enough consecutive samples for one window.
    """
    horizon_steps = round(horizon_minutes * 60 / frame.cadence_seconds)
    if horizon_steps < 1:
        raise ConfigError(
            f"horizon_minutes={horizon_minutes} is less than one step of this telemetry ({frame.cadence_seconds} s)."
        )
    span = window_size + horizon_steps
    runs = _runs(frame)
    whole = np.equal(runs[: max(0, frame.rows - span + 1)], runs[span - 1 :])
    starts = np.flatnonzero(whole).astype(np.int64)
    starts = starts[runs[starts] >= 0]
    if len(starts) == 0:
        raise TelemetryError(
            f"no link has {span} consecutive samples {frame.cadence_seconds} s apart (window of {window_size}"
            f" + horizon of {horizon_steps}): all {len(frame.links)} links are too short or too full of gaps"
            f"{_emptiest(frame)}."
        )
    return WindowIndex(frame, starts, window_size, horizon_steps)


def _emptiest(frame: TelemetryFrame) -> str:
    """In words, the column with the most missing values; nothing where none is missing."""
    missing = np.isnan(frame.values).sum(axis=0)
    worst = int(missing.argmax())
    return (
        f"; {schema.FEATURES[worst]} is missing in {missing[worst]:,} of {frame.rows:,} rows" if missing[worst] else ""
    )


def _runs(frame: TelemetryFrame) -> Index:
    """[rows], number of the gap-free run each row belongs to; -1 where a feature is missing."""
    step = np.diff(frame.timestamps)
    broken = (np.diff(frame.link) != 0) | (np.abs(step - frame.cadence_seconds) * 2 > frame.cadence_seconds)
    missing = ~np.asarray(np.isfinite(frame.values).all(axis=1))
    broken |= missing[1:] | missing[:-1]
    runs = np.concatenate(([0], np.cumsum(broken)))
    runs[missing] = -1
    return runs.astype(np.int64)


@dataclass(frozen=True)
class Split:
    """The chronological parts of an index, with an embargo between neighbours."""

    parts: dict[str, WindowIndex]
    boundaries: dict[str, tuple[int, int]]
    """Unix seconds [first, past the last) of each part (over all links, where links are cut one by one)."""
    embargo_minutes: float
    whole_days: bool
    """Whether every part begins and ends at midnight UTC."""
    by: str

    def __getitem__(self, part: str) -> WindowIndex:
        """The windows of one of `PARTS`."""
        return self.parts[part]

    def describe(self) -> dict[str, object]:
        """The split as it stands in documents."""
        return {
            "by": self.by,
            "whole_days": self.whole_days,
            "embargo_minutes": self.embargo_minutes,
            "parts": {
                name: {"start": _iso(first), "end": _iso(last), "windows": len(self.parts[name])}
                for name, (first, last) in self.boundaries.items()
            },
        }


def split_windows(index: WindowIndex, config: SplitConfig) -> Split:
    """Cut the windows into train, validation, calibration and test, the test part the latest.

    A window belongs to a part when all its samples, the target included, do, so no sample is in two
    parts; between two parts lies an embargo of one window and horizon more (Lopez de Prado, Advances in
    Financial Machine Learning, 7.4). Spans of a week and more are cut at midnight UTC.

    Raises:
        TelemetryError: a part holds no window.
    """
    frame = index.frame
    span_s = (index.window_size + index.horizon_steps) * frame.cadence_seconds
    embargo_s = span_s if config.embargo else 0
    edges, whole_days = _edges(frame, config)
    first, last = index.starts, index.target_rows
    parts: dict[str, WindowIndex] = {}
    boundaries: dict[str, tuple[int, int]] = {}
    for number, name in enumerate(PARTS):
        if name == "calibration" and config.calibration == 0:
            continue
        begin, end = edges[:, number] + (embargo_s if number else 0), edges[:, number + 1]
        link = frame.link[first]
        inside = (frame.timestamps[first] >= begin[link]) & (frame.timestamps[last] < end[link])
        if not inside.any():
            raise TelemetryError(
                f"the {name} part of the split is empty: {frame.rows} samples from {_iso(int(frame.timestamps.min()))}"
                f" to {_iso(int(frame.timestamps.max()))} are too few or too short for {len(PARTS)} parts with an"
                f" embargo of {embargo_s // 60} minutes between them; give more telemetry."
            )
        parts[name] = index.take(inside)
        boundaries[name] = (int(begin.min()), int(end.max()))
    return Split(parts, boundaries, embargo_s / 60, whole_days, config.by)


def _edges(frame: TelemetryFrame, config: SplitConfig) -> tuple[Index, bool]:
    """[links, 5] unix seconds at which the four parts begin and the last ends, and whether all are midnights."""
    links = len(frame.links)
    shares = np.array([config.validation, config.calibration, config.test])
    cuts = np.concatenate(([0.0], 1 - np.cumsum(shares[::-1])[::-1], [1.0]))
    if cuts[1] <= 0:
        raise ConfigError("split: validation, calibration and test together must leave some time for training.")
    if config.by == "link":
        starts = np.searchsorted(frame.link, np.arange(links))
        ends = np.searchsorted(frame.link, np.arange(links), side="right") - 1
        begin, end = frame.timestamps[starts], frame.timestamps[ends] + frame.cadence_seconds
        return (begin[:, None] + np.round((end - begin)[:, None] * cuts)).astype(np.int64), False
    begin_s, end_s = int(frame.timestamps.min()), int(frame.timestamps.max()) + frame.cadence_seconds
    first_day, past_last_day = begin_s // DAY_SECONDS, -(-end_s // DAY_SECONDS)
    whole_days = past_last_day - first_day >= FEWEST_DAYS_FOR_WHOLE_DAYS
    if whole_days:
        lengths = np.maximum(1, np.round(shares * (past_last_day - first_day))) * (shares > 0)
        days = past_last_day - np.cumsum(lengths[::-1])[::-1]
        edges = np.concatenate(([first_day], days, [past_last_day])) * DAY_SECONDS
    else:
        edges = begin_s + np.round((end_s - begin_s) * cuts)
    return np.tile(edges.astype(np.int64), (links, 1)), whole_days


def _iso(unix_s: int) -> str:
    return datetime.fromtimestamp(unix_s, UTC).isoformat()
