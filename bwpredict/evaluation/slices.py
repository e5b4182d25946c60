"""Slices of the test windows, and the difference between challenger and champion in each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from bwpredict import schema
from bwpredict.core.formatting import undefined_as_none
from bwpredict.datasets.windows import WindowIndex
from bwpredict.evaluation.bootstrap import Blocks, Floats, blocks_of, interval_of
from bwpredict.evaluation.forecasts import Forecasts
from bwpredict.evaluation.relative import percent_above
from bwpredict.evaluation.student import LEVEL

Document = dict[str, Any]
Labels = npt.NDArray[np.object_]

HOURS_PER_BAND = 6
HOUR_BAND, CONGESTED, NEW_LINK = "hour_band", "congested", "new_link"
SLICED_BY = tuple(name for name in schema.LINK_ATTRIBUTES if name != "az")
FEWEST_WINDOWS = 500
FEWEST_BLOCKS = 20
"""A slice with fewer windows or blocks is shown but not judged, since its interval would be too short."""
CONGESTED_FROM_QUANTILE = 0.9


@dataclass(frozen=True)
class Slice:
    """The windows with one value of an attribute."""

    attribute: str
    value: str
    rows: npt.NDArray[np.bool_]
    """[n]."""


def slices(forecasts: Forecasts) -> Iterator[Slice]:
    """A slice for each value of each attribute of links and windows, and for each band of hours of the target."""
    for attribute, labels in _labels(forecasts).items():
        for value in sorted(label for label in pd.unique(labels) if isinstance(label, str)):
            yield Slice(attribute, value, np.asarray(labels == value))


def hour_bands(timestamps: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """[n], the quarter of the day (0 to 3) of each unix second, in the calendar's time zone."""
    return schema.CALENDAR.hours(timestamps) // HOURS_PER_BAND


def window_labels(index: WindowIndex, known_links: Set[tuple[int, int]]) -> dict[str, Labels]:
    """Attribute → [n] "yes" or "no": whether the link was congested, and whether it is a new one.

    Args:
        index: n windows.
        known_links: (node_id, peer_id) of those that the champion was trained on, or without one, the challenger.
    """
    keys = index.frame.links[list(schema.LINK_KEY)].itertuples(index=False, name=None)
    new = np.array(["no" if key in known_links else "yes" for key in keys], dtype=object)
    labels = {NEW_LINK: new[index.frame.link[index.target_rows]]}
    if "queue_depth" not in (index.frame.filled or {}):
        labels[CONGESTED] = _congestion(index)
    return labels


def _congestion(index: WindowIndex) -> Labels:
    """[n] "yes" or "no": whether the queue was long, for this link, when the forecast was made.

    Long: among the tenth of the link's windows whose last sample has the longest queue, and above the link's
    median.
    """
    last = index.starts + index.window_size - 1
    queue, link = index.frame.values[last, schema.FEATURES.index("queue_depth")], index.frame.link[last]
    labels = np.full(len(queue), "no", dtype=object)
    for one in np.unique(link):
        rows = np.flatnonzero(link == one)
        median, long = np.quantile(queue[rows], [0.5, CONGESTED_FROM_QUANTILE])
        labels[rows[(queue[rows] >= long) & (queue[rows] > median)]] = "yes"
    return labels


def compare_slices(forecasts: Forecasts, reference: Floats) -> Document:
    """The `slices` part of a comparison; `reference` [n, t] are the absolute errors of each target's best baseline."""
    blocks, errors = blocks_of(forecasts.link, forecasts.timestamps), forecasts.absolute_errors()
    names = forecasts.targets
    found = [one for one in slices(forecasts) if not one.rows.all()]
    rows = [_figures(one, blocks, errors, reference, names) for one in found]
    supported = [place for place, row in enumerate(rows) if row["supported"]]
    if "champion" in errors and supported:
        drawn = _drawn([found[place].rows for place in supported], blocks, errors)
        bound = np.quantile(drawn, (1 - LEVEL) / (len(supported) * len(names)), axis=0, method="lower")
        for number, place in enumerate(supported):
            for target, name in enumerate(names):
                figures, column = rows[place]["per_target"][name], drawn[:, number, target]
                interval = interval_of(0.0, column)
                figures["low"], figures["high"] = (undefined_as_none(end) for end in (interval.low, interval.high))
                figures["worse_by_at_least"] = undefined_as_none(bound[number, target])
    return {
        "level": LEVEL,
        "fewest_windows": FEWEST_WINDOWS,
        "fewest_blocks": FEWEST_BLOCKS,
        "comparisons": len(supported) * len(names) if "champion" in errors else 0,
        "left_out": list(_left_out(forecasts, found)),
        "rows": rows,
    }


def _labels(forecasts: Forecasts) -> dict[str, Labels]:
    """Attribute → [n] labels; values that are not text count as unknown."""
    labels = {
        attribute: forecasts.links[attribute].to_numpy(dtype=object)[forecasts.link]
        for attribute in SLICED_BY
        if attribute in forecasts.links
    }
    names = np.array([f"{band * HOURS_PER_BAND:02}-{(band + 1) * HOURS_PER_BAND:02}" for band in range(4)], object)
    labels[HOUR_BAND] = names[hour_bands(forecasts.timestamps)]
    return labels | dict(forecasts.labels)


def _figures(
    one: Slice, blocks: Blocks, errors: Mapping[str, Floats], reference: Floats, names: tuple[str, ...]
) -> Document:
    """A row of the document, without the bootstrap's figures."""
    windows, held = int(one.rows.sum()), len(np.unique(blocks.code[one.rows]))
    own = errors["challenger"][one.rows].mean(axis=0)
    champion = errors["champion"][one.rows].mean(axis=0) if "champion" in errors else np.full(len(names), np.nan)
    above = percent_above(own, champion)
    skill = -percent_above(own, reference[one.rows].mean(axis=0)) / 100
    return {
        "attribute": one.attribute,
        "value": one.value,
        "windows": windows,
        "blocks": held,
        "supported": windows >= FEWEST_WINDOWS and held >= FEWEST_BLOCKS and blocks.kind == "day",
        "per_target": {
            name: {
                "mae": undefined_as_none(own[place]),
                "champion_mae": undefined_as_none(champion[place]),
                "skill": undefined_as_none(skill[place]),
                "percent": undefined_as_none(above[place]),
                "low": None,
                "high": None,
                "worse_by_at_least": None,
            }
            for place, name in enumerate(names)
        },
    }


def _drawn(chosen: list[npt.NDArray[np.bool_]], blocks: Blocks, errors: Mapping[str, Floats]) -> Floats:
    """[draws, slices, t], percent that the challenger's MAE is above the champion's."""
    sums = [blocks.sums(errors[model], rows) for model in ("challenger", "champion") for rows in chosen]
    drawn = blocks.draw(np.concatenate(sums, axis=1))
    ours, theirs = np.split(drawn.reshape(len(drawn), 2 * len(chosen), -1), 2, axis=1)
    return percent_above(ours, theirs)


def _left_out(forecasts: Forecasts, found: list[Slice]) -> Iterator[str]:
    """A sentence for each attribute that makes no slices."""
    known, sliced = _labels(forecasts), {one.attribute for one in found}
    for attribute in (*SLICED_BY, CONGESTED, NEW_LINK, HOUR_BAND):
        if attribute not in known:
            yield f"{attribute}: the telemetry does not say."
        elif attribute not in sliced:
            yield f"{attribute}: the same for all test windows, or unknown."
