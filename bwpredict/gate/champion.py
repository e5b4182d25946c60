"""The checks against the champion: on each target, over the targets, and within slices of the test windows.

All of them look at the end of an interval that speaks against the challenger. Such an end never rises when any of
the challenger's errors gets smaller, so a better challenger is never refused where a worse one passes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Literal

from bwpredict import schema
from bwpredict.config import GatePolicy
from bwpredict.core.formatting import display_name, number
from bwpredict.gate.check import Check, check_flag, check_threshold, info_check, nested_value, number_in

Document = Mapping[str, Any]

_NAMED_SLICES = 3
_SAME = 1e-6
"""Largest relative difference between a figure and the figures that it is made of."""


def champion_checks(comparison: Document, policy: GatePolicy, case: str, because: str) -> Iterator[Check]:
    """The checks, or where they do not decide, the figures with the reason.

    Args:
        comparison: the document.
        policy: margins, weights and rule.
        case: one of the gate's `CASES`; `because` is its sentence.
    """
    problem = nested_value(comparison, "champion_problem")
    because = f"{because} {problem}" if isinstance(problem, str) else because
    if case in ("unusable_champion", "unknown_champion"):
        yield check_flag("champion", because, fact=False)
        return
    checks = [
        *(_target_check(comparison, policy, target) for target in schema.TARGETS),
        _weighted_check(comparison, policy),
        *(_slice_check(comparison, policy, target) for target in schema.TARGETS),
    ]
    for check in checks:
        yield check if case == "champion" else _undecided(check, case, because)


def _undecided(check: Check, case: str, because: str) -> Check:
    """The check as a note: it has no part in the verdict."""
    verdict: Literal["not_applicable", "info"] = "not_applicable" if case == "no_champion" else "info"
    sentence = check.sentence.removesuffix(" The value could not be computed.")
    return replace(check, sentence=f"{sentence} {because}", verdict=verdict, severity="warning")


def _target_check(comparison: Document, policy: GatePolicy, target: str) -> Check:
    """Non-inferiority: the whole interval of the difference lies within the margin."""
    margin = policy.champion_margins_percent[target]
    found = nested_value(comparison, "difference", "per_target", target)
    estimate, low, high = (number_in(nested_value(found, key)) for key in ("percent", "low", "high"))
    sentence = (
        f"{display_name(target)}: the MAE must be at most {margin:g} % above the champion's,"
        " even at the upper end of the 95 % interval."
    )
    if not _fits(comparison, target, estimate):
        high = None
    elif estimate is not None and high is not None and estimate <= margin < high:
        smallest = number(nested_value(found, "smallest_detectable_percent"), 2)
        sentence += (
            f" The estimate is {number(estimate, 3)} %; this test set could have told a difference of {smallest} %."
        )
    interval = None if low is None or high is None else (low, high)
    return check_threshold("champion_mae", sentence, high, "<=", margin, target=target, unit="%", interval=interval)


def _fits(comparison: Document, target: str, estimate: float | None) -> bool:
    """Whether the difference is that of these two models: a document put together from two runs is none."""
    models = nested_value(comparison, "models")
    own, theirs = (
        number_in(nested_value(models, name, "per_target", target, "mae"), low=0) for name in ("challenger", "champion")
    )
    if estimate is None or own is None or theirs is None:
        return False
    return math.isclose(own, theirs * (1 + estimate / 100), rel_tol=_SAME, abs_tol=1e-12)


def _weighted_check(comparison: Document, policy: GatePolicy) -> Check:
    """Superiority, where the policy asks for it: the whole interval of the weighted mean lies below 0."""
    found = nested_value(comparison, "difference", "weighted")
    low, high = (number_in(nested_value(found, key)) for key in ("low", "high"))
    counted = ", ".join(f"{display_name(target)} {weight:g}" for target, weight in policy.weights.items())
    sentence = f"The mean difference of the MAE from the champion's (weights: {counted}) must be below 0"
    sentence += ", even at the upper end of the 95 % interval."
    if nested_value(found, "weights") != policy.weights:
        low = high = None
        sentence += " The comparison was made with other weights."
    interval = None if low is None or high is None else (low, high)
    if policy.champion_rule == "superior":
        return check_threshold("champion_superior", sentence, high, "<", 0.0, unit="%", interval=interval)
    told = f"{sentence} The policy {policy.name!r} does not demand it."
    return info_check("champion_superior", told, high, "<", 0.0, verdict="info", unit="%", interval=interval)


def _slice_check(comparison: Document, policy: GatePolicy, target: str) -> Check:
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
        return info_check("slices", told, None, "<=", margin, verdict="info", target=target, unit="%")
    bounds = [number_in(nested_value(row, "per_target", target, "worse_by_at_least")) for row in supported or ()]
    known = [bound for bound in bounds if bound is not None]
    worst = max(known) if known and len(known) == len(bounds) else None
    if margin is None:
        return info_check("slices", sentence, worst, "<=", margin, verdict="info", target=target, unit="%")
    worse = sorted((-bound, place) for place, bound in enumerate(bounds) if bound is not None and bound > margin)
    if supported and worse:
        named = (_slice_words(supported[place], target) for _, place in worse[:_NAMED_SLICES])
        sentence += f" Worse: {'; '.join(named)}."
    return check_threshold("slices", sentence, worst, "<=", margin, target=target, unit="%")


def _slice_name(row: Any) -> str:
    return f"{display_name(str(nested_value(row, 'attribute')))} {nested_value(row, 'value')}"


def _slice_words(row: Any, target: str) -> str:
    percent, low, high = (number(nested_value(row, "per_target", target, key), 3) for key in ("percent", "low", "high"))
    return f"{_slice_name(row)} by {percent} % (interval {low} to {high})"
