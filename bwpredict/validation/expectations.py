"""The checks of the schema suite: the name, column, severity and wording of each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Literal

from bwpredict import schema
from bwpredict.profiling import batches as derived
from bwpredict.telemetry.description import Description
from bwpredict.validation.messages import unit_of

Severity = Literal["error", "warning"]

SCHEMA_SUITE = "telemetry_schema"
DISTRIBUTION_SUITE = "telemetry_distributions"

CADENCE_TOLERANCE_SECONDS = 5
"""Collectors may start a little late. Beyond this, it is unclear to which minute a sample belongs."""
MIN_BYTES_RATIO, MAX_BYTES_RATIO = 0.8, 1.25
"""Headers and retransmissions put `bytes_tx` some percent above the payload; a wrong unit is out by a factor of 8."""
BYTES_AGREE_SHARE = 0.999
"""Share of the rows that must agree: a minute may end between the two counters' readings."""
MAX_NUMBER = 1e300
"""Stands for "finite" in an expectation, since JSON has no infinity."""

_TYPES: dict[schema.Kind, tuple[str, str]] = {
    "timestamp": ("int64", "whole numbers (int64)"),
    "integer": ("int64", "whole numbers (int64)"),
    "number": ("float64", "numbers (float64)"),
    "category": ("str", "text"),
    "text": ("str", "text"),
}
"""Kind of column: its pandas type as Great Expectations names it, and in words."""
_BETWEEN, _IN_SET = "ExpectColumnValuesToBeBetween", "ExpectColumnValuesToBeInSet"


@dataclass(frozen=True)
class Check:
    """One expectation: `expectation` is a class of `great_expectations.expectations`, `arguments` its own.

    `finding` completes the sentence of a failure, with {observed}, {percent} (of it), {count} and {total} filled in;
    `shows` is the column whose value stands in examples (default: the one that is checked), `unit` stands behind it.
    """

    id: str
    suite: str
    column: str
    severity: Severity
    expectation: str
    arguments: dict[str, Any] = field(repr=False)
    finding: str
    expected: str
    shows: str = ""
    unit: str = ""


def _check(
    column: str,
    name: str,
    expectation: str,
    finding: str,
    expected: str,
    /,
    *,
    shows: str = "",
    unit: str = "",
    **arguments: Any,
) -> Check:
    """A check of the schema suite, on a column or on the whole table (column "")."""
    of_column = {"column": column} if column else {}
    check_id = f"schema.{column}.{name}" if column else f"schema.{name}"
    arguments = of_column | arguments
    return Check(check_id, SCHEMA_SUITE, column, "error", expectation, arguments, finding, expected, shows, unit)


READABLE = _check(
    "",
    "readable",
    "",
    "{count} of {total} days cannot be checked ({observed})",
    "all days of the snapshot, as they were read",
)
"""A check on the snapshot, not on rows: whether each day can be read."""


def schema_checks(start: datetime, end: datetime, description: Description | None = None) -> tuple[Check, ...]:
    """The checks that every row, and every column, must pass; rows are in [start, end).

    Columns that the description calls absent are not checked. Empty cells and jittery clocks of imported telemetry are
    warnings: windows leave them out, and take a step that is off by less than half of the cadence.
    """
    description = description or Description()
    there = [column for column in schema.COLUMNS if column.name not in description.absent]
    checks = [*_table_checks([column.name for column in there])]
    checks += [check for column in there for check in _column_checks(column)]
    checks += [_period_check(start, end)]
    checks += [check for check in _agreement_checks(description) if check.column not in description.absent]
    if description.imported:
        checks = [_tolerant(check) for check in checks if not _is_integer_type(check)]
    return tuple(checks)


def _tolerant(check: Check) -> Check:
    measured = check.column not in (*schema.LINK_KEY, "timestamp", *schema.CALENDAR_FEATURES)
    tolerated = (check.id.endswith(".nulls") and measured) or check.id.endswith(".cadence")
    return replace(check, severity="warning") if tolerated else check


def _is_integer_type(check: Check) -> bool:
    """Whole numbers with empty cells have another type in pandas; the snapshot has cast the column."""
    return check.id.endswith(".type") and schema.COLUMN[check.column].kind == "integer"


def _table_checks(columns: list[str]) -> Iterator[Check]:
    finding, expected = "columns are missing ({observed})", f"all {len(columns)} columns of the telemetry schema"
    match = "ExpectTableColumnsToMatchSet"
    yield _check("", "columns", match, finding, expected, column_set=columns, exact_match=False)
    count = "ExpectTableRowCountToBeBetween"
    yield _check("", "rows", count, "there are {observed} rows", "1 row or more", min_value=1)
    finding = "{count} of {total} rows share their link and timestamp with another row"
    expected, key = "one row for each link and timestamp", [*schema.LINK_KEY, "timestamp"]
    yield _check("", "unique", "ExpectCompoundColumnsToBeUnique", finding, expected, column_list=key)


def _column_checks(column: schema.Column) -> Iterator[Check]:
    name, (type_, words), unit = column.name, _TYPES[column.kind], unit_of(column)
    finding = "the values are of type {observed}"
    yield _check(name, "type", "ExpectColumnValuesToBeOfType", finding, words, type_=type_)
    finding = "{count} of {total} values are missing or NaN"
    yield _check(name, "nulls", "ExpectColumnValuesToNotBeNull", finding, "none")
    if column.kind == "number":
        finding = "{count} of {total} values are infinite"
        yield _check(name, "finite", _BETWEEN, finding, "finite numbers", min_value=-MAX_NUMBER, max_value=MAX_NUMBER)
    least, most = column.minimum, column.maximum
    if least is not None and most is None:
        finding, expected = f"{{count}} of {{total}} values are below {least:g}{unit}", f"{least:g}{unit} or more"
        yield _check(name, "range", _BETWEEN, finding, expected, unit=unit, min_value=least)
    elif least is not None:
        expected = f"{least:g} to {most:g}{unit}"
        finding = f"{{count}} of {{total}} values are outside {expected}"
        yield _check(name, "range", _BETWEEN, finding, expected, unit=unit, min_value=least, max_value=most)
    if column.categories:
        finding, expected = "{count} of {total} values are no known category", f"one of {', '.join(column.categories)}"
        yield _check(name, "categories", _IN_SET, finding, expected, value_set=list(column.categories))


def _period_check(start: datetime, end: datetime) -> Check:
    first, past = (int(moment.astimezone(UTC).timestamp()) for moment in (start, end))
    finding = "{count} of {total} rows are outside the snapshot's period"
    expected = f"from {start:%Y-%m-%dT%H:%MZ} to before {end:%Y-%m-%dT%H:%MZ}"
    return _check("timestamp", "period", _BETWEEN, finding, expected, min_value=first, max_value=past - 1)


def _agreement_checks(description: Description) -> Iterator[Check]:
    cadence = description.cadence_seconds
    tolerance = round(CADENCE_TOLERANCE_SECONDS * max(1, cadence / schema.CADENCE_SECONDS))
    finding = "{count} of {total} steps between samples of a link are off the cadence"
    expected = f"steps of a multiple of {cadence} s, within {tolerance} s"
    off: dict[str, Any] = {"column": derived.SECONDS_OFF_CADENCE, "max_value": tolerance}
    yield _check("timestamp", "cadence", _BETWEEN, finding, expected, unit=" s off", **off)
    finding = "{count} of {total} values disagree with timestamp"
    expected = f"the convention that {description.calendar.sentence}"
    for name, offset in (("time_of_day", derived.TIME_OF_DAY_OFFSET), ("day_of_week", derived.DAY_OF_WEEK_OFFSET)):
        yield _check(name, "calendar", _IN_SET, finding, expected, shows=name, column=offset, value_set=[0])
    if "bytes_tx" not in description.absent:
        finding = "{count} of {total} values do not agree with the rate of bytes_tx"
        expected = (
            f"a rate of bytes_tx of {MIN_BYTES_RATIO} to {MAX_BYTES_RATIO} times throughput_mbps"
            f" in {BYTES_AGREE_SHARE:.1%} of the rows"
        )
        ratio: dict[str, Any] = {
            "column": derived.BYTES_RATIO,
            "min_value": MIN_BYTES_RATIO,
            "max_value": MAX_BYTES_RATIO,
            "mostly": BYTES_AGREE_SHARE,
        }
        yield _check("throughput_mbps", "bytes", _BETWEEN, finding, expected, unit=" times", **ratio)
