"""What a day's figures say: sequential tests of the model in production, and of a canary beside it.

Pure functions of the day's figures and of the document of the day before.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bwpredict import schema
from bwpredict.monitoring import e_process

Document = dict[str, Any]

SKILL_MARGIN = 0.05
"""A skill this much below that of publication is tolerated; another margin lower counts as a full shortfall."""
COVERAGE_MARGIN = 0.05
"""So is a coverage this much below the level of the intervals."""
DAYS_BETWEEN_FALSE_ALARMS = 1000
"""The mean number of days to a false alarm, of all tests together, is at least this."""
TESTS = tuple(f"{kind}.{target}" for kind in ("skill", "coverage") for target in schema.TARGETS)
THRESHOLD = float(DAYS_BETWEEN_FALSE_ALARMS * len(TESTS))
CALM = 0.1
"""An alarm ends when the evidence has fallen below this share of the threshold."""
RESTING = 2.0
"""Evidence stays below this while all is well."""
MIN_WINDOWS = 500
"""A day with fewer windows says nothing."""

CANARY_MARGIN = 0.01
"""A canary whose mean log error ratio is above this is worse; below 0 it is better."""
CANARY_SCALE = 0.015
CANARY_ALPHA = 0.05
"""The chance of a wrong verdict over the whole trial, of each kind, if weeks are independent and few of their means
speak against the verdict by more than `CANARY_SCALE`, at which they are clipped."""
CANARY_DAYS = 7
"""The bets are on the means of this many days: good days follow good days, but a week hardly follows the one before."""


def evaluate_production(
    per_target: Mapping[str, Any],
    coverage: Mapping[str, Any] | None,
    reference_skill: Mapping[str, float | None],
    *,
    day: str,
    windows: int,
    before: Mapping[str, Any] | None,
) -> list[Document]:
    """The day's tests of the model in production.

    Args:
        per_target: the production model's figures of the day.
        coverage: target → share of the actual values within the intervals, and `level`; None: no intervals.
        reference_skill: target → skill on the test windows when the version was published.
        before: the latest earlier document about the same version; None: this is its first day.
    """
    earlier = {test["id"]: test for test in before["tests"]} if before else {}
    made = []
    for name in TESTS:
        kind, target = name.split(".")
        if kind == "skill":
            value, limit, margin = per_target[target]["skill"], reference_skill.get(target), SKILL_MARGIN
        else:
            value = coverage["per_target"][target] if coverage else None
            limit, margin = (coverage["level"] if coverage else None), COVERAGE_MARGIN
        shortfall = None
        if value is not None and limit is not None and windows >= MIN_WINDOWS:
            shortfall = (limit - margin - value) / margin
        made.append(_test(name, value, limit, margin, shortfall, day, earlier.get(name)))
    return made


def evaluate_canary(ratio: float | None, windows: int, before: Mapping[str, Any] | None) -> Document:
    """Evidence that a canary is better, or worse, after another day with this log error ratio, and the verdict.

    The evidence grows with the mean of each `CANARY_DAYS` days that tell something. `before` is the canary's part of
    the document of an earlier day of the same trial. A verdict stays.
    """
    wealth = before["evidence"] if before else {"better": e_process.INITIAL_WEALTH, "worse": e_process.INITIAL_WEALTH}
    week = list(before.get("week", [])) if before else []
    week += [ratio] if ratio is not None and windows >= MIN_WINDOWS else []
    mean = None
    if len(week) >= CANARY_DAYS:
        mean, week = sum(week) / len(week), []
    better = e_process.update_wealth(wealth["better"], None if mean is None else -mean / CANARY_SCALE)
    worse = e_process.update_wealth(wealth["worse"], None if mean is None else (mean - CANARY_MARGIN) / CANARY_SCALE)
    verdict = before["verdict"] if before else "undecided"
    if verdict == "undecided":
        needed = 1 / CANARY_ALPHA
        verdict = (
            "worse"
            if e_process.mean_evidence(worse) >= needed
            else "better"
            if e_process.mean_evidence(better) >= needed
            else verdict
        )
    return {"evidence": {"better": list(better), "worse": list(worse)}, "week": week, "verdict": verdict}


def _test(
    name: str,
    value: float | None,
    limit: float | None,
    margin: float,
    shortfall: float | None,
    day: str,
    before: Mapping[str, Any] | None,
) -> Document:
    grown = e_process.update_evidence(
        before["evidence"] if before else e_process.INITIAL_EVIDENCE, shortfall, THRESHOLD
    )
    total = e_process.mean_evidence(grown)
    alarm = total >= THRESHOLD or bool(before and before["alarm"] and total >= CALM * THRESHOLD)
    short_since = None
    if total > RESTING:
        short_since = (before["short_since"] if before else None) or day
    return {
        "id": name,
        "value": value,
        "reference": limit,
        "tolerated": None if limit is None else limit - margin,
        "shortfall": shortfall,
        "evidence": list(grown),
        "total": total,
        "threshold": THRESHOLD,
        "short_since": short_since,
        "alarm": alarm,
    }
