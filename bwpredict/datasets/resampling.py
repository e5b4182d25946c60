"""Samples of all links as plain arrays: sorted, made unique, and brought to one cadence."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from bwpredict import schema
from bwpredict.core.formatting import count_of
from bwpredict.datasets.file_mapping import FileMapping
from bwpredict.errors import TelemetryError

_AMOUNTS = ("bytes_tx", "bytes_rx", "retransmits")
"""Columns that count what happened in a sample's time."""
_LONGEST_STEP = 1.5
"""Cadences; beyond it a sample is missing."""
CADENCE_TOLERANCE = 0.05
"""A median step within this share of a minute is a minute with a jittery clock."""

Floats = npt.NDArray[np.float64]
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Samples:
    """Samples as read: `time` [rows] in seconds, `link` [rows] rows of `links`, `values` [rows, features], floats."""

    time: npt.NDArray[np.float64]
    link: npt.NDArray[np.int32]
    values: npt.NDArray[Any]
    features: list[str]
    links: pd.DataFrame
    attributes: dict[str, npt.NDArray[np.object_]]
    """Text of each row, for the columns of text that are there."""


def sort_samples(samples: Samples, origin: str) -> Samples:
    """Sorted by (link, time), without rows that repeat the one before."""
    samples = _take(samples, np.lexsort((samples.time, samples.link)))
    same, differ = _at_one_time(samples)
    repeats = same & ~differ
    if not repeats.any():
        return samples
    logger.info("%s: removed %s that repeat another", origin, count_of(int(repeats.sum()), "row"))
    return _take(samples, np.flatnonzero(~np.concatenate(([False], repeats))))


def refuse_conflicts(samples: Samples, origin: str) -> None:
    """Raise a TelemetryError that names `origin` and the link and timestamp of two different rows."""
    same, differ = _at_one_time(samples)
    if (same & differ).any():
        row = int(np.argmax(same & differ))
        link = samples.links.iloc[samples.link[row]]
        name = link.get("name", f"({link['node_id']}, {link['peer_id']})")
        raise TelemetryError(
            f"{origin}: link {name} has two different rows at timestamp {samples.time[row]:.12g}; keep one of them."
        )


def _at_one_time(samples: Samples) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """[rows - 1] whether the next row has the same link and time, and whether it has other values."""
    same = (np.diff(samples.time) == 0) & (np.diff(samples.link) == 0)
    here, following = samples.values[:-1], samples.values[1:]
    differ = np.zeros(len(same), dtype=bool)
    at = np.flatnonzero(same)
    differ[at] = ~((here[at] == following[at]) | (np.isnan(here[at]) & np.isnan(following[at]))).all(axis=1)
    return same, differ


def estimate_cadence(samples: Samples) -> float:
    """Seconds between samples: the median step over all links; a minute if that is near, or if no link has two."""
    steps = np.diff(samples.time)[np.diff(samples.link) == 0]
    steps = steps[steps > 0]
    if len(steps) == 0:
        return float(schema.CADENCE_SECONDS)
    median = float(np.median(steps))
    near = abs(median - schema.CADENCE_SECONDS) <= CADENCE_TOLERANCE * schema.CADENCE_SECONDS
    return float(schema.CADENCE_SECONDS) if near else median


def apply_functions(samples: Samples, mapping: FileMapping, cadence_s: float) -> Samples:
    """Growth of counters and amounts a second, in place of the values as read; each in the schema's unit.

    A counter's growth is missing (NaN) at a link's first sample, where the counter fell, and after a gap.
    """
    values = samples.values.copy()
    for number, name in enumerate(samples.features):
        function = mapping.columns[name].function if name in mapping.columns else "none"
        if function in ("rate", "increase"):
            steps = np.diff(samples.time, prepend=np.nan)
            grown = np.diff(values[:, number], prepend=np.nan)
            same_link = np.diff(samples.link, prepend=-1) == 0
            whole = same_link & (steps < _LONGEST_STEP * cadence_s) & (grown >= 0)
            _tell_falls(name, int((same_link & (grown < 0)).sum()), int(same_link.sum()))
            growth = np.divide(grown, steps) if function == "rate" else grown
            values[:, number] = np.where(whole, growth, np.nan) * mapping.factor(name)
        elif function == "per_second":
            values[:, number] *= mapping.factor(name) / cadence_s
    return replace(samples, values=values)


def _tell_falls(name: str, falls: int, steps: int) -> None:
    if falls:
        logger.warning(
            "%s: its counter goes down in %s of %s, which have no value then; if it starts again at 2^32, read the"
            " 64-bit counter, such as ifHCInOctets.", name, f"{falls:,}", count_of(steps, "step"),
        )  # fmt: skip


def at_cadence(samples: Samples, cadence_s: float, origin: str) -> Samples:
    """Sorted samples at whole seconds, as they are stored, without those that would split windows.

    Left out are rows without a value of any feature, which belong to other measurements, and samples less than half a
    cadence after the one before.
    """
    measured = [number for number, name in enumerate(samples.features) if name in schema.MEASURED]
    has_value = ~np.isnan(samples.values[:, measured]).all(axis=1)
    silent = np.bincount(samples.link[has_value], minlength=len(samples.links)) == 0
    there = _take(samples, np.flatnonzero(has_value | silent[samples.link]))  # Every link keeps a row.
    there = replace(there, time=np.round(there.time))
    kept = _spaced(there, cadence_s / 2)
    if left_out := len(samples.time) - int(kept.sum()):
        logger.info(
            "%s: left out %s without a value, or less than half of %g s after another",
            origin, count_of(left_out, "row"), cadence_s,
        )  # fmt: skip
    return _take(there, np.flatnonzero(kept))


def _spaced(samples: Samples, least_s: float) -> npt.NDArray[np.bool_]:
    """[rows], whether a row comes at least so long after the last one of its link that is kept."""
    kept = np.ones(len(samples.time), dtype=bool)
    last, close = 0, (np.diff(samples.time) < least_s) & (np.diff(samples.link) == 0)
    for row in (np.flatnonzero(close) + 1).tolist():
        last = row - 1 if kept[row - 1] else last
        kept[row] = samples.time[row] - samples.time[last] >= least_s
    return kept


def binned(samples: Samples, seconds: int) -> Samples:
    """One row for each link and stretch of `seconds` with samples: the mean of what is there, the sum of amounts."""
    stretch = samples.time // seconds
    first = np.flatnonzero(np.concatenate(([True], (np.diff(stretch) != 0) | (np.diff(samples.link) != 0))))
    there = ~np.isnan(samples.values)
    sums = np.add.reduceat(np.where(there, samples.values, 0).astype(np.float64), first, axis=0)
    counts = np.add.reduceat(there.astype(np.int64), first, axis=0)
    means = np.divide(sums, counts, out=np.full_like(sums, np.nan), where=counts > 0).astype(samples.values.dtype)
    for number, name in enumerate(samples.features):
        if name in schema.CALENDAR_FEATURES:
            means[:, number] = samples.values[first, number]
        if name in _AMOUNTS:
            means[:, number] *= counts[:, number]
    return replace(_take(samples, first), time=stretch[first] * seconds, values=means)


def _take(samples: Samples, rows: npt.NDArray[np.int64]) -> Samples:
    attributes = {name: text[rows] for name, text in samples.attributes.items()}
    return Samples(
        samples.time[rows], samples.link[rows], samples.values[rows], samples.features, samples.links, attributes
    )
