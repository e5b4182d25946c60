"""The profile of a span of telemetry: counts, moments and histograms, with which later months are compared.

Profiles of disjoint spans merge: counts and histograms exactly, means and standard deviations to
rounding (the pairwise update of Chan, Golub and LeVeque 1983). So shards, measured apart, give the
profile of the whole, and a month is measured in the memory of one day.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from functools import reduce
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from bwpredict import schema
from bwpredict.profiling import histogram

Profile = dict[str, Any]

NUMERIC = tuple(
    column.name
    for column in schema.COLUMNS
    if column.kind in ("number", "integer") and column.name not in (*schema.LINK_KEY, *schema.CALENDAR_FEATURES)
)
"""Columns measured by moments and histogram, in their own unit."""
CATEGORICAL = (
    *(column.name for column in schema.COLUMNS if column.kind in ("category", "text")),
    *schema.CALENDAR_FEATURES,
)
"""Columns measured by the count of each value."""

QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)


def measure_day(day: str, frame: pd.DataFrame) -> Profile:
    """The profile (document kind `profile`) of one UTC day (YYYY-MM-DD) of telemetry, or of some links of it.

    Columns that are missing, or not of their type, are left out.
    """
    spans = _link_spans(frame)
    return _profile(
        {day: {"rows": len(frame), "links": len(spans)}},
        spans,
        {name: _numeric(frame[name]) for name in NUMERIC if _is_numeric(frame, name)},
        {name: _categorical(frame[name]) for name in CATEGORICAL if name in frame},
    )


def merge(profiles: Iterable[Profile]) -> Profile:
    """The profile of all the spans together. No two may hold the same row."""
    return reduce(_merge_two, profiles, _profile({}, [], {}, {}))


def gap_share(profile: Profile, cadence_seconds: int = schema.CADENCE_SECONDS) -> float | None:
    """Share of each link's steps, between its first and last sample, that hold no sample; None: no samples."""
    spans = profile["link_spans"]
    expected = [round((span["last_s"] - span["first_s"]) / cadence_seconds) + 1 for span in spans]
    missing = sum(max(0, steps - span["rows"]) for steps, span in zip(expected, spans, strict=True))
    return missing / sum(expected) if spans else None


def _profile(
    days: dict[str, dict[str, int]],
    spans: list[dict[str, int]],
    numeric: dict[str, dict[str, Any]],
    categorical: dict[str, dict[str, Any]],
) -> Profile:
    return {
        "rows": sum(day["rows"] for day in days.values()),
        "links": len(spans),
        "first_timestamp_s": min((span["first_s"] for span in spans), default=None),
        "last_timestamp_s": max((span["last_s"] for span in spans), default=None),
        "days": days,
        "link_spans": spans,
        "binning": histogram.BINNING,
        "numeric": numeric,
        "categorical": categorical,
    }


def _link_spans(frame: pd.DataFrame) -> list[dict[str, int]]:
    if not all(_is_numeric(frame, name) for name in (*schema.LINK_KEY, "timestamp")):
        return []
    known = frame[[*schema.LINK_KEY, "timestamp"]].dropna()
    spans = known.groupby(list(schema.LINK_KEY))["timestamp"].agg(["size", "min", "max"])
    return [
        {"node_id": int(node), "peer_id": int(peer), "rows": int(rows), "first_s": int(first), "last_s": int(last)}
        for (node, peer), (rows, first, last) in zip(spans.index, spans.to_numpy(), strict=True)
    ]


def _is_numeric(frame: pd.DataFrame, name: str) -> bool:
    return name in frame and pd.api.types.is_numeric_dtype(frame[name])


def _numeric(column: pd.Series[Any]) -> dict[str, Any]:
    values = column.to_numpy("float64", na_value=np.nan)
    known = np.isfinite(values)
    finite = values if known.all() else values[known]
    nulls = 0 if len(finite) == len(values) else int(np.isnan(values).sum())
    return _described(
        count=len(finite),
        nulls=nulls,
        infinite=len(values) - len(finite) - nulls,
        mean=float(finite.mean()) if len(finite) else None,
        std=float(finite.std()) if len(finite) else None,
        minimum=float(finite.min()) if len(finite) else None,
        maximum=float(finite.max()) if len(finite) else None,
        counts=histogram.count_bins(finite),
    )


def _described(*, counts: dict[int, int], minimum: float | None, maximum: float | None, **rest: Any) -> dict[str, Any]:
    quantiles = (
        {}
        if minimum is None or maximum is None
        else {f"p{q * 100:02.0f}": min(max(histogram.quantile(counts, q), minimum), maximum) for q in QUANTILES}
    )
    ordered = [list(item) for item in sorted(counts.items())]
    return {**rest, "minimum": minimum, "maximum": maximum, "quantiles": quantiles, "histogram": ordered}


def _categorical(column: pd.Series[Any]) -> dict[str, Any]:
    values = {str(value): int(count) for value, count in column.value_counts().items() if count}
    ordered = dict(sorted(values.items()))
    return {"count": sum(values.values()), "nulls": int(column.isna().sum()), "values": ordered}


def _merge_two(a: Profile, b: Profile) -> Profile:
    return _profile(
        dict(sorted(_merge(a["days"], b["days"], _add).items())),
        _merge_spans(a["link_spans"], b["link_spans"]),
        _merge(a["numeric"], b["numeric"], _merge_numeric),
        _merge(a["categorical"], b["categorical"], _merge_categorical),
    )


def _known(choose: Any, a: Any, b: Any) -> Any:
    """`choose` of the two, of which either may be unknown (None)."""
    return choose((value for value in (a, b) if value is not None), default=None)


def _add(a: dict[str, int], b: dict[str, int]) -> dict[str, int]:
    return {key: a[key] + b[key] for key in a}


def _merge_spans(a: list[dict[str, int]], b: list[dict[str, int]]) -> list[dict[str, int]]:
    of_a, of_b = ({(span["node_id"], span["peer_id"]): span for span in side} for side in (a, b))
    merged = _merge(of_a, of_b, _merge_span)
    return [merged[key] for key in sorted(merged)]


def _merge_span(a: dict[str, int], b: dict[str, int]) -> dict[str, int]:
    first_s, last_s = min(a["first_s"], b["first_s"]), max(a["last_s"], b["last_s"])
    return {**a, "rows": a["rows"] + b["rows"], "first_s": first_s, "last_s": last_s}


def _merge(a: dict[Any, Any], b: dict[Any, Any], merge_two: Any) -> dict[Any, Any]:
    """The entries of both mappings; entries with the same key are merged."""
    return a | b | {key: merge_two(a[key], b[key]) for key in a if key in b}


def _merge_numeric(a: dict[str, Any], b: dict[str, Any]) -> dict[str, Any]:
    mean, std = _merge_moments(a, b)
    return _described(
        count=a["count"] + b["count"],
        nulls=a["nulls"] + b["nulls"],
        infinite=a["infinite"] + b["infinite"],
        mean=mean,
        std=std,
        minimum=_known(min, a["minimum"], b["minimum"]),
        maximum=_known(max, a["maximum"], b["maximum"]),
        counts=Counter(dict(a["histogram"])) + Counter(dict(b["histogram"])),
    )


def _merge_moments(a: dict[str, Any], b: dict[str, Any]) -> tuple[float | None, float | None]:
    if not a["count"] or not b["count"]:
        known = a if a["count"] else b
        return known["mean"], known["std"]
    counts: npt.NDArray[np.float64] = np.array([a["count"], b["count"]], dtype=np.float64)
    weights = counts / counts.sum()
    apart = b["mean"] - a["mean"]
    variance = weights @ np.array([a["std"], b["std"]]) ** 2 + weights.prod() * apart**2
    return float(a["mean"] + weights[1] * apart), float(np.sqrt(variance))


def _merge_categorical(a: dict[str, Any], b: dict[str, Any]) -> dict[str, Any]:
    values = Counter(a["values"]) + Counter(b["values"])
    return {
        "count": a["count"] + b["count"],
        "nulls": a["nulls"] + b["nulls"],
        "values": dict(sorted(values.items())),
    }
