"""What a decision says about a change in the telemetry: its day, and the test days on which models are compared."""

from __future__ import annotations

from collections.abc import Iterator

from bwpredict.core.formatting import display_name, number
from bwpredict.gate import Document
from bwpredict.gate.check import Check, info_check, nested_value


def change_note(comparison: Document) -> Iterator[Check]:
    """The check that reports a change; nothing if the telemetry did not change."""
    if told := change_sentence(comparison):
        after = nested_value(comparison, "change", "days_after")
        yield info_check("change", told, len(after), ">=", None, unit="test days after it")


def change_headline(comparison: Document) -> str:
    """The sentence if the change is within the test days; else empty."""
    return change_sentence(comparison) if nested_value(comparison, "change", "days_before") else ""


def change_sentence(comparison: Document) -> str:
    """What changed, when, and which test days count; empty if nothing did."""
    change = nested_value(comparison, "change")
    if not change:
        return ""
    moved = [
        f"{display_name(target)} {'rose' if percent > 0 else 'fell'} by {number(abs(percent), 2)} %"
        for target, percent in change["targets"].items()
    ]
    told = f"The network changed on {change['day']} ({', '.join(moved)}, on average over the links)."
    before, after = (len(change[name]) for name in ("days_before", "days_after"))
    if not before:
        return f"{told} All {after} test days are after it."
    if change["judged_on"] == "after":
        earlier = "the day before it is" if before == 1 else f"the {before} before it are"
        return f"{told} The {after} test days from then on decide; {earlier} left out."
    return (
        f"{told} Only {after} of the {before + after} test days {'is' if after == 1 else 'are'} after it, too few to"
        " judge on alone, so all of them decide: take a pass with caution."
    )
