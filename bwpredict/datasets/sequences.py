"""Telemetry as one sequence of equal steps for each link; a missing minute is a row of NaN."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bwpredict import schema
from bwpredict.datasets.windows import DAY_SECONDS, Index, WindowIndex

Floats = npt.NDArray[np.float32]
ROWS_AT_A_TIME = 65_536
"""That are cut: memory grows with them."""


@dataclass(frozen=True)
class Sequences:
    """Stretches of telemetry that may be looked at, one for each link."""

    index: WindowIndex
    links: Index
    """[n], those that have windows."""
    first_row: Index
    """[n], of what may be seen of each link."""
    past_row: Index

    @classmethod
    def of(cls, index: WindowIndex, *, history_seconds: int = 0) -> Sequences:
        """From the first sample of a link's windows (and so much before it) to its last target."""
        edges, times = index.frame.link_rows(), index.frame.timestamps
        first_start, last_start = _runs_within_links(index, edges)
        links, first_run, runs_of_link = np.unique(index.frame.link[first_start], return_index=True, return_counts=True)
        first = first_start[first_run]
        last = last_start[first_run + runs_of_link - 1]
        past = np.minimum(last + 1 + index.steps_to_target, edges[links + 1])
        if history_seconds:
            first = np.array(
                [
                    begin + np.searchsorted(times[begin:row], times[row] - history_seconds)
                    for begin, row in zip(edges[links], first, strict=True)
                ],
                dtype=np.int64,
            )
        return cls(index, links.astype(np.int64), first, past)

    def __len__(self) -> int:
        """Number of links."""
        return len(self.links)

    def spread(self, most: int) -> Sequences:
        """At most this many of the links, evenly spread."""
        if len(self) <= most:
            return self
        chosen = np.linspace(0, len(self) - 1, most).astype(np.int64)
        return Sequences(self.index, self.links[chosen], self.first_row[chosen], self.past_row[chosen])

    @property
    def spans(self) -> tuple[Index, Index]:
        """[n] and [n], unix seconds: of the first sample, and past the last."""
        times = self.index.frame.timestamps
        return times[self.first_row], times[self.past_row - 1] + self.index.frame.cadence_seconds

    def cut(self, which: Index, begin_s: Index, count: int) -> Floats:
        """[n, count, features], raw units: of `which` links the samples from `begin_s` on, NaN where missing."""
        frame, cadence = self.index.frame, self.index.frame.cadence_seconds
        cut = np.full((len(which), count, len(schema.FEATURES)), np.nan, dtype=np.float32)
        first, past = self._rows(which, begin_s, count)
        most = max(1, ROWS_AT_A_TIME // count)
        for place in range(0, len(which), most):
            sizes = (past - first)[place : place + most]
            cuts = np.repeat(np.arange(place, place + len(sizes)), sizes)
            rows = first[cuts] + np.arange(len(cuts)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
            slots = np.round((frame.timestamps[rows] - begin_s[cuts]) / cadence).astype(np.int64)
            cut[cuts, slots.clip(0, count - 1)] = frame.values[rows]
            frame.release()
        return cut

    def _rows(self, which: Index, begin_s: Index, count: int) -> tuple[Index, Index]:
        """[n] and [n], the first row of each cut, and the row past it."""
        cadence = self.index.frame.cadence_seconds
        edges = begin_s[:, None] + np.array([0, count * cadence]) - cadence // 2  # numpy would copy times for a float
        rows = np.empty_like(edges)
        for link in np.unique(which):
            here, first = which == link, self.first_row[link]
            times = self.index.frame.timestamps[first : self.past_row[link]]
            rows[here] = first + np.searchsorted(times, edges[here])
        return rows[:, 0], rows[:, 1]

    def daily(self, most_links: int = 64) -> Floats:
        """[links, days, samples of a day, features] of some links."""
        some = self.spread(most_links)
        begin, end = some.spans
        begin = begin // DAY_SECONDS * DAY_SECONDS
        days = int((-(-(end - begin) // DAY_SECONDS)).max())
        of_day = DAY_SECONDS // self.index.frame.cadence_seconds
        cut = some.cut(np.arange(len(some)), begin, days * of_day)
        return cut.reshape(len(some), days, of_day, -1)


def _runs_within_links(index: WindowIndex, edges: Index) -> tuple[Index, Index]:
    """First and last row of each run of window starts; a run that goes on into the next link is split there."""
    runs = index.positions
    first, last = runs.first, runs.first + np.diff(runs.past, prepend=0) - 1
    inner = edges[1:-1]
    run = np.searchsorted(first, inner, side="left") - 1
    split = inner[(run >= 0) & (inner <= last[run.clip(0)])]
    return np.sort(np.concatenate((first, split))), np.sort(np.concatenate((last, split - 1)))
