"""What a decision says about a change in the telemetry: its day, and the test days on which models are compared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from bwpredict.core.formatting import display_name, number
from bwpredict.gate.check import Check, info_check, nested_value

Document = Mapping[str, Any]


def change_note(comparison: Document) -> Iterator[Check]:
    """The check that reports a change; nothing if the telemetry did not change."""
    if told := change_sentence(comparison):
        after = nested_value(comparison, "change", "days_after")
        yield info_check("change", told, len(after), ">=", None, verdict="info", unit="test days after it")


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
        return f"{told} The {after} test days from then on decide; {_days(before)} before it {_are(before)} left out."
    return (
        f"{told} Only {after} of the {before + after} test days {'is' if after == 1 else 'are'} after it, too few to"
        " judge on alone, so all of them decide: take a pass with caution."
    )


def _days(count: int) -> str:
    return "the day" if count == 1 else f"the {count}"


def _are(count: int) -> str:
    return "is" if count == 1 else "are"
