"""The checks of the schema suite: the name, column, severity and wording of each."""

from __future__ import annotations

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


READABLE = Check(
    "schema.readable",
    SCHEMA_SUITE,
    "",
    "error",
    "",
    {},
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
    of_columns = [check for column in there for check in _column_checks(column)]
    if description.imported:
        of_columns = [_tolerant(check) for check in of_columns if not _is_integer_type(check)]
    agreement = [
        check
        for check in _agreement_checks(description)
        if check.column not in description.absent
        and not (check.id == _BYTES_AGREE and "bytes_tx" in description.absent)
    ]
    if description.imported:
        agreement = [_tolerant(check) for check in agreement]
    return (*_table_checks(len(there), description), *of_columns, _period_check(start, end), *agreement)


_BYTES_AGREE = "schema.throughput_mbps.bytes"


def _tolerant(check: Check) -> Check:
    measured = check.column not in (*schema.LINK_KEY, "timestamp", "time_of_day", "day_of_week")
    tolerated = (check.id.endswith(".nulls") and measured) or check.id.endswith(".cadence")
    return replace(check, severity="warning") if tolerated else check


def _is_integer_type(check: Check) -> bool:
    """Whole numbers with empty cells have another type in pandas; the snapshot has cast the column."""
    return check.id.endswith(".type") and schema.COLUMN[check.column].kind == "integer"


def _table_checks(columns: int, description: Description) -> tuple[Check, ...]:
    key = [*schema.LINK_KEY, "timestamp"]
    return (
        _schema_check(
            "columns",
            "",
            "ExpectTableColumnsToMatchSet",
            {
                "column_set": [name for name in schema.COLUMN_NAMES if name not in description.absent],
                "exact_match": False,
            },
            "columns are missing ({observed})",
            f"all {columns} columns of the telemetry schema",
        ),
        _schema_check(
            "rows",
            "",
            "ExpectTableRowCountToBeBetween",
            {"min_value": 1},
            "there are {observed} rows",
            "1 row or more",
        ),
        _schema_check(
            "unique",
            "",
            "ExpectCompoundColumnsToBeUnique",
            {"column_list": key},
            "{count} of {total} rows share their link and timestamp with another row",
            "one row for each link and timestamp",
        ),
    )


def _column_checks(column: schema.Column) -> list[Check]:
    type_, words = _TYPES[column.kind]
    of_type = "ExpectColumnValuesToBeOfType"
    checks = [
        _of(column, "type", of_type, {"type_": type_}, "the values are of type {observed}", words),
        _of(
            column, "nulls", "ExpectColumnValuesToNotBeNull", {}, "{count} of {total} values are missing or NaN", "none"
        ),
    ]
    if column.kind == "number":
        bounds = {"min_value": -MAX_NUMBER, "max_value": MAX_NUMBER}
        finding = "{count} of {total} values are infinite"
        checks.append(_of(column, "finite", "ExpectColumnValuesToBeBetween", bounds, finding, "finite numbers"))
    if column.minimum is not None:
        checks.append(_range_check(column))
    if column.categories:
        values, names = list(column.categories), ", ".join(column.categories)
        finding = "{count} of {total} values are no known category"
        checks.append(
            _of(column, "categories", "ExpectColumnValuesToBeInSet", {"value_set": values}, finding, f"one of {names}")
        )
    return checks


def _range_check(column: schema.Column) -> Check:
    unit = unit_of(column)
    bounds = {"min_value": column.minimum}
    finding, expected = f"are below {column.minimum:g}{unit}", f"{column.minimum:g}{unit} or more"
    if column.maximum is not None:
        bounds["max_value"] = column.maximum
        finding, expected = (f"{words} {column.minimum:g} to {column.maximum:g}{unit}" for words in ("are outside", ""))
    finding = f"{{count}} of {{total}} values {finding}"
    return _of(column, "range", "ExpectColumnValuesToBeBetween", bounds, finding, expected.strip(), unit=unit)


def _period_check(start: datetime, end: datetime) -> Check:
    first, past = (int(moment.astimezone(UTC).timestamp()) for moment in (start, end))
    return _of(
        schema.COLUMN["timestamp"],
        "period",
        "ExpectColumnValuesToBeBetween",
        {"min_value": first, "max_value": past - 1},
        "{count} of {total} rows are outside the snapshot's period",
        f"from {start:%Y-%m-%dT%H:%MZ} to before {end:%Y-%m-%dT%H:%MZ}",
    )


def _agreement_checks(description: Description) -> tuple[Check, ...]:
    cadence = description.cadence_seconds
    tolerance = round(CADENCE_TOLERANCE_SECONDS * max(1, cadence / schema.CADENCE_SECONDS))
    convention = description.calendar.sentence
    return (
        _of(
            schema.COLUMN["timestamp"],
            "cadence",
            "ExpectColumnValuesToBeBetween",
            {"column": derived.SECONDS_OFF_CADENCE, "max_value": tolerance},
            "{count} of {total} steps between samples of a link are off the cadence",
            f"steps of a multiple of {cadence} s, within {tolerance} s",
            unit=" s off",
        ),
        *(
            _of(
                schema.COLUMN[name],
                "calendar",
                "ExpectColumnValuesToBeInSet",
                {"column": offset, "value_set": [0]},
                "{count} of {total} values disagree with timestamp",
                f"the convention that {convention}",
                shows=name,
            )
            for name, offset in (
                ("time_of_day", derived.TIME_OF_DAY_OFFSET),
                ("day_of_week", derived.DAY_OF_WEEK_OFFSET),
            )
        ),
        _of(
            schema.COLUMN["throughput_mbps"],
            "bytes",
            "ExpectColumnValuesToBeBetween",
            {
                "column": derived.BYTES_RATIO,
                "min_value": MIN_BYTES_RATIO,
                "max_value": MAX_BYTES_RATIO,
                "mostly": BYTES_AGREE_SHARE,
            },
            "{count} of {total} values do not agree with the rate of bytes_tx",
            f"a rate of bytes_tx of {MIN_BYTES_RATIO} to {MAX_BYTES_RATIO} times throughput_mbps"
            f" in {BYTES_AGREE_SHARE:.1%} of the rows",
            unit=" times",
        ),
    )


def _of(
    column: schema.Column,
    name: str,
    expectation: str,
    arguments: dict[str, Any],
    finding: str,
    expected: str,
    **rest: str,
) -> Check:
    arguments = {"column": column.name, **arguments}
    return _schema_check(f"{column.name}.{name}", column.name, expectation, arguments, finding, expected, **rest)


def _schema_check(
    id: str,  # noqa: A002 - the field's name
    column: str,
    expectation: str,
    arguments: dict[str, Any],
    finding: str,
    expected: str,
    **rest: str,
) -> Check:
    return Check(f"schema.{id}", SCHEMA_SUITE, column, "error", expectation, arguments, finding, expected, **rest)
