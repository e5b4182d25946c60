"""The first screen of the model card: in plain words, how good the model is and where it is weakest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from bwpredict import schema
from bwpredict.core.formatting import count_of, display_name, link_name, number, quantity
from bwpredict.evaluation.slices import HOUR_BAND
from bwpredict.gate.decision import shown_outcome
from bwpredict.reports.champion_section import change_kind, signed_percent
from bwpredict.reports.tables import unforecastable

Document = Mapping[str, Any]

MAX_LINKS = 50
"""Of the table of links; the pages in Airflow list them all."""
_NAMED_LINKS = 3
_NO_CHANGE = "last_value"


def summary_answers(decision: Document, comparison: Document, metadata: Document) -> list[tuple[str, str]]:
    """Question and answer: typical error, gain over no change, what changed since production, where, and trust."""
    return [
        ("Typical error", _typical_error(comparison, metadata)),
        ("Compared with assuming no change", _gain(comparison)),
        ("Change since production", _since_production(comparison)),
        ("Where it is weakest", " ".join(_weak_spots(comparison)) or "The test days show no weak spot."),
        ("Can you trust it?", " ".join(_trust(decision, comparison))),
    ]


def accuracy_rows(accuracy: pd.DataFrame | None) -> list[dict[str, Any]]:
    """A row for each of the links with the lowest skill: its name, and skill and error of each target."""
    if accuracy is None:
        return []
    lowest = accuracy.groupby(list(schema.LINK_KEY))["skill"].min().sort_values(kind="stable").head(MAX_LINKS)
    figures = accuracy.set_index([*schema.LINK_KEY, "target"])[["skill", "mae"]].to_dict("index")

    def cell(node: int, peer: int, target: str) -> tuple[str, str]:
        one = figures.get((node, peer, target), {})
        known = {name: value for name, value in one.items() if pd.notna(value)}
        return number(known.get("skill"), 2), quantity(known.get("mae"), target, 3)

    return [
        {
            "name": link_name({"node_id": node, "peer_id": peer}),
            "cells": [cell(node, peer, target) for target in schema.TARGETS],
        }
        for node, peer in lowest.index
    ]


def _typical_error(comparison: Document, metadata: Document) -> str:
    figures = comparison["models"]["challenger"]["per_target"]
    told = [
        f"{quantity(one['mae'], target, 2)} for {_word(target)}"
        for target, one in figures.items()
        if one.get("mae") is not None
    ]
    minutes = metadata["contract"]["horizon_minutes"]
    return f"A forecast {minutes} minutes ahead is off by {_joined(told)} on average (mean absolute error)."


def _gain(comparison: Document) -> str:
    models = comparison["models"]
    told = []
    for target, own in models["challenger"]["per_target"].items():
        simple = models[_NO_CHANGE]["per_target"][target].get("mae")
        if simple and own.get("mae") is not None:
            percent = 100 * (1 - own["mae"] / simple)
            told.append(f"{abs(percent):.0f} % {'lower' if percent >= 0 else 'higher'} for {_word(target)}")
    return (
        f"The error is {_joined(told)} than that of a forecast that repeats the last value." if told else "Not known."
    )


def _since_production(comparison: Document) -> str:
    difference = comparison.get("difference")
    if difference is None:
        return comparison["champion_problem"] or "Nothing was in production to compare with."
    weighted = difference["weighted"]
    interval = f" ({signed_percent(weighted['low'])} to {signed_percent(weighted['high'])})"
    told = f"The error over all targets changes by {signed_percent(weighted['percent'])}"
    told += interval if weighted["low"] is not None else ""
    by_kind: dict[str, list[str]] = {}
    for target, figures in difference["per_target"].items():
        if figures is not None:
            by_kind.setdefault(change_kind(figures["low"], figures["high"]), []).append(_word(target))
    kinds = (("better", "significantly better"), ("worse", "significantly worse"), ("open", "too close to tell"))
    parts = [f"{words}: {', '.join(by_kind[kind])}" for kind, words in kinds if kind in by_kind]
    listed = "; ".join(parts)
    return ". ".join(filter(None, [told, listed[:1].upper() + listed[1:]])) + "."


def _weak_spots(comparison: Document) -> Iterator[str]:
    links = (comparison.get("difference") or {}).get("links") or {}
    if worse := links.get("worse"):
        named = ", ".join(link_name(link) for link in worse[:_NAMED_LINKS])
        yield f"It is significantly worse than production on {count_of(len(worse), 'link')}: {named}."
    lowest = [ranks["worst"] for ranks in comparison["links"].values() if "worst" in ranks]
    if lowest:
        worst = min(lowest, key=lambda link: float(link["skill"]))
        yield f"The link with the lowest skill is {link_name(worst)} ({number(worst['skill'], 2)})."
    rows = [
        (skill, row) for row in comparison.get("slices", {}).get("rows", []) if (skill := _mean_skill(row)) is not None
    ]
    for attribute_is_hour, words in ((True, "hours"), (False, "slice")):
        some = [pair for pair in rows if (pair[1]["attribute"] == HOUR_BAND) is attribute_is_hour]
        if len(some) > 1:
            skill, row = min(some, key=lambda pair: pair[0])
            named = f"{row['value']} UTC" if attribute_is_hour else f"{display_name(row['attribute'])} {row['value']}"
            yield f"The {words} with the lowest mean skill: {named} ({number(skill, 2)})."


def _mean_skill(row: Document) -> float | None:
    skills = [one["skill"] for one in row["per_target"].values() if one["skill"] is not None]
    return sum(skills) / len(skills) if skills else None


def _trust(decision: Document, comparison: Document) -> Iterator[str]:
    failed = sum(check["verdict"] == "fail" for check in decision["checks"])
    yield {
        "promote": "Yes: it passed every check, including the comparison with production.",
        "bootstrap": "As a first model, yes: it passed every check that applies, but there was no champion yet.",
        "forced": "With caution: a person overrode a check; the verdict gives the reason.",
        "keep": "Not in place of production: the test days do not show that it is as good.",
        "reject": f"No: it failed {count_of(failed, 'check')}.",
    }[shown_outcome(decision)]
    if weak := unforecastable(comparison):
        yield f"A simple forecast is as good for {_joined([one.partition(':')[0] for one in weak])}."
    shares = [one["coverage"] for one in (comparison["intervals"] or {"per_target": {}})["per_target"].values()]
    if held := [share for share in shares if share is not None]:
        low, high = (round(100 * share) for share in (min(held), max(held)))
        shown = f"{low}" if low == high else f"{low} to {high}"
        yield f"Its {100 * comparison['intervals']['level']:.0f} % intervals held {shown} % of the actual values."


def _word(target: str) -> str:
    """Such as "packet loss", within a sentence."""
    name = display_name(target)
    return name if name.isupper() else name.lower()


def _joined(words: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]])) if words else "nothing"
