"""Check a snapshot's telemetry with the two suites; results as JSON, sentences and Data Docs."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd

from bwpredict.documents import write_document
from bwpredict.profiling.batches import Batch
from bwpredict.profiling.drift import distributions
from bwpredict.profiling.profile import Profile
from bwpredict.telemetry.description import Description
from bwpredict.validation.data_docs import DATA_DOCS_INDEX, finish_data_docs
from bwpredict.validation.expectations import DISTRIBUTION_SUITE, SCHEMA_SUITE, schema_checks
from bwpredict.validation.gx_runner import Outcome, Session
from bwpredict.validation.messages import format_number, format_row
from bwpredict.validation.month_checks import figure_checks, link_checks, link_figures, month_figures
from bwpredict.validation.result import reported
from bwpredict.validation.shards import check_shard, merge_shards, plan_shards, snapshot_period

FIRST_MONTH_NOTE = (
    "There is no profile of a champion's training data, so this is the first month: drift, row count and"
    " link count are not checked."
)
REFERENCE_NOTE = "Drift, row count and link count are compared with the champion's training data."


def validate(
    telemetry: Path, snapshot: dict[str, Any], champion_profile: Profile | None, output: Path
) -> dict[str, Any]:
    """Run both suites and write `output/result.json` (kind `validation`) and `output/data_docs/index.html`.

    Failed expectations are in the returned document, and `passed` is False: they raise nothing. A check
    that could not be evaluated counts as failed, and so does a day that cannot be read. `output` is replaced, whole.

    Args:
        telemetry: folder with `date=YYYY-MM-DD/*.parquet`.
        snapshot: document of kind `snapshot`; its start, end, rows and days are expectations.
        champion_profile: profile of the champion's training data, None in the first month.
        output: folder for the results.

    Raises:
        SnapshotError: the snapshot document lacks start, end or rows.
    """
    snapshot_period(snapshot)
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=f".{output.name}-") as folder:
        shards = [
            check_shard(telemetry, snapshot, days, Path(folder, str(number)))
            for number, days in enumerate(plan_shards(telemetry, snapshot))
        ]
        return aggregate_shards(shards, snapshot, champion_profile, output)[0]


def aggregate_shards(
    shards: Sequence[Path], snapshot: dict[str, Any], champion_profile: Profile | None, output: Path
) -> tuple[dict[str, Any], Profile]:
    """The second half of `validate`, on the files that `check_shard` wrote: the result, and the profile of all days."""
    start, end = snapshot_period(snapshot)
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=f".{output.name}-") as temporary:
        staging, results = Path(temporary) / output.name, Path(temporary) / "results"
        session = Session(results, staging / DATA_DOCS_INDEX.parent)
        found = merge_shards(shards, snapshot, results)
        description = Description.of_snapshot(snapshot)
        session.declare(SCHEMA_SUITE, schema_checks(start, end, description))
        days = max(1, round((end - start).total_seconds() / 86400))
        month = month_figures(found.profile, champion_profile, days, description)
        month |= link_figures(found.levels)
        checks = (
            *figure_checks(found.profile, champion_profile, snapshot["rows"], description),
            *link_checks(found.levels, description),
        )
        whole = Batch(f"{start:%Y-%m-%d} to {end:%Y-%m-%d}", pd.DataFrame([month]))
        outcomes = [*found.outcomes, *session.run(DISTRIBUTION_SUITE, checks, [whole])]
        result = _document(outcomes, found.profile, start, end, first_month=champion_profile is None)
        if champion_profile is not None:
            result["distributions"] = list(distributions(_moved(outcomes), found.profile, champion_profile))
        session.write_data_docs()
        finish_data_docs(staging, result, reported(result))
        write_document(staging / "result.json", "validation", result)
        shutil.rmtree(output, ignore_errors=True)
        staging.replace(output)
    return result, found.profile


def _document(
    outcomes: Sequence[Outcome], profile: Profile, start: datetime, end: datetime, *, first_month: bool
) -> dict[str, Any]:
    counts = _counts(outcomes)
    return {
        "passed": counts["errors"] == 0,
        "first_month": first_month,
        "note": FIRST_MONTH_NOTE if first_month else REFERENCE_NOTE,
        "period": {"start": start.isoformat(), "end": end.isoformat()},
        "rows": profile["rows"],
        "links": profile["links"],
        "counts": counts,
        "suites": [
            {"name": suite, **_counts([outcome for outcome in outcomes if outcome.check.suite == suite])}
            for suite in (SCHEMA_SUITE, DISTRIBUTION_SUITE)
        ],
        "checks": [_check_document(outcome) for outcome in outcomes],
        "data_docs": str(DATA_DOCS_INDEX),
    }


def _moved(outcomes: Sequence[Outcome]) -> list[str]:
    """The columns whose distribution or unit differs from the champion's."""
    failed = {(outcome.check.id.split(".")[1], outcome.check.column) for outcome in outcomes if not outcome.passed}
    return sorted({column for kind, column in failed if kind in ("drift", "unit")})


def _counts(outcomes: Sequence[Outcome]) -> dict[str, int]:
    failed = [outcome.severity for outcome in outcomes if not outcome.passed]
    return {
        "declared": len(outcomes),
        "evaluated": sum(outcome.evaluated for outcome in outcomes),
        "errors": failed.count("error"),
        "warnings": failed.count("warning"),
    }


def _check_document(outcome: Outcome) -> dict[str, Any]:
    check, share = outcome.check, None
    if outcome.unexpected is not None and outcome.total:
        share = outcome.unexpected / outcome.total
    return {
        "id": check.id,
        "suite": check.suite,
        "column": check.column,
        "severity": outcome.severity,
        "evaluated": outcome.evaluated,
        "passed": outcome.passed,
        "sentence": _sentence(outcome),
        "observed": outcome.observed,
        "expected": check.expected,
        "unexpected_count": outcome.unexpected,
        "unexpected_share": share,
        "examples": list(outcome.examples),
    }


def _sentence(outcome: Outcome) -> str:
    check = outcome.check
    name = check.column or "telemetry"
    if not outcome.evaluated:
        return f"{name}: {check.id} could not be checked, since {outcome.reason}; expected {check.expected}."
    if outcome.passed:
        return f"{name}: as expected, {check.expected}."
    observed = outcome.observed
    finding = check.finding.format(
        observed=format_number(observed) if isinstance(observed, int | float) else observed,
        percent=f"{observed:.1%}" if isinstance(observed, int | float) else "",
        count=f"{outcome.unexpected or 0:,}",
        total=f"{outcome.total or 0:,}",
    )
    instance = f" (for instance {format_row(outcome.examples[0], check.unit)})" if outcome.examples else ""
    hint = f"; {outcome.hint}" if outcome.hint else ""
    return f"{name}: {finding}{instance}{hint}; expected {check.expected}."
