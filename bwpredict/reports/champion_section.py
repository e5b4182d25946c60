"""Challenger against champion for people: differences with their intervals, slices as a heat map, drift."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from bwpredict import schema
from bwpredict.core.formatting import UNDEFINED, display_name, number

Document = Mapping[str, Any]

_WIDTH = 240
"""Of a whisker's drawing, in its own units."""
_SHADES = (1.0, 3.0, 8.0)
"""Percent from which a cell of the heat map is one shade darker."""


def difference_rows(difference: Document | None) -> list[dict[str, Any]]:
    """A row for each target and the weighted mean: texts, and where its whisker is drawn."""
    if difference is None:
        return []
    found = {display_name(name): figures for name, figures in difference["per_target"].items() if figures is not None}
    found["Weighted mean"] = difference["weighted"]
    ends = [abs(figures[key]) for figures in found.values() for key in ("low", "high") if figures[key] is not None]
    widest = max([*ends, 1.0])
    return [_row(name, figures, widest) for name, figures in found.items()]


def _row(name: str, figures: Document, widest: float) -> dict[str, Any]:
    low, middle, high = (figures[key] for key in ("low", "percent", "high"))
    known = None not in (low, middle, high)
    tested = figures.get("diebold_mariano") or {}
    return {
        "name": name,
        "percent": _signed(middle),
        "interval": f"{_signed(low)} to {_signed(high)}" if known else UNDEFINED,
        "probability": _share(figures["probability_better"]),
        "p_value": _p_value(tested.get("p_value")),
        "smallest": UNDEFINED if middle is None else f"{number(figures['smallest_detectable_percent'], 2)} %",
        "kind": _kind(low, high),
        "whisker": {key: _at(value, widest) for key, value in (("low", low), ("middle", middle), ("high", high))}
        if known
        else None,
    }


def _kind(low: float | None, high: float | None) -> str:
    if low is None or high is None:
        return "unknown"
    return "better" if high < 0 else "worse" if low > 0 else "open"


def _at(percent: float, widest: float) -> float:
    return round(_WIDTH / 2 * (1 + 0.95 * percent / widest), 1)


def difference_sentence(difference: Document | None) -> str:
    """How the differences were made, or why there are none."""
    if difference is None:
        return "There is no champion to compare with."
    blocks = difference["blocks"]
    return (
        "MAE of the challenger against the champion's, in percent: left of the line is better. Intervals hold the true"
        f" difference 95 times in 100; they come from {difference['draws']:,} resamples of {number(blocks['count'])}"
        f" blocks of one {blocks['of']}. Last column: the smallest difference that this test set tells from none, four"
        " times in five. Diebold–Mariano: p-value of equal accuracy, for the mean over links at each time."
    )


def slice_rows(comparison: Document) -> list[dict[str, Any]]:
    """The heat map: rows of slices, a cell for each target: percent against the champion, or skill without one."""
    against = comparison.get("difference") is not None
    rows = comparison.get("slices", {}).get("rows", [])
    return [
        {
            "attribute": display_name(row["attribute"]),
            "value": row["value"],
            "windows": number(row["windows"]),
            "supported": row["supported"],
            "cells": [_cell(row["per_target"].get(target), against=against) for target in schema.TARGETS],
        }
        for row in rows
    ]


def _cell(figures: Document | None, *, against: bool) -> dict[str, str]:
    figures = figures or {}
    value = figures.get("percent") if against else figures.get("skill")
    if value is None:
        return {"text": UNDEFINED, "shade": "none", "note": ""}
    worse = value if against else -100 * value
    depth = sum(abs(worse) >= edge for edge in _SHADES)
    interval = ""
    if figures.get("low") is not None:
        interval = f"{_signed(figures['low'])} to {_signed(figures['high'])}"
    shade = f"{'worse' if worse > 0 else 'better'}{depth}"
    return {"text": _signed(value) if against else number(value, 2), "shade": shade, "note": interval}


def slice_sentence(comparison: Document) -> str:
    """How to read the heat map."""
    slices = comparison.get("slices")
    if slices is None:
        return "This comparison was made before there were slices."
    what = (
        "MAE against the champion's, in percent, with its interval: red is worse."
        if comparison.get("difference") is not None
        else "Skill over the best baseline: green is better than it."
    )
    return (
        f"{what} Slices with fewer than {slices['fewest_windows']} windows or {slices['fewest_blocks']} blocks are grey"
        " and do not decide. Congested: the link's queue was among its longest tenth when the forecast was made. New"
        f" link: the champion was not trained on it. {' '.join(slices['left_out'])}"
    )


def drift_rows(profile: Document | None, reference: Document | None) -> Iterator[dict[str, str]]:
    """A row for each feature: its middle and spread in this snapshot and the champion's, and how far it has moved."""
    from bwpredict.profiling.drift import LIMITS, drift_of, limit_of, statistic_of

    if profile is None:
        return
    days = min(len(one["days"]) for one in (profile, reference or profile))
    for column in (name for name in LIMITS if name in profile["numeric"]):
        moved = None if reference is None else drift_of(column, {**profile}, {**reference})
        limit = limit_of(column, days)
        above = moved is not None and moved > limit.warning
        yield {
            "name": column,
            "now": _spread(profile["numeric"][column]),
            "then": UNDEFINED if reference is None else _spread(reference["numeric"].get(column)),
            "drift": UNDEFINED if moved is None else f"{statistic_of(column)} {number(moved, 2)}",
            "mark": "warn" if above else "pass" if moved is not None else "info",
        }


def _spread(figures: Document | None) -> str:
    if not figures or not figures["count"]:
        return UNDEFINED
    low, middle, high = (number(figures["quantiles"].get(key), 3) for key in ("p05", "p50", "p95"))
    return f"{middle} ({low} to {high})"


def _signed(percent: float | None) -> str:
    if percent is None:
        return UNDEFINED
    text = number(abs(percent), 2) if abs(percent) >= 0.005 else "0"
    sign = "" if text == "0" else "+" if percent > 0 else "−"
    return f"{sign}{text} %"


def _share(share: float | None) -> str:
    """A probability from draws, never as sure as 0 or 1."""
    if share is None:
        return UNDEFINED
    return "< 0.1%" if share < 0.001 else "> 99.9%" if share > 0.999 else f"{share:.1%}"


def _p_value(p_value: float | None) -> str:
    if p_value is None:
        return UNDEFINED
    return "< 0.001" if p_value < 0.001 else f"{p_value:.3f}"
