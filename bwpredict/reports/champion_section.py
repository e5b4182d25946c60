"""Challenger against champion for people: differences, slices as a heat map, what consumers would have done, drift."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from bwpredict import schema
from bwpredict.core.formatting import UNDEFINED, display_name, link_name, number, quantity
from bwpredict.reports.tables import model_label

Document = Mapping[str, Any]

_WIDTH = 240
"""Of a whisker's drawing, in its own units."""
_LINKS = 20
"""Links that the table of worse links names at most."""
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
    percent, smallest = figures["percent"], figures.get("smallest_detectable_percent")
    whisker = {"low": figures["low"], "middle": percent, "high": figures["high"]}
    known = None not in whisker.values()
    tested = figures.get("diebold_mariano") or {}
    return {
        "name": name,
        "percent": signed_percent(percent),
        "interval": _interval(figures) if known else UNDEFINED,
        "pooled": _with_interval(figures.get("pooled")),
        "autocorrelation": number(figures.get("autocorrelation"), 2),
        "p_value": _p_value(tested.get("p_value")),
        "smallest": UNDEFINED if percent is None else f"{number(smallest, 2)} %",
        "kind": change_kind(figures["low"], figures["high"]),
        "whisker": {key: _at(value, widest) for key, value in whisker.items()} if known else None,
    }


def change_kind(low: float | None, high: float | None) -> str:
    """Whether an interval of the error's change is all `better`, all `worse`, `open`, or `unknown`."""
    if low is None or high is None:
        return "unknown"
    return "better" if high < 0 else "worse" if low > 0 else "open"


def _at(percent: float, widest: float) -> float:
    return round(_WIDTH / 2 * (1 + 0.95 * percent / widest), 1)


def difference_sentence(difference: Document | None) -> str:
    """How the differences were made, or why there are none."""
    if difference is None:
        return "There is no champion to compare with."
    if "days" not in difference:
        return (
            "MAE of the challenger relative to the champion's, in percent: left of the line is better. Intervals"
            f" are from {difference['draws']:,} resamples of {number(difference['blocks']['count'])} blocks of one"
            f" {difference['blocks']['of']}."
        )
    days = difference["days"]
    told = (
        "Error of the challenger relative to the champion's, in percent and in units of each link's champion error, so"
        " that every link has the same weight: left of the line is better. Over all windows: the same for the MAE, in"
        f" which links with large errors weigh most. 95 % intervals over {days['count']} test days, each of which is"
        " one observation. Autocorrelation: of the daily differences, from one day to the next; above 0.3 the"
        " intervals are likely too narrow. Diebold–Mariano: p-value for equal MAE, from daily means. Last column: the"
        " smallest difference that these days detect with a power of 80 %."
    )
    few = f" Fewer than {days['fewest']} days are too few for an interval."
    return told + (few if days["count"] < days["fewest"] else "")


def link_sentences(comparison: Document) -> Iterator[str]:
    """How many links are worse, how far the best and the worst differ, and how the intervals of both models compare."""
    if links := (comparison.get("difference") or {}).get("links"):
        yield _link_sentence(links)
        told = [
            f"{display_name(target)} {quantity(ends['challenger_mae'], target, 3)} (champion"
            f" {quantity(ends['champion_mae'], target, 3)})"
            for target, ends in links["tenths"].items()
            if "challenger_mae" in ends  # not in a comparison of up to 0.2
        ]
        if told:
            yield f"MAE of each model on its own worst tenth of the links: {'; '.join(told)}."
    part = comparison.get("interval_difference")
    if part and part["champion_level"] is not None:
        told = [
            f"{display_name(target)} {_with_interval(figures)}"
            for target, figures in part["per_target"].items()
            if figures
        ]
        yield (
            "The champion has intervals, but the challenger has none."
            if part["level"] is None
            else f"Winkler score of the intervals (width plus misses) relative to the champion's: {'; '.join(told)}."
        )


def _link_sentence(links: Document) -> str:
    if not links["judged"]:
        return "No link has enough test days to be judged on its own."
    tenths = "; ".join(
        f"{display_name(target)} {signed_percent(ends['worst_percent'])} and {signed_percent(ends['best_percent'])}"
        for target, ends in links["tenths"].items()
    )
    worse = number(len(links["worse"])) if links["worse"] else "none"
    return (
        f"{number(links['judged'])} of {number(links['count'])} links have enough test days to be judged on their own;"
        f" on {worse} of them the error is significantly larger (a 5 % chance of error for all links together). The"
        f" worst and the best tenth of the links: {tenths}. For two equal models both are about as far from 0."
    )


def link_rows(difference: Document | None) -> list[dict[str, Any]]:
    """A row for each of the worst links that are significantly worse: the difference and what it is at least."""
    worse = (difference or {}).get("links", {}).get("worse", [])
    return [
        {"name": link_name(row), "cells": [_link_cell(row["per_target"].get(target)) for target in schema.TARGETS]}
        for row in worse[:_LINKS]
    ]


def _link_cell(figures: Document | None) -> str:
    if not figures or figures["percent"] is None:
        return UNDEFINED
    bound = figures["worse_by_at_least"] or 0
    return signed_percent(figures["percent"]) + (f" (at least {signed_percent(bound)})" if bound > 0 else "")


def _with_interval(figures: Document | None) -> str:
    if not figures or figures["percent"] is None:
        return UNDEFINED
    known = figures["low"] is not None and figures["high"] is not None
    return signed_percent(figures["percent"]) + (f" ({_interval(figures)})" if known else "")


def _interval(figures: Document) -> str:
    return f"{signed_percent(figures['low'])} to {signed_percent(figures['high'])}"


def slice_rows(comparison: Document) -> list[dict[str, Any]]:
    """The heat map: rows of slices, a cell for each target: percent against the champion, or skill without one.

    Slices that hold the same windows share a row.
    """
    against = comparison.get("difference") is not None
    shown: dict[str, dict[str, Any]] = {}
    for row in comparison.get("slices", {}).get("rows", []):
        same = repr((row["windows"], row["per_target"]))
        made = shown.setdefault(
            same,
            {
                "names": [],
                "windows": number(row["windows"]),
                "supported": row["supported"],
                "cells": [_cell(row["per_target"].get(target), against=against) for target in schema.TARGETS],
            },
        )
        made["names"].append((display_name(row["attribute"]), row["value"]))
    return list(shown.values())


def _cell(figures: Document | None, *, against: bool) -> dict[str, str]:
    figures = figures or {}
    value = figures.get("percent") if against else figures.get("skill")
    if value is None:
        return {"text": UNDEFINED, "shade": "none", "note": ""}
    worse = value if against else -100 * value
    depth = sum(abs(worse) >= edge for edge in _SHADES)
    return {
        "text": signed_percent(value) if against else number(value, 2),
        "shade": f"{'worse' if worse > 0 else 'better'}{depth}",
        "note": "" if figures.get("low") is None else _interval(figures),
    }


def slices_left_out(comparison: Document) -> str:
    """The document's sentences on slices that it lacks; each begins with an attribute's name."""
    parts = [sentence.partition(":") for sentence in comparison.get("slices", {}).get("left_out", [])]
    return " ".join(f"{display_name(name).capitalize()}{colon}{rest}" for name, colon, rest in parts)


def consumer_columns(consumer: Document | None) -> list[str]:
    """The heads of the columns behind the model's name."""
    if consumer is None:
        return []
    settings = [f"Regret: {display_name(name)}" for name in consumer["rules"]["settings"]]
    return ["Acts", "Overestimates", "By", "Regret", *settings]


def consumer_rows(consumer: Document | None) -> list[dict[str, Any]]:
    """A row for each model: its name, whether it is the challenger, and a text with the interval for each column."""
    if consumer is None:
        return []
    return [
        {
            "name": model_label(name),
            "emphasised": name == "challenger",
            "cells": [
                *(_cost_cell(figures[key]) for key in ("acts", "overestimates", "overestimated_by", "regret")),
                *(_cost_cell(figures["settings"].get(setting)) for setting in consumer["rules"]["settings"]),
            ],
        }
        for name, figures in consumer["models"].items()
    ]


def _cost_cell(figures: Document | None) -> str:
    if not figures or figures["percent"] is None:
        return UNDEFINED
    known = figures["low"] is not None and figures["high"] is not None
    ends = f" ({number(figures['low'], 3)} to {number(figures['high'], 3)})" if known else ""
    return f"{number(figures['percent'], 3)} %{ends}"


def drift_rows(profile: Document | None, reference: Document | None) -> Iterator[dict[str, str]]:
    """A row for each feature: its middle and spread in this snapshot and the champion's, and how far it has moved."""
    from bwpredict.profiling.drift import LIMITS, drift_of, limit_of, statistic_of

    if profile is None:
        return
    days = min(len(one["days"]) for one in (profile, reference or profile))
    for column in (name for name in LIMITS if name in profile["numeric"]):
        moved = None if reference is None else drift_of(column, {**profile}, {**reference})
        limit = limit_of(column, days)
        above = moved is not None and moved > limit.moved
        yield {
            "name": column,
            "now": _spread(profile["numeric"][column], column),
            "then": UNDEFINED if reference is None else _spread(reference["numeric"].get(column), column),
            "drift": UNDEFINED if moved is None else f"{statistic_of(column)} {number(moved, 2)}",
            "mark": "warn" if above else "pass" if moved is not None else "info",
        }


def _spread(figures: Document | None, column: str) -> str:
    if not figures or not figures["count"]:
        return UNDEFINED
    low, middle, high = (quantity(figures["quantiles"].get(key), column, 3) for key in ("p05", "p50", "p95"))
    return f"{middle} ({low} to {high})"


def signed_percent(percent: float | None) -> str:
    """A change for people: "+1.2 %", "−3 %", "0 %"."""
    if percent is None:
        return UNDEFINED
    text = number(abs(percent), 2) if abs(percent) >= 0.005 else "0"
    sign = "" if text == "0" else "+" if percent > 0 else "−"
    return f"{sign}{text} %"


def _p_value(p_value: float | None) -> str:
    if p_value is None:
        return UNDEFINED
    return "< 0.001" if p_value < 0.001 else f"{p_value:.3f}"
