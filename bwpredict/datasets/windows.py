"""Windows over a telemetry frame: which rows make a window, in which part of the split, never copied.

A window is `window_size` consecutive samples of one link, followed by `horizon_steps` more, of which
the last is the target. All of them are one cadence apart: a window never crosses a gap or a link.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bwpredict import schema
from bwpredict.core.formatting import count_of
from bwpredict.datasets.frame import TelemetryFrame
from bwpredict.errors import ConfigError, TelemetryError

if TYPE_CHECKING:
    from bwpredict.config import SplitConfig

Index = npt.NDArray[np.int64]

PARTS = ("train", "validation", "calibration", "test")
DAY_SECONDS = 86_400
MIN_DAYS_FOR_WHOLE_DAYS = 7
LARGEST_TEST_SHARE = 0.4
"""Of a span's days, when `SplitConfig.test_days` asks for more than the share `test`."""
BLOCK_ROWS = 1 << 20
"""Looked at at a time: it bounds the memory, and is enough for numpy to be quick."""


@dataclass(frozen=True)
class Starts:
    """First rows of windows, as runs of rows that follow one another: 16 bytes a run, however long it is."""

    first: Index
    """[runs], the row at which each run begins."""
    past: Index
    """[runs], number of windows up to the run's end, over all runs."""

    @classmethod
    def of_rows(cls, rows: Index) -> Starts:
        """The given rows, in their order."""
        begins = np.flatnonzero(np.diff(rows, prepend=-2) != 1)
        return cls(rows[begins], np.append(begins[1:], len(rows))[: len(begins)])

    @classmethod
    def of_runs(cls, first: Index, past: Index) -> Starts:
        """All rows from `first` to before `past` of each run; runs without a row are left out."""
        kept = past > first
        return cls(first[kept], np.cumsum((past - first)[kept]))

    def __len__(self) -> int:
        """Number of windows."""
        return int(self.past[-1]) if len(self.past) else 0

    def rows(self, which: Index | npt.NDArray[np.bool_] | slice = slice(None)) -> Index:
        """[n], the first row of each of the chosen windows."""
        if isinstance(which, slice):
            which = np.arange(*which.indices(len(self)))
        elif which.dtype == bool:
            which = np.flatnonzero(which)
        which = np.where(which < 0, which + len(self), which)
        run = np.searchsorted(self.past, which, side="right")
        rows: Index = self.first[run] + which - np.append(0, self.past)[run]
        return rows


@dataclass(frozen=True)
class WindowIndex:
    """Positions of windows in a frame: they take no more memory where there are more windows without a gap."""

    frame: TelemetryFrame
    positions: Starts
    window_size: int
    horizon_steps: int

    def __len__(self) -> int:
        """Number of windows."""
        return len(self.positions)

    @property
    def starts(self) -> Index:
        """[windows], row of each window's first sample; computed at each access, 8 bytes a window."""
        return self.positions.rows()

    @property
    def target_rows(self) -> Index:
        """[windows], row of each window's target; computed at each access, 8 bytes a window."""
        return self.starts + self.steps_to_target

    @property
    def steps_to_target(self) -> int:
        """From a window's first sample to its target."""
        return self.window_size - 1 + self.horizon_steps

    @property
    def span_seconds(self) -> int:
        """Of a window and its horizon."""
        return (self.window_size + self.horizon_steps) * self.frame.cadence_seconds

    def inputs(self, which: Index | slice = slice(None)) -> npt.NDArray[np.float32]:
        """[n, window_size, features] of the chosen windows, raw units.

        Consecutive samples are adjacent in memory, so a window is one run of bytes to copy.
        """
        features = self.frame.values.shape[1]
        view = np.lib.stride_tricks.sliding_window_view(self.frame.values.reshape(-1), self.window_size * features)
        windows: npt.NDArray[np.float32] = view[self.positions.rows(which) * features]
        self.frame.release()
        return windows.reshape(-1, self.window_size, features)

    def targets(self, which: Index | slice = slice(None)) -> npt.NDArray[np.float32]:
        """[n, targets] of the chosen windows, raw units."""
        targets = self.frame.values[self.positions.rows(which) + self.steps_to_target, schema.TARGET_FEATURES]
        self.frame.release()
        return targets

    def windows_of_links(self) -> Index:
        """[links], number of windows of each link; they follow one another in this order."""
        runs = self.positions
        sizes = np.diff(runs.past, prepend=0)
        counts = np.bincount(self.frame.link[runs.first], weights=sizes, minlength=len(self.frame.links))
        return counts.astype(np.int64)

    def of_links(self, first: int, past: int) -> WindowIndex:
        """The windows of the links [first, past), on a frame of these links alone."""
        begin, end = self.frame.link_rows()[[first, past]]
        runs = self.positions
        inside = (runs.first >= begin) & (runs.first < end)
        sizes = np.diff(runs.past, prepend=0)[inside]
        positions = Starts(runs.first[inside] - begin, np.cumsum(sizes))
        return replace(self, frame=self.frame.of_links(first, past), positions=positions)

    def take(self, which: Index | npt.NDArray[np.bool_] | slice) -> WindowIndex:
        """The chosen windows, as an index of their own."""
        return self.at(self.positions.rows(which))

    def at(self, rows: Index) -> WindowIndex:
        """The windows of the same frame that begin at these rows."""
        return replace(self, positions=Starts.of_rows(rows))

    def spread(self, most: int) -> WindowIndex:
        """At most `most` windows, evenly spread over links and time."""
        if len(self) <= most:
            return self
        return self.take(np.linspace(0, len(self) - 1, most).astype(np.int64))


def index_windows(
    frame: TelemetryFrame, window_size: int, horizon_minutes: int, *, with_target: bool = True
) -> WindowIndex:
    """Every window of the frame; without target: also those whose future is not in the frame, to forecast it.

    Raises:
        ConfigError: the horizon is not at least half a cadence.
        TelemetryError: no link has enough consecutive samples for one window.
    """
    horizon_steps = round(horizon_minutes * 60 / frame.cadence_seconds)
    if horizon_steps < 1:
        raise ConfigError(
            f"horizon_minutes={horizon_minutes} is less than one step of this telemetry ({frame.cadence_seconds} s);"
            " give a larger one."
        )
    span = window_size + horizon_steps if with_target else window_size
    first, past = stretches(frame)
    positions = Starts.of_runs(first, past - span + 1)
    if len(positions) == 0 and with_target:
        raise TelemetryError(
            f"no link has a window: {describe_stretches(frame, span)}{_emptiest(frame)}; give more telemetry, or a"
            " smaller --window-size or --horizon-minutes."
        )
    return WindowIndex(frame, positions, window_size, horizon_steps)


def index_samples(frame: TelemetryFrame, horizon_minutes: int) -> WindowIndex:
    """One window of one sample for every row of the frame, including rows with missing values, for streams."""
    edges = frame.link_rows()
    horizon_steps = round(horizon_minutes * 60 / frame.cadence_seconds)
    return WindowIndex(frame, Starts.of_runs(edges[:-1], edges[1:]), 1, horizon_steps)


def describe_stretches(frame: TelemetryFrame, needed: int) -> str:
    """A sentence about the frame's stretches, and how many of them have the `needed` samples."""
    first, past = stretches(frame)
    lengths = past - first
    enough = int((lengths >= needed).sum())
    return (
        f"{count_of(frame.rows, 'sample')} of {count_of(len(frame.links), 'link')} in"
        f" {count_of(len(lengths), 'stretch')} without a gap, the longest of"
        f" {count_of(int(lengths.max(initial=0)), 'sample')}; {count_of(enough, 'stretch')}"
        f" {'has' if enough == 1 else 'have'} the {needed} samples ({needed * frame.cadence_seconds / 60:g} minutes) of"
        " a window with its horizon, 3 are needed"
    )


def _emptiest(frame: TelemetryFrame) -> str:
    """In words, the column with the most missing values; nothing where none is missing."""
    blocks = (frame.values[begin : begin + BLOCK_ROWS] for begin in range(0, frame.rows, BLOCK_ROWS))
    missing = sum((np.isnan(block).sum(axis=0) for block in blocks), np.zeros(frame.values.shape[1], np.int64))
    worst = int(missing.argmax())
    return (
        f"; {schema.FEATURES[worst]} is missing in {missing[worst]:,} of {frame.rows:,} rows" if missing[worst] else ""
    )


def stretches(frame: TelemetryFrame) -> tuple[Index, Index]:
    """First row of each stretch of a link's samples one cadence apart, none with a missing value; and past its last."""
    found = []
    for begin in range(0, frame.rows, BLOCK_ROWS):
        # With the row before, so that a stretch may reach over from it.
        rows = slice(max(0, begin - 1), begin + BLOCK_ROWS)
        whole = np.asarray(np.isfinite(frame.values[rows]).all(axis=1))
        step = np.diff(frame.timestamps[rows])
        follows = (np.diff(frame.link[rows]) == 0) & (np.abs(step - frame.cadence_seconds) * 2 <= frame.cadence_seconds)
        begins = np.flatnonzero(~(follows & whole[1:] & whole[:-1])) + 1
        if begin == 0:
            begins = np.append(0, begins)
        found.append(np.stack([rows.start + begins, whole[begins]], axis=1))
        frame.release()
    first, whole = np.concatenate(found).T
    past = np.append(first[1:], frame.rows)
    return first[whole == 1], past[whole == 1]


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

    @property
    def sentence(self) -> str:
        """How the windows were cut, in words."""
        return split_sentence(self.by, self.embargo_minutes)

    def describe(self) -> dict[str, object]:
        """The split as it appears in documents."""
        return {
            "by": self.by,
            "whole_days": self.whole_days,
            "embargo_minutes": self.embargo_minutes,
            "parts": {
                name: {"start": _iso(first), "end": _iso(last), "windows": len(self.parts[name])}
                for name, (first, last) in self.boundaries.items()
            },
        }


_CUTS = {
    "calendar": "one cut in time for all links",
    "samples": "one cut in time for all links, at shares of the samples",
    "link": "each link's own time is cut",
    "session": "whole sessions without a gap go to the parts, in order of time",
}


def split_sentence(by: str, embargo_minutes: float) -> str:
    """How windows were cut, in words."""
    where = "two parts of a link" if by == "session" else "two parts"
    return f"{_CUTS.get(by, by)}; {embargo_minutes:g} minutes of embargo between {where}"


def split_windows(index: WindowIndex, config: SplitConfig) -> Split:
    """Cut the windows into train, validation, calibration and test, the test part the latest.

    A window belongs to a part when all its samples, the target included, do, so no sample is in two
    parts; between two parts there is also an embargo of one window and horizon (Lopez de Prado, Advances in
    Financial Machine Learning, 7.4). Spans of a week and more are cut at midnight UTC.

    Raises:
        TelemetryError: a part holds no window.
    """
    frame = index.frame
    embargo_s = index.span_seconds if config.embargo else 0
    edges, whole_days = edges_of(frame, config)
    split = cut_at(index, edges, config, config.by, embargo_s)
    for name, part in split.parts.items():
        if len(part) == 0:
            first_s, last_s = _span_s(frame)
            raise TelemetryError(
                f"the {name} part of the split is empty: {frame.rows} samples from {_iso(first_s)}"
                f" to {_iso(last_s)} are too few or too short for {len(PARTS)} parts with an"
                f" embargo of {embargo_s // 60} minutes between them; give more telemetry."
            )
    return replace(split, whole_days=whole_days)


def cut_at(index: WindowIndex, edges: Index, config: SplitConfig, by: str, embargo_s: int) -> Split:
    """The windows between the edges [links, 5], unix seconds at which a link's four parts begin and the last ends.

    A part begins `embargo_s` after the one before. Parts may be empty.
    """
    parts: dict[str, WindowIndex] = {}
    boundaries: dict[str, tuple[int, int]] = {}
    for number, name in enumerate(PARTS):
        if name == "calibration" and config.calibration == 0:
            continue
        begin, end = edges[:, number] + (embargo_s if number else 0), edges[:, number + 1]
        parts[name] = _between(index, begin, end)
        boundaries[name] = (int(begin.min()), int(end.max()))
    return Split(parts, boundaries, embargo_s / 60, whole_days=False, by=by)


def shares_before(config: SplitConfig) -> npt.NDArray[np.float64]:
    """[5], the share that is before each part, and 1.

    Raises:
        ConfigError: nothing is left for training.
    """
    shares = np.array([config.validation, config.calibration, config.test])
    cuts = np.concatenate(([0.0], 1 - np.cumsum(shares[::-1])[::-1], [1.0]))
    if cuts[1] <= 0:
        raise ConfigError("split: validation, calibration and test together must leave some time for training.")
    return cuts


def _between(index: WindowIndex, begin: Index, end: Index) -> WindowIndex:
    """The windows whose samples, the target included, all are in [begin, end) of their link, unix seconds [links]."""
    frame, edges = index.frame, index.frame.link_rows()
    times = [frame.timestamps[first:past] for first, past in pairwise(edges)]
    first_row, past_row = (
        edges[:-1] + np.array([np.searchsorted(*pair) for pair in zip(times, moments, strict=True)], dtype=np.int64)
        for moments in (begin, end)
    )
    runs = index.positions
    past = runs.first + np.diff(runs.past, prepend=0)
    link = frame.link[runs.first]
    inside = Starts.of_runs(
        np.maximum(runs.first, first_row[link]), np.minimum(past, past_row[link] - index.steps_to_target)
    )
    frame.release()
    return replace(index, positions=inside)


def _span_s(frame: TelemetryFrame) -> tuple[int, int]:
    """The first and the last timestamp: a link's rows are in order, so only their ends are looked at."""
    edges = frame.link_rows()
    there = np.diff(edges) > 0
    return int(frame.timestamps[edges[:-1][there]].min()), int(frame.timestamps[edges[1:][there] - 1].max())


def edges_of(frame: TelemetryFrame, config: SplitConfig) -> tuple[Index, bool]:
    """[links, 5] unix seconds at which the four parts begin and the last ends, and whether all are midnights."""
    links = len(frame.links)
    cuts = shares_before(config)
    if config.by == "link":
        rows = frame.link_rows()
        begin, end = frame.timestamps[rows[:-1]], frame.timestamps[rows[1:] - 1] + frame.cadence_seconds
        return (begin[:, None] + np.round((end - begin)[:, None] * cuts)).astype(np.int64), False
    first_s, last_s = _span_s(frame)
    begin_s, end_s = first_s, last_s + frame.cadence_seconds
    first_day, past_last_day = begin_s // DAY_SECONDS, -(-end_s // DAY_SECONDS)
    whole_days = past_last_day - first_day >= MIN_DAYS_FOR_WHOLE_DAYS
    if whole_days:
        lengths = days_of_parts(config, int(past_last_day - first_day))
        days = past_last_day - np.cumsum(lengths[::-1])[::-1]
        edges = np.concatenate(([first_day], days, [past_last_day])) * DAY_SECONDS
    else:
        edges = begin_s + np.round((end_s - begin_s) * cuts)
    return np.tile(edges.astype(np.int64), (links, 1)), whole_days


def days_of_parts(config: SplitConfig, days: int) -> Index:
    """[3], the whole days of validation, calibration and test in a span of this many days."""
    shares = np.array([config.validation, config.calibration, config.test])
    lengths = np.maximum(1, np.round(shares * days)).astype(np.int64) * (shares > 0)
    lengths[-1] = max(lengths[-1], min(config.test_days, int(LARGEST_TEST_SHARE * days)))
    return lengths


def _iso(unix_s: int) -> str:
    return datetime.fromtimestamp(unix_s, UTC).isoformat()
