"""Checks on the month as a whole: its figures, compared with the profile of the champion's training data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from bwpredict import schema
from bwpredict.core.formatting import quantity
from bwpredict.datasets.anomalies import (
    Levels,
    constant_links,
    constant_sentence,
    repetition_sentence,
    repetitions,
    unit_change_sentence,
    unit_changes,
)
from bwpredict.profiling.drift import LIMITS, drift_of, figure_name, limit_of, statistic_of
from bwpredict.profiling.profile import NUMERIC, Profile, gap_share
from bwpredict.telemetry.description import Description
from bwpredict.validation.expectations import DISTRIBUTION_SUITE, Check, Severity
from bwpredict.validation.messages import format_number

MAX_GAPS: dict[Severity, float] = {"error": 0.30, "warning": 0.05}
"""Share of missing minutes. Windows with a gap are skipped: at 5 % some are lost, at 30 % too few remain."""
MIN_DAYS_COVERED = 0.9
"""Share of the period's days that hold rows."""
RATIOS: dict[Severity, tuple[float, float]] = {"error": (0.5, 2.0), "warning": (0.8, 1.25)}
"""Ratio of the row or link count to the champion's. Beyond a factor of two it is a different network."""
REPEATED_DAYS = "repeated_days"
MEDIAN_RATIO = 50.0
"""Ratio of a target's median to the champion's. Only a different unit changes it by more than this."""


def month_figures(
    profile: Profile, reference: Profile | None, days: int, description: Description | None = None
) -> dict[str, float]:
    """What `figure_checks` checks, by column name; a figure that cannot be computed is left out.

    `days` is the number of days in the period; rows are compared per day, so that months of different
    length, and snapshots of several months, compare.
    """
    cadence_seconds = (description or Description()).cadence_seconds
    found: dict[str, float | None] = {
        "rows": profile["rows"],
        "links": profile["links"],
        "gap_share": gap_share(profile, cadence_seconds),
        "days_covered": sum(day["rows"] > 0 for day in profile["days"].values()) / days,
        **{f"spread_{name}": _spread(name, profile) for name in schema.FEATURES},
    }
    if reference is not None:
        found |= {
            "rows_per_day_ratio": _ratio(_rows_per_day(profile), _rows_per_day(reference)),
            "links_ratio": _ratio(profile["links"], reference["links"]),
            **{figure_name(name): drift_of(name, profile, reference) for name in LIMITS},
            **{f"median_ratio_{name}": _median_ratio(name, profile, reference) for name in schema.TARGETS},
        }
    return {name: value for name, value in found.items() if value is not None}


def figure_checks(
    profile: Profile, reference: Profile | None, rows: int, description: Description | None = None
) -> tuple[Check, ...]:
    """The checks of the distribution suite. `rows` is what the snapshot says; no reference, no drift checks.

    Columns that the description calls absent, or that the reference lacks, are not checked; nor are gaps and days
    without a row where links are measured in sessions.
    """
    description = description or Description()
    checks = [
        _check("rows", "rows", "error", (rows, rows), "there are {observed} rows", f"{rows:,} as in the snapshot")
    ]
    checks += [] if description.sessions else _coverage_checks()
    checks += [_constant_check(name) for name in schema.FEATURES if name not in description.absent]
    if reference is not None:
        measured = reference["numeric"].keys() | reference["categorical"].keys()
        known = [name for name in LIMITS if name not in description.absent and name in measured]
        checks += [_drift_check(name, profile, reference) for name in known]
        checks += _unit_checks(profile, reference)
        checks += _ratio_checks("rows_per_day_ratio", "row count", "rows a day")
        checks += _ratio_checks("links_ratio", "link count", "links")
    return tuple(checks)


def link_figures(levels: Levels) -> dict[str, float]:
    """Input of `link_checks`, by column name: the number of conspicuous links for each target, and of repeated days."""
    odd = {name: float(len(find(levels, target))) for name, target, find, _, _ in _oddities()}
    return odd | {REPEATED_DAYS: float(len(repetitions(levels)))}


def link_checks(levels: Levels, description: Description | None = None) -> Iterator[Check]:
    """Warnings that name links whose target is constant or jumps as if its unit had changed, and repeated days."""
    absent = description.absent if description else ()
    for name, target, find, tell, expected in _oddities():
        if target in absent:
            continue
        finding = tell(find(levels, target), len(levels.links))
        yield _check(name, name, "warning", (None, 0), finding, expected, target)
    finding, expected = repetition_sentence(repetitions(levels)), "new values every day"
    yield _check(REPEATED_DAYS, REPEATED_DAYS, "warning", (None, 0), finding, expected, "timestamp")


def _oddities() -> Iterator[tuple[str, str, Any, Any, str]]:
    for target in schema.TARGETS:
        yield f"constant_links_{target}", target, constant_links, constant_sentence, "values that change on every link"
        yield f"unit_changes_{target}", target, unit_changes, unit_change_sentence, "one unit throughout"


def _coverage_checks() -> Iterator[Check]:
    for severity, most in MAX_GAPS.items():
        finding = "{percent} of the links' minutes hold no sample"
        yield _check(
            f"gaps.{severity}", "gap_share", severity, (None, most), finding, f"{most:.0%} or less", "timestamp"
        )
    finding, expected = "{percent} of the period's days hold rows", f"{MIN_DAYS_COVERED:.0%} or more"
    yield _check("days", "days_covered", "warning", (MIN_DAYS_COVERED, None), finding, expected, "timestamp")


def _constant_check(name: str) -> Check:
    severity: Severity = "error" if name in schema.TARGETS else "warning"
    why = "a target that never changes cannot be learnt" if severity == "error" else "a feature with information"
    finding = "the column is constant: all values of all links are the same"
    check = _check(
        f"constant.{name}", f"spread_{name}", severity, (0, None), finding, f"more than one value ({why})", name
    )
    arguments = {**check.arguments, "strict_min": True}
    return replace(check, expectation="ExpectColumnMinToBeBetween", arguments=arguments)


def _drift_check(name: str, profile: Profile, reference: Profile) -> Check:
    limit = limit_of(name, min(len(profile["days"]), len(reference["days"])))
    moved = _movement(name, profile, reference)
    finding = (
        f"the distribution has drifted{moved}: {statistic_of(name)} {{observed}} against the champion's training data"
    )
    expected = f"{format_number(limit.moved)} or less ({limit.reason})"
    return _check(f"drift.{name}", figure_name(name), "warning", (None, limit.moved), finding, expected, name)


def _unit_checks(profile: Profile, reference: Profile) -> Iterator[Check]:
    """Errors for a target in a different unit; drift alone only warns."""
    finding = "the median is {observed} times that of the champion's training data, as if the unit had changed"
    bounds = (1 / MEDIAN_RATIO, MEDIAN_RATIO)
    for name in schema.TARGETS:
        if _median_ratio(name, profile, reference) is not None:
            expected = f"1/{MEDIAN_RATIO:g} to {MEDIAN_RATIO:g} times"
            yield _check(f"unit.{name}", f"median_ratio_{name}", "error", bounds, finding, expected, name)


def _median_ratio(name: str, profile: Profile, reference: Profile) -> float | None:
    """None where either median is 0 or unknown."""
    new, old = _median(profile, name), _median(reference, name)
    return new / old if new and old else None


def _median(profile: Profile, name: str) -> float | None:
    found = profile["numeric"].get(name, {}).get("quantiles", {}).get("p50")
    return None if found is None else float(found)


def _ratio_checks(name: str, title: str, words: str) -> Iterator[Check]:
    for severity, (least, most) in RATIOS.items():
        finding = f"the {title} is {{observed}} times that of the champion's training data ({words})"
        expected = f"{least} to {most} times"
        yield _check(f"{name}.{severity}", name, severity, (least, most), finding, expected)


def _check(
    id: str,  # noqa: A002 - the field's name
    name: str,
    severity: Severity,
    bounds: tuple[float | None, float | None],
    finding: str,
    expected: str,
    column: str = "",
) -> Check:
    arguments = {"column": name, "min_value": bounds[0], "max_value": bounds[1]}
    arguments = {key: value for key, value in arguments.items() if value is not None}
    # The frame has one row, so the maximum is the figure itself, and the Data Docs show it.
    largest = "ExpectColumnMaxToBeBetween"
    return Check(f"distributions.{id}", DISTRIBUTION_SUITE, column, severity, largest, arguments, finding, expected)


def _movement(name: str, profile: Profile, reference: Profile) -> str:
    """The largest change in words: of the median, or of the share of one category."""
    if name in NUMERIC:
        before, now = _median(reference, name), _median(profile, name)
        if before is None or now is None:
            return ""
        return f" (median {quantity(before, name)} → {quantity(now, name)})"
    old, new = (_category_shares(side, name) for side in (reference, profile))
    if not old or not new:
        return ""
    most = max(sorted(old.keys() | new.keys()), key=lambda value: abs(new.get(value, 0) - old.get(value, 0)))
    return f" (share of {most}: {old.get(most, 0):.1%} → {new.get(most, 0):.1%})"


def _category_shares(profile: Profile, name: str) -> dict[str, float]:
    column = profile["categorical"].get(name, {"count": 0, "values": {}})
    return {value: count / column["count"] for value, count in column["values"].items()}


def _spread(name: str, profile: Profile) -> float | None:
    numeric = profile["numeric"].get(name)
    if numeric and numeric["count"]:
        return float(numeric["maximum"] - numeric["minimum"])
    values = profile["categorical"].get(name, {}).get("values")
    return float(len(values) - 1) if values else None


def _rows_per_day(profile: Profile) -> float:
    return float(profile["rows"]) / max(1, len(profile["days"]))


def _ratio(new: float, old: float) -> float | None:
    return new / old if old else None
