"""The health of the model in production and what to do, from its record, the runs and the monitored days."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Literal

from bwpredict.core.formatting import count_of
from bwpredict.monitoring.days import test_name
from bwpredict.pipeline.run_history import RunSummary
from bwpredict.registry.pointer import Production

OLD_MONTHS = 2
"""Complete later months after which production counts as old."""
SILENT_DAYS = 3
"""Days without a new document after which the monitor counts as silent."""
_REFUSED = {"reject": "was rejected", "telemetry": "failed validation of its telemetry"}


@dataclass(frozen=True)
class Finding:
    """One thing that a person should know; `run_id` names the run that it concerns, if any."""

    kind: Literal["bad", "warn", "info", "good"]
    sentence: str
    to_do: str = ""
    run_id: str = ""


def production_health(
    production: Production, runs: Sequence[RunSummary], days: Sequence[Mapping[str, Any]], *, now: datetime
) -> list[Finding]:
    """Problems, most serious first; a finding that production is healthy where there are none.

    Args:
        runs: the latest ones, newest first.
        days: documents of kind `monitoring_day`, oldest first.
    """
    own = [day for day in days if day["production"]["version"] == production.version]
    found = [*_alarms(own), *_refusals(production, runs), *_age(production, now), *_silence(production, own, now)]
    order = ("bad", "warn", "info")
    found.sort(key=lambda finding: order.index(finding.kind))
    if any(finding.kind != "info" for finding in found):
        return found
    watched = f", no alarms up to {own[-1]['day']}" if own else ""
    return [Finding("good", f"Production is healthy: trained on {production.month}{watched}."), *found]


def _alarms(days: Sequence[Mapping[str, Any]]) -> Iterator[Finding]:
    if not days or not days[-1]["alarm"]:
        return
    alarms = [test for test in days[-1]["tests"] if test["alarm"]]
    since = min(test["short_since"] or days[-1]["day"] for test in alarms)
    what = ", ".join(map(test_name, alarms))
    yield Finding(
        "bad",
        f"Production has been less accurate than when it was published since {since}: {what}.",
        "Check the daily figures below. Retrain if the network has changed; roll back if only the model is at fault.",
    )


def _refusals(production: Production, runs: Sequence[RunSummary]) -> Iterator[Finding]:
    """The latest run of each later month, where it was refused."""
    latest: dict[str, RunSummary] = {}
    for run in runs:
        if run.month > production.month and run.verdict != "unfinished":
            latest.setdefault(run.month, run)
    refused = [run for _, run in sorted(latest.items()) if run.verdict in _REFUSED]
    if not refused:
        return
    told = "; ".join(f"{run.month} {_REFUSED[run.verdict]}" for run in refused)
    yield Finding(
        "bad" if len(refused) >= OLD_MONTHS else "warn",
        f"Newer months did not reach production: {told}.",
        "Open the latest run, fix the cause that it shows, and retrain that month.",
        refused[-1].run_id,
    )


def _age(production: Production, now: datetime) -> Iterator[Finding]:
    year, month = map(int, production.month.split("-"))
    later = max(0, now.year * 12 + now.month - (year * 12 + month) - 1)
    if later >= OLD_MONTHS:
        yield Finding(
            "warn",
            f"Production is trained on {production.month}; {count_of(later, 'later month')} are over.",
            "Retrain the last complete month.",
        )


def _silence(production: Production, days: Sequence[Mapping[str, Any]], now: datetime) -> Iterator[Finding]:
    to_do = "Unpause the DAG bandwidth_predictor_monitor, or find out why its runs fail."
    served = (now - datetime.fromisoformat(production.promoted_at)).days
    if not days:
        kind: Literal["warn", "info"] = "warn" if served > SILENT_DAYS else "info"
        yield Finding(kind, "The monitor has not scored a day of this version yet.", to_do)
        return
    silent = (now.astimezone(UTC).date() - date.fromisoformat(days[-1]["day"])).days - 1
    if silent >= SILENT_DAYS:
        yield Finding("warn", f"The monitor has not scored a day since {days[-1]['day']}.", to_do)
