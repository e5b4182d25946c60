"""Cut any telemetry that has windows: by the calendar where it can be, else by what there is.

In this order, the first way that gives every part windows:

1. as asked (`SplitConfig`): one cut in time for all links, or each link's own time;
2. one cut in time at shares of the samples, not of the elapsed time, for telemetry with long outages;
3. each link's own time, or else its own samples, without an embargo, for recordings of some hours;
4. whole sessions (stretches without a gap) in order of time, where each is too short to be cut.

Where it is not as asked, the shares are the configuration's, or a half, a quarter and a quarter without calibration.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from bwpredict.config import SplitConfig
from bwpredict.datasets.windows import (
    PARTS,
    Index,
    Split,
    Starts,
    WindowIndex,
    cut_at,
    describe_stretches,
    edges_of,
    shares_before,
    split_windows,
)
from bwpredict.errors import TelemetryError

logger = logging.getLogger(__name__)

SHORT_RECORDING = SplitConfig(validation=0.25, calibration=0, test=0.25, by="link", embargo=False)
"""Shares of what is too short for the usual ones."""
FEWEST_LINKS = 0.5
"""Share of the links with windows that must have some in the test part, else another way is tried."""

Cut = Callable[[WindowIndex, SplitConfig], Split]


def choose_split(index: WindowIndex, config: SplitConfig) -> Split:
    """The windows in train, validation, calibration and test, in the first way that leaves no part empty.

    No sample is in two parts, and on every link the parts follow one another in time.

    Raises:
        TelemetryError: no way does; names what was found, what is needed, and what to change.
    """
    try:
        return split_windows(index, config)
    except TelemetryError as error:
        why = str(error)
    for way, shares in _ways(config):
        split = way(index, shares)
        if _is_usable(split, index, shares):
            logger.warning("%s. Cut instead: %s.", why.rpartition(";")[0], split.sentence)
            return split
    found = describe_stretches(index.frame, index.steps_to_target + 1)
    raise TelemetryError(
        f"{why.partition(':')[0]}: {found}; give more telemetry, or a smaller --window-size or --horizon-minutes."
    )


def _ways(config: SplitConfig) -> Iterator[tuple[Cut, SplitConfig]]:
    yield by_samples, config
    yield by_samples, SHORT_RECORDING
    yield by_time_of_link, SHORT_RECORDING
    yield by_link, SHORT_RECORDING
    yield by_session, config
    yield by_session, SHORT_RECORDING


def by_samples(index: WindowIndex, config: SplitConfig) -> Split:
    """One cut in time for all links, at shares of the samples, with an embargo."""
    times = np.sort(index.frame.timestamps)
    at = np.round(shares_before(config) * len(times)).astype(np.int64)
    edges = np.append(times[at[:-1]], times[-1] + index.frame.cadence_seconds)
    return cut_at(index, np.tile(edges, (len(index.frame.links), 1)), config, "samples", index.span_seconds)


def by_time_of_link(index: WindowIndex, config: SplitConfig) -> Split:
    """Each link's own time, without an embargo."""
    return cut_at(index, edges_of(index.frame, config)[0], config, "link", 0)


def by_link(index: WindowIndex, config: SplitConfig) -> Split:
    """Each link's own samples, without an embargo."""
    frame, rows = index.frame, index.frame.link_rows()
    counts = np.diff(rows)
    at = rows[:-1, None] + np.round(counts[:, None] * shares_before(config)).astype(np.int64)
    edges = frame.timestamps[np.minimum(at, rows[1:, None] - 1)]
    edges[:, -1] += frame.cadence_seconds
    return cut_at(index, edges, config, "link", 0)


def by_session(index: WindowIndex, config: SplitConfig) -> Split:
    """Whole stretches without a gap, in order of time.

    After a stretch of an earlier part, a link's next one begins an embargo later: the gap between them counts.
    """
    frame, runs = index.frame, index.positions
    sizes = np.diff(runs.past, prepend=0)
    order = np.argsort(frame.timestamps[runs.first], kind="stable")
    middle = np.empty(len(sizes))
    middle[order] = (np.cumsum(sizes[order]) - sizes[order] / 2) / sizes.sum()
    part_of = np.searchsorted(shares_before(config)[1:-1], middle, side="right")
    first = _after_embargo(index, part_of, sizes)
    parts: dict[str, WindowIndex] = {}
    boundaries: dict[str, tuple[int, int]] = {}
    for number, name in enumerate(PARTS):
        if name == "calibration" and config.calibration == 0:
            continue
        own = part_of == number
        parts[name] = replace(index, positions=Starts.of_runs(first[own], (runs.first + sizes)[own]))
        if len(parts[name]):
            boundaries[name] = _span(parts[name])
    return Split(parts, boundaries, index.span_seconds / 60, whole_days=False, by="session")


def _after_embargo(index: WindowIndex, part_of: Index, sizes: Index) -> Index:
    """[runs], first row of each whose window begins an embargo after the link's last sample of an earlier part."""
    frame, runs = index.frame, index.positions
    first = runs.first.copy()
    last_row = runs.first + sizes - 1 + index.steps_to_target
    link = frame.link[runs.first]
    for run in np.flatnonzero((np.diff(part_of, prepend=0) > 0) & (np.diff(link, prepend=-1) == 0)):
        free = frame.timestamps[last_row[run - 1]] + frame.cadence_seconds + index.span_seconds
        rows = slice(first[run], last_row[run] + 1)
        first[run] += np.searchsorted(frame.timestamps[rows], free)
    return first


def _span(part: WindowIndex) -> tuple[int, int]:
    times, starts = part.frame.timestamps, part.starts
    return int(times[starts].min()), int(times[starts + part.steps_to_target].max()) + part.frame.cadence_seconds


def _is_usable(split: Split, index: WindowIndex, config: SplitConfig) -> bool:
    wanted = [name for name in PARTS if name != "calibration" or config.calibration]
    if any(not len(split.parts[name]) for name in wanted):
        return False
    if split.by == "session":
        return True
    tested, known = (np.count_nonzero(each.windows_of_links()) for each in (split["test"], index))
    return bool(tested >= FEWEST_LINKS * known)
