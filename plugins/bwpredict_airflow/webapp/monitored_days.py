"""The monitor's daily figures of the model in production: charts and a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from bwpredict.core.formatting import count_of, display_name, number
from bwpredict.monitoring.days import test_name
from bwpredict.monitoring.sequential_tests import COVERAGE_MARGIN
from bwpredict.reports.svg_chart import Chart, line_chart
from bwpredict.schema import TARGETS

Document = Mapping[str, Any]

DAYS = 60
"""The newest ones are shown."""
_MOVED = ("moved", "drifted")


@dataclass(frozen=True)
class MonitoredDays:
    """The charts, and a row for each day, newest first."""

    charts: list[Chart]
    rows: list[dict[str, Any]]


def monitored_days(days: Sequence[Document]) -> MonitoredDays:
    """Skill, coverage and drift of documents of kind `monitoring_day`, oldest first."""
    names = [day["day"] for day in days]
    skill = {display_name(target): [_skill(day, target) for day in days] for target in TARGETS}
    held = {display_name(target): [_coverage(day, target) for day in days] for target in TARGETS}
    level = next((day["coverage"]["level"] for day in reversed(days) if day["coverage"]), None)
    tolerated = None if level is None else 100 * (level - COVERAGE_MARGIN)
    moved = [100 * len(_drifted(day)) / max(1, len(day["drift"]["per_feature"])) for day in days]
    draw = partial(line_chart, axis=[day["day"][5:] for day in days])
    charts = (
        draw("Skill over the best simple forecast", names, skill, limits={"no better": 0.0}),
        draw("Within the interval, %", names, held, unit="%", limits={"tolerated": tolerated}),
        draw("Features whose distribution has shifted, %", names, {"Shifted": moved}, unit="%", limits={"": 0.0}),
    )
    return MonitoredDays([chart for chart in charts if chart], [_row(day) for day in reversed(days)])


def _row(day: Document) -> dict[str, Any]:
    alarms = [test for test in day["tests"] if test["alarm"]]
    moved = _drifted(day)
    return {
        "day": day["day"],
        "version": day["production"]["version"],
        "alarms": [f"{test_name(test)} since {test['short_since']}" for test in alarms],
        "links": count_of(day["telemetry"]["links"], "link"),
        "complete": _percent(day["telemetry"]["completeness"]),
        "skill": [number(_skill(day, target), 3) for target in TARGETS],
        "coverage": [_percent(_share(day, target)) for target in TARGETS],
        "drift": ", ".join(map(display_name, moved)) if moved else "none" if day["drift"]["reference_days"] else "n/a",
    }


def _skill(day: Document, target: str) -> float | None:
    figures = day["models"]["production"]["per_target"] or {}
    value: float | None = figures.get(target, {}).get("skill")
    return value


def _share(day: Document, target: str) -> float | None:
    value: float | None = (day["coverage"] or {"per_target": {}})["per_target"].get(target)
    return value


def _coverage(day: Document, target: str) -> float | None:
    share = _share(day, target)
    return None if share is None else 100 * share


def _drifted(day: Document) -> list[str]:
    return [name for name, one in day["drift"]["per_feature"].items() if one["verdict"] in _MOVED]


def _percent(share: float | None) -> str:
    return "n/a" if share is None else f"{100 * share:.1f} %"
