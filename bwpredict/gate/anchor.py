"""The check against the best of the earlier champions: what stops a decline in steps too small for the other checks."""

from __future__ import annotations

from collections.abc import Mapping

from bwpredict.config import GatePolicy
from bwpredict.gate import Document
from bwpredict.gate.champion import Estimate, estimate_of, within
from bwpredict.gate.check import Check, info_check, nested_value

_MISSING = object()


def anchor_check(comparison: Document, policy: GatePolicy) -> Check:
    """Not worse by more than the margin; where no champion served before the one in production, a note."""
    anchor = comparison.get("anchor", _MISSING) if isinstance(comparison, Mapping) else _MISSING
    margin = policy.anchor_margin_percent
    limit = "not limited" if margin is None else f"at most {margin:g} %"
    sentence = (
        "The mean difference from the best of the earlier champions must be"
        f" {limit}, even at the upper end of the 95 % interval."
    )
    if anchor is None:
        told = f"{sentence} No model served before the champion."
        return info_check("anchor_mean", told, None, "<=", margin, unit="%")
    difference, version = nested_value(anchor, "difference"), nested_value(anchor, "version")
    if isinstance(version, str):
        sentence = f"{sentence} That is {version}."
    elif nested_value(anchor, "left_out"):
        told = f"{sentence} None of them can be compared on these windows."
        return info_check("anchor_mean", told, None, "<=", margin, unit="%")
    estimate = estimate_of(difference, "weighted")
    if margin is None:
        return info_check("anchor_mean", sentence, estimate.percent, "<=", margin, unit="%")
    if nested_value(difference, "weighted", "weights") != policy.weights:
        estimate = Estimate()
    what, whose = "The error over all targets", f"that of the earlier champion {version}"
    return within("anchor_mean", what, sentence, estimate, margin, worse_above=margin, whose=whose)
