"""What the pages of links show: figures of each link on a version's test days, and what was forecast there."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from bwpredict import schema
from bwpredict.core.formatting import display_name, number, readable_unit
from bwpredict.errors import ObjectMissingError
from bwpredict.evaluation.by_link import HOURS, read_accuracy, read_series
from bwpredict.evaluation.forecasts import Forecasts
from bwpredict.inference.onnx_model import Bounds
from bwpredict.registry.layout import LINK_ACCURACY_NAME, LINK_SERIES_NAME
from bwpredict.registry.versions import read_file, read_manifest
from bwpredict.registry_views.overview import version_documents
from bwpredict.reports.svg_chart import Chart, line_chart
from bwpredict.store.base import Store
from bwpredict_airflow.webapp import link_consumer
from bwpredict_airflow.webapp.link_consumer import ConsumerView, consumer_view, rules_of

LINKS_ON_A_PAGE = 50
SORTS = {
    "worst": ("skill", "Worst: lowest skill"),
    "anomalous": ("coverage", "Most anomalous: fewest samples within the interval"),
    "uncertain": ("confidence", "Least certain: lowest confidence"),
}
"""Order of the list → the figure that is sorted by, lowest first, and its label."""
MODEL, CHAMPION = link_consumer.MODEL, link_consumer.CHAMPION
_GAP_STEPS = 3
"""Lines are broken where this many usual steps are missing."""

Column = list[float | None]


@dataclass(frozen=True)
class LinkList:
    """One page of the list; `total` links match."""

    rows: list[dict[str, str]]
    total: int
    first: int
    """Position of the first row among them."""

    @property
    def next(self) -> int | None:
        """Where the next page begins; None: there is none."""
        past = self.first + LINKS_ON_A_PAGE
        return past if past < self.total else None


@dataclass(frozen=True)
class LinkView:
    """One link and target."""

    figures: dict[str, str]
    """Label → value."""
    series: dict[str, Any] | None
    """What the chart draws, with `times` in unix seconds and None where a value is missing; None: it was not kept."""
    values: list[tuple[str, ...]]
    """The same as texts: time, actual, forecast, interval, champion."""
    by_hour: Chart | None
    hours: list[tuple[str, ...]]
    """Hour, error of the model, error of the champion."""
    consumer: ConsumerView | None
    """None: the comparison has no rules, or the series lacks intervals or a target."""


def link_accuracy(store: Store, version: str) -> pd.DataFrame:
    """The figures of all links of a version, checked against its manifest.

    Raises:
        ObjectMissingError: there is no such version, or it was published without them.
        ObjectCorruptError, DocumentError: they cannot be trusted.
    """
    return read_accuracy(_published(store, version, LINK_ACCURACY_NAME), f"{version}/{LINK_ACCURACY_NAME}")


def link_list(accuracy: pd.DataFrame, target: str, *, sort: str, find: str, first: int) -> LinkList:
    """The links whose name contains `find`, by the figure of `sort`, from position `first` on."""
    rows = accuracy[accuracy.target == target].assign(link=_labels)
    rows = rows[rows.link.str.contains(find.strip(), regex=False)]
    rows = rows.sort_values([SORTS[sort][0], "node_id", "peer_id"], na_position="last")
    shown = rows.iloc[first : first + LINKS_ON_A_PAGE]
    return LinkList(
        [{"link": row["link"], **_figures(row, target)} for row in shown.to_dict("records")], len(rows), first
    )


def link_view(store: Store, version: str, link: str, target: str) -> LinkView:
    """One link of a version. Raises as `link_accuracy`; ObjectMissingError also if the version has no such link."""
    accuracy = link_accuracy(store, version)
    rows = accuracy[(_labels(accuracy) == link) & (accuracy.target == target)]
    if rows.empty:
        raise ObjectMissingError(f"{version}: has no test windows of link {link} for {display_name(target)}.")
    row = rows.iloc[0].to_dict()
    forecasts, bounds = _of_link(
        *read_series(_published(store, version, LINK_SERIES_NAME), name=f"{version}/{LINK_SERIES_NAME}"), link
    )
    series = _series(forecasts, bounds, target)
    factor = readable_unit(target)[0]
    errors = {MODEL: _column(factor * row["mae_by_hour"]), CHAMPION: _column(factor * row["champion_mae_by_hour"])}
    return LinkView(
        figures=_figures(row, target),
        series=series,
        values=_texts(series) if series else [],
        by_hour=_by_hour_chart(errors, target),
        hours=[(f"{hour:02d}:00", *(number(values[hour]) for values in errors.values())) for hour in range(HOURS)],
        consumer=_consumer(version_documents(store, version).comparison, forecasts, bounds) if series else None,
    )


def _published(store: Store, version: str, name: str) -> bytes:
    manifest = read_manifest(store, version)
    if name not in manifest.sha256:
        raise ObjectMissingError(f"{version}: has no test days link by link; versions published later have them.")
    return read_file(store, manifest, name)


def _labels(accuracy: pd.DataFrame) -> pd.Series[str]:
    return accuracy.node_id.astype(str) + "-" + accuracy.peer_id.astype(str)


def _figures(row: Mapping[Any, Any], target: str) -> dict[str, str]:
    factor = readable_unit(target)[0]
    errors = {name: number(_finite(factor * row[name]), 3) for name in ("mae", "champion_mae", "baseline_mae")}
    coverage = _finite(row["coverage"])
    return errors | {
        **{name: number(_finite(row[name]), 3) for name in ("skill", "confidence")},
        "coverage": number(None) if coverage is None else f"{100 * coverage:.1f} %",
        "windows": number(int(row["windows"])),
    }


def _of_link(forecasts: Forecasts, bounds: Bounds | None, link: str) -> tuple[Forecasts, Bounds | None]:
    """The points of one link; none of them, if it is not among those kept."""
    labels = forecasts.links["node_id"].astype(str) + "-" + forecasts.links["peer_id"].astype(str)
    rows = np.flatnonzero((labels == link).to_numpy()[forecasts.link])
    own = replace(
        forecasts,
        actual=forecasts.actual[rows],
        models={name: values[rows] for name, values in forecasts.models.items()},
        link=forecasts.link[rows],
        timestamps=forecasts.timestamps[rows],
    )
    return own, bounds and Bounds(bounds.lower[rows], bounds.upper[rows], bounds.level)


def _consumer(comparison: Mapping[str, Any], forecasts: Forecasts, bounds: Bounds | None) -> ConsumerView | None:
    rules = rules_of(comparison)
    # The series has no forecast of a target that was not measured; the confidence covers all four targets.
    if rules is None or bounds is None or forecasts.targets != schema.TARGETS:
        return None
    models = {link_consumer.PERFECT: forecasts.actual, link_consumer.MODEL: forecasts.models["challenger"]}
    if "champion" in forecasts.models:
        models[link_consumer.CHAMPION] = forecasts.models["champion"]
    values = {
        who: dict(zip(forecasts.targets, columns.T.astype(np.float64), strict=True)) for who, columns in models.items()
    }
    return consumer_view(rules, forecasts.timestamps, values, bounds)


def _series(forecasts: Forecasts, bounds: Bounds | None, target: str) -> dict[str, Any] | None:
    """The link's points in time, with an empty point in each gap; None: there are none."""
    if not len(forecasts) or target not in forecasts.targets:
        return None
    place, whole = forecasts.targets.index(target), schema.TARGETS.index(target)
    columns = {"actual": forecasts.actual[:, place], "forecast": forecasts.models["challenger"][:, place]}
    if "champion" in forecasts.models:
        columns["champion"] = forecasts.models["champion"][:, place]
    if bounds is not None:
        columns |= {"lower": bounds.lower[:, whole], "upper": bounds.upper[:, whole]}
    times = forecasts.timestamps
    steps = np.diff(times)
    gaps = np.flatnonzero(steps > _GAP_STEPS * np.median(steps)) + 1 if len(steps) else np.empty(0, np.int64)
    factor, unit = readable_unit(target)
    broken = {
        name: _column(np.insert(factor * values.astype(np.float64), gaps, np.nan)) for name, values in columns.items()
    }
    return {"times": np.insert(times, gaps, times[gaps - 1] + 1).tolist(), "unit": unit, **broken}


def _texts(series: dict[str, Any]) -> list[tuple[str, ...]]:
    nothing: Column = [None] * len(series["times"])
    columns = (series.get(name, nothing) for name in ("actual", "forecast", "lower", "upper", "champion"))
    return [
        (f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M}", number(actual), number(forecast),
         f"{number(lower)} – {number(upper)}", number(champion))
        for at, actual, forecast, lower, upper, champion in zip(series["times"], *columns, strict=True)
        if actual is not None
    ]  # fmt: skip


def _by_hour_chart(errors: dict[str, Column], target: str) -> Chart | None:
    defined = {name: values for name, values in errors.items() if any(value is not None for value in values)}
    hours = [f"{hour:02d}:00" for hour in range(HOURS)]
    unit = readable_unit(target)[1]
    title = f"Mean absolute error by hour of the day (UTC), {unit}"
    return line_chart(title, hours, defined, unit=unit, limits={"": 0.0}) if defined else None


def _column(values: Sequence[float] | npt.NDArray[np.float64]) -> Column:
    return [_finite(value) for value in values]


def _finite(value: float) -> float | None:
    """The value at seven digits, as float32 has them; None where it is undefined."""
    return float(f"{value:.7g}") if math.isfinite(value) else None
