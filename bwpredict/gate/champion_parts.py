"""The checks against the champion of parts of the test windows: slices, and single links."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from bwpredict import schema
from bwpredict.config import GatePolicy
from bwpredict.core.formatting import display_name, number
from bwpredict.gate import Document
from bwpredict.gate.check import Check, check_threshold, info_check, nested_value, number_in

_NAMED = 3
"""Slices or links that a sentence names."""


def slice_check(comparison: Document, policy: GatePolicy, target: str) -> Check:
    """No slice is significantly worse than its margin: lower bounds that hold in all slices at once stay within it."""
    margin, rows = policy.slice_margin_percent, nested_value(comparison, "slices", "rows")
    demanded = "any" if margin is None else f"{margin:g} %"
    sentence = (
        f"{display_name(target)}: in no slice may the MAE be significantly more than {demanded} above the champion's"
        " (all comparisons together have a 5 % chance of error)."
    )
    supported = [row for row in rows if nested_value(row, "supported") is not False] if isinstance(rows, list) else None
    if supported == []:
        told = f"{sentence} No slice has enough windows to tell."
        return info_check("slices", told, None, "<=", margin, target=target, unit="%")
    bounds = [number_in(nested_value(row, "per_target", target, "worse_by_at_least")) for row in supported or ()]
    known = [bound for bound in bounds if bound is not None]
    worst = max(known) if known and len(known) == len(bounds) else None
    if margin is None:
        return info_check("slices", sentence, worst, "<=", margin, target=target, unit="%")
    check = check_threshold("slices", sentence, worst, "<=", margin, target=target, unit="%")
    worse = sorted((-bound, place) for place, bound in enumerate(bounds) if bound is not None and bound > margin)
    if not supported or not worse:
        return check
    named = "; ".join(_slice_words(supported[place], target) for _, place in worse[:_NAMED])
    return replace(check, headline=f"{display_name(target)} error is worse than production's in {named}.")


def link_check(comparison: Document, policy: GatePolicy) -> Check:
    """Few links are significantly worse than their margin, with bounds that hold on all links at once."""
    margin, limit = policy.link_margin_percent, policy.maximum_worse_links_percent
    links = nested_value(comparison, "difference", "links")
    judged = number_in(nested_value(links, "judged"), low=0)
    undefined, rows = number_in(nested_value(links, "undefined")), nested_value(links, "worse")
    demanded = "any" if margin is None else f"{margin:g} %"
    sentence = (
        f"On at most {limit:g} % of the links may the error be significantly more than {demanded} above the champion's"
        " (all links together have a 5 % chance of error)."
    )
    if judged == 0:
        told = f"{sentence} No link has enough test days to tell."
        return info_check("links", told, None, "<=", limit, unit="%")
    worse = _worse_links(rows, margin or 0.0) if undefined == 0 else None
    share = None if worse is None or judged is None else 100 * len(worse) / judged
    if margin is None:
        return info_check("links", sentence, share, "<=", limit, unit="%")
    check = check_threshold("links", sentence, share, "<=", limit, unit="%", high=100)
    if not worse:
        return check
    named = "; ".join(worse[:_NAMED]) + (f"; and {len(worse) - _NAMED} more" if len(worse) > _NAMED else "")
    found = f"On {len(worse)} of {judged:g} links the error is more than {margin:g} % above production's: {named}."
    return replace(check, sentence=f"{sentence} {found}", headline=found)


def _worse_links(rows: Any, margin: float) -> list[str] | None:
    """In words, each link that is worse than the margin on some target; None where a row does not say."""
    if not isinstance(rows, list):
        return None
    worse = []
    for row in rows:
        figures = nested_value(row, "per_target")
        bounds = {target: number_in(nested_value(figures, target, "worse_by_at_least")) for target in schema.TARGETS}
        known = {target: bound for target, bound in bounds.items() if bound is not None}
        if not known:
            return None
        target = max(known, key=lambda name: known[name])
        if known[target] > margin:
            worse.append(_link_words(row, target))
    return worse


def _link_words(row: Any, target: str) -> str:
    node, peer = (nested_value(row, key) for key in schema.LINK_KEY)
    percent = number(nested_value(row, "per_target", target, "percent"), 3)
    return f"{node} → {peer} by {percent} % ({display_name(target)})"


def _slice_words(row: Any, target: str) -> str:
    percent, low, high = (number(nested_value(row, "per_target", target, key), 3) for key in ("percent", "low", "high"))
    name = f"{display_name(str(nested_value(row, 'attribute')))} {nested_value(row, 'value')}"
    return f"{name} by {percent} % (interval {low} to {high})"
