"""Accuracy and forecasts of the challenger on the test days, for each link.

Two tables are published with a version. `link_accuracy` has a row for each link and target; `link_series` has the
forecasts themselves, thinned so that its size is bounded however many links there are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from bwpredict import schema
from bwpredict.errors import DocumentError
from bwpredict.evaluation.forecasts import JUDGED, Forecasts, read_forecasts, write_forecasts
from bwpredict.inference.confidence import confidence
from bwpredict.inference.onnx_model import Bounds
from bwpredict.store.files import atomic_path

Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]

HOURS = 24
STEPS_MINUTES = (15, 60)
"""Steps of the series in minutes; the first one with which all links fit is used."""
MAX_POINTS = 60_000
"""Points of the series, over all links."""
_BOUNDS = ("lower", "upper")
_NUMBERS = ("mae", "champion_mae", "baseline_mae", "coverage", "confidence")
_BY_HOUR = ("mae_by_hour", "champion_mae_by_hour")
ACCURACY_COLUMNS = (*schema.LINK_KEY, "target", "windows", *_NUMBERS, "skill", *_BY_HOUR)


def accuracy_by_link(
    forecasts: Forecasts, bounds: Bounds | None, best_baselines: Mapping[str, str | None]
) -> pd.DataFrame:
    """A row for each link and target, with `ACCURACY_COLUMNS`; NaN where a figure is undefined.

    `coverage` is the share of samples within the challenger's interval, `confidence` the mean of its confidence,
    `skill` 1 − mae / baseline_mae, and `…_by_hour` has the mean absolute error of each hour of the day (UTC, [24]).

    Args:
        bounds: the challenger's intervals for the same windows, [n, 4]; None: it has none.
        best_baselines: target → the baseline that skill is measured against; None: there is none.
    """
    sure = None if bounds is None else _confidence(forecasts, bounds)
    return pd.concat(
        [_of_target(forecasts, bounds, sure, name, best_baselines.get(name)) for name in forecasts.targets]
    )


def write_accuracy(path: Path, accuracy: pd.DataFrame) -> Path:
    """Write the table of `accuracy_by_link` as Parquet."""
    with atomic_path(path) as temporary:
        pq.write_table(pa.Table.from_pandas(accuracy, preserve_index=False), temporary, compression="zstd")
    return path


def read_accuracy(content: bytes, name: str) -> pd.DataFrame:
    """Read the bytes of a file of `write_accuracy`. Raises DocumentError if they are not such a file."""
    try:
        table = pq.read_table(BytesIO(content))
    except (pa.ArrowException, OSError) as error:
        raise DocumentError(f"{name}: cannot be read as Parquet: {str(error).splitlines()[0]}.") from error
    missing = [column for column in ACCURACY_COLUMNS if column not in table.column_names]
    if missing:
        raise DocumentError(f"{name}: holds no accuracy of links: column {missing[0]!r} is missing.")
    accuracy: pd.DataFrame = table.to_pandas()
    return accuracy


def write_series(path: Path, forecasts: Forecasts, bounds: Bounds | None, accuracy: pd.DataFrame) -> Path:
    """Write actual values and forecasts of the test days: at most `MAX_POINTS` points, deterministic.

    A point is the first window of each 15 minutes, or of each hour where there are too many links for that. Where the
    hours are too many as well, the links with the lowest skill, coverage and confidence on any target are kept.
    """
    for minutes in STEPS_MINUTES:
        rows = _first_of_each(forecasts, minutes)
        if len(rows) <= MAX_POINTS:
            break
    else:
        rows = _rows_of_first_links(forecasts, rows, ranked_links(accuracy))
    models = {name: forecasts.models[name][rows] for name in JUDGED if name in forecasts.models}
    if bounds is not None:
        measured = [schema.TARGETS.index(name) for name in forecasts.targets]
        sides = (bounds.lower, bounds.upper)
        models |= {name: side[rows][:, measured] for name, side in zip(_BOUNDS, sides, strict=True)}
    kept = replace(
        forecasts,
        actual=forecasts.actual[rows],
        models=models,
        link=forecasts.link[rows],
        timestamps=forecasts.timestamps[rows],
    )
    return write_forecasts(path, kept)


def read_series(source: Path | bytes, name: str = "") -> tuple[Forecasts, Bounds | None]:
    """Read a file of `write_series`, by path or bytes. Raises TelemetryError if it is not such a file."""
    forecasts = read_forecasts(source if isinstance(source, Path) else BytesIO(source), name)
    models = dict(forecasts.models)
    sides = [models.pop(each, None) for each in _BOUNDS]
    if sides[0] is None or sides[1] is None:
        return replace(forecasts, models=models), None
    lower, upper = (_all_targets(side, forecasts.targets) for side in sides if side is not None)
    return replace(forecasts, models=models), Bounds(lower, upper, schema.INTERVAL_LEVEL)


def ranked_links(accuracy: pd.DataFrame) -> list[tuple[int, int]]:
    """(node_id, peer_id): in turn the link of the lowest skill, coverage and confidence, each link once."""
    lowest = accuracy.groupby(list(schema.LINK_KEY))[["skill", "coverage", "confidence"]].min()
    orders = [lowest[name].sort_values(kind="stable").index for name in lowest.columns]
    return list(dict.fromkeys(link for links in zip(*orders, strict=True) for link in links))


def _of_target(
    forecasts: Forecasts, bounds: Bounds | None, confidences: Floats | None, target: str, baseline: str | None
) -> pd.DataFrame:
    place = forecasts.targets.index(target)
    codes, link = np.unique(forecasts.link, return_inverse=True)
    actual = forecasts.actual[:, place].astype(np.float64)
    hour = schema.CALENDAR.hours(forecasts.timestamps).astype(np.int64)
    nothing = np.full(len(actual), np.nan)
    errors = {
        name: np.abs(forecasts.models[model][:, place] - actual) if model in forecasts.models else nothing
        for name, model in (("mae", "challenger"), ("champion_mae", "champion"), ("baseline_mae", baseline or ""))
    }
    inside = nothing if bounds is None else _within(forecasts, bounds, target)
    sure = nothing if confidences is None else confidences[:, schema.TARGETS.index(target)]
    columns = {name: _means(values, link, len(codes)) for name, values in errors.items()}
    columns |= {"coverage": _means(inside, link, len(codes)), "confidence": _means(sure, link, len(codes))}
    columns["skill"] = 1 - columns["mae"] / np.where(columns["baseline_mae"] > 0, columns["baseline_mae"], np.nan)
    by_hour = {
        f"{name}_by_hour": list(_means(errors[name], link * HOURS + hour, len(codes) * HOURS).reshape(-1, HOURS))
        for name in ("mae", "champion_mae")
    }
    keys = {name: forecasts.links[name].to_numpy()[codes] for name in schema.LINK_KEY}
    windows = np.bincount(link, minlength=len(codes))
    return pd.DataFrame({**keys, "target": target, "windows": windows, **columns, **by_hour})[list(ACCURACY_COLUMNS)]


def _within(forecasts: Forecasts, bounds: Bounds, target: str) -> Floats:
    """[n], 1 where the interval held the actual value, else 0."""
    actual, whole = forecasts.actual[:, forecasts.targets.index(target)], schema.TARGETS.index(target)
    return ((bounds.lower[:, whole] <= actual) & (actual <= bounds.upper[:, whole])).astype(np.float64)


def _confidence(forecasts: Forecasts, bounds: Bounds) -> Floats:
    """[n, 4], of the challenger's forecasts."""
    return confidence(_all_targets(forecasts.models["challenger"], forecasts.targets), bounds.lower, bounds.upper)


def _all_targets(values: npt.NDArray[np.float32], targets: tuple[str, ...]) -> npt.NDArray[np.float32]:
    """[n, 4] of [n, targets], NaN for targets that were not measured."""
    whole = np.full((len(values), len(schema.TARGETS)), np.nan, np.float32)
    whole[:, [schema.TARGETS.index(name) for name in targets]] = values
    return whole


def _means(values: Floats, code: npt.NDArray[np.integer[Any]], count: int) -> Floats:
    """[count], the mean of each code's values; NaN for one without any, or with a NaN among them."""
    totals = np.bincount(code, weights=values, minlength=count)
    counts = np.bincount(code, minlength=count)
    means: Floats = np.divide(totals, counts, out=np.full(count, np.nan), where=counts > 0)
    return means


def _first_of_each(forecasts: Forecasts, minutes: int) -> Rows:
    """Rows of the first window of each link and step, by link and time."""
    order = np.lexsort((forecasts.timestamps, forecasts.link))
    step = forecasts.timestamps[order] // (60 * minutes)
    link = forecasts.link[order]
    first = np.ones(len(order), dtype=bool)
    first[1:] = (np.diff(step) != 0) | (np.diff(link) != 0)
    return np.asarray(order[first], np.int64)


def _rows_of_first_links(forecasts: Forecasts, rows: Rows, ranking: list[tuple[int, int]]) -> Rows:
    """The rows of the highest-ranking links, as many whole links as fit."""
    keys = pd.MultiIndex.from_frame(forecasts.links[list(schema.LINK_KEY)])
    counts = np.bincount(forecasts.link[rows], minlength=len(keys))
    codes = keys.get_indexer(pd.MultiIndex.from_tuples(ranking))
    fits = codes[np.cumsum(counts[codes]) <= MAX_POINTS]
    return rows[np.isin(forecasts.link[rows], fits)]
