"""Run checks as Great Expectations suites, and turn its results into outcomes."""

from __future__ import annotations

import gc
import logging
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from bwpredict import schema
from bwpredict.config import Engine
from bwpredict.core.parts import ascending
from bwpredict.profiling.batches import Batch
from bwpredict.validation import spark
from bwpredict.validation.expectations import Check, Severity
from bwpredict.validation.messages import format_number, format_timestamp

# Set before the import, which logs hundreds of lines at INFO; Airflow's root logger has that level.
os.environ["GX_ANALYTICS_ENABLED"] = "false"
logging.getLogger("great_expectations").setLevel(logging.WARNING)

import great_expectations as gx  # noqa: E402
import great_expectations.expectations as gxe  # noqa: E402
from great_expectations.core.run_identifier import RunIdentifier  # noqa: E402
from great_expectations.data_context.types.base import (  # noqa: E402
    DataContextConfig,
    InMemoryStoreBackendDefaults,
    ProgressBarsConfig,
)

# A validation makes many cyclic objects, and each full collection also walks through what the imports made. Frozen,
# that is left out: collections take 0.01 s instead of 0.2 s a batch.
gc.collect()
gc.freeze()

if TYPE_CHECKING:
    from great_expectations.core.expectation_validation_result import ExpectationValidationResult

EXAMPLES = 5
_SITE = "data_docs"
_TYPE_NAMES = {name: known for known, name in spark.TYPES.items()}


@dataclass(frozen=True)
class Outcome:
    """The result of one check on one batch or, merged, on all of them.

    `observed` is what a check of a whole column or table saw; `unexpected` of `total` rows offend, where
    rows are checked. `reason` says why a check was not evaluated.
    """

    check: Check
    evaluated: bool
    passed: bool
    observed: str | float | None = None
    unexpected: int | None = None
    total: int | None = None
    examples: tuple[dict[str, Any], ...] = ()
    hint: str = ""
    reason: str = ""

    @property
    def severity(self) -> Severity:
        """The severity of the check, or `error` if it could not be evaluated."""
        return self.check.severity if self.evaluated else "error"


class Session:
    """A Great Expectations project whose results are in the folder `results`, where other sessions may add theirs."""

    def __init__(self, results: Path, site: Path | None = None, engine: Engine = "pandas") -> None:
        """Make the project; `write_data_docs` writes to the folder `site`."""
        self._context = gx.get_context(mode="ephemeral", project_config=_project(results, site or results))
        sources, self._engine = self._context.data_sources, engine
        self._source = (sources.add_spark if engine == "spark" else sources.add_pandas)("telemetry")

    def run(
        self, suite: str, checks: Sequence[Check], batches: Iterable[Batch], every: Sequence[Check] = ()
    ) -> list[Outcome]:
        """Evaluate the checks on each batch; one outcome for each check, or each of `every`, over all batches."""
        definition = self.declare(suite, checks)
        outcomes: list[Outcome] = []
        for batch in batches:
            results = _evaluate(definition, batch)
            found = [_outcome(check, results.get(check.id), batch.frame) for check in every or checks]
            outcomes = merge_outcomes(outcomes, found)
            del batch  # Not kept while the next one is made.
        return outcomes or not_evaluated(checks)

    def write_data_docs(self) -> None:
        """Render every suite and result as HTML."""
        self._context.build_data_docs(site_names=[_SITE])

    def declare(self, suite: str, checks: Sequence[Check]) -> Any:
        """Make the suite; returns Great Expectations' definition of its validation."""
        expectations = [_expectation(check, self._engine) for check in checks]
        stored = self._context.suites.add(gx.ExpectationSuite(name=suite, expectations=expectations))
        data = self._source.add_dataframe_asset(suite).add_batch_definition_whole_dataframe(suite)
        definition = gx.ValidationDefinition(name=suite, data=data, suite=stored)
        return self._context.validation_definitions.add(definition)


def not_evaluated(checks: Sequence[Check]) -> list[Outcome]:
    """Outcomes for checks without any data: each one failed."""
    return [Outcome(check, evaluated=False, passed=False, reason="there was nothing to check") for check in checks]


def merge_outcomes(before: Sequence[Outcome], after: Sequence[Outcome]) -> list[Outcome]:
    """Merge the outcomes of the same checks on two consecutive spans; none before: those after. It is associative."""
    if not before:
        return list(after)
    return [_merge(*pair) for pair in zip(before, after, strict=True)]


def _project(results: Path, site: Path) -> DataContextConfig:
    stores = InMemoryStoreBackendDefaults(init_temp_docs_sites=False)
    stores.stores[stores.validation_results_store_name]["store_backend"] = {
        "class_name": "TupleFilesystemStoreBackend",
        "base_directory": str(results),
    }
    docs = {
        "class_name": "SiteBuilder",
        "store_backend": {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(site)},
        "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
    }
    return DataContextConfig(
        store_backend_defaults=stores,
        data_docs_sites={_SITE: docs},
        progress_bars=ProgressBarsConfig(globally=False),
        analytics_enabled=False,
    )


def _expectation(check: Check, engine: Engine) -> Any:
    severity = "critical" if check.severity == "error" else "warning"
    notes = f"Expected: {check.expected}."
    arguments = dict(check.arguments)
    if engine == "spark" and "type_" in arguments:
        arguments["type_"] = spark.TYPES[arguments["type_"]]
    return getattr(gxe, check.expectation)(
        **arguments, severity=severity, notes=notes, meta={"check": check.id, "severity": check.severity}
    )


class _Rows(pd.DataFrame):
    """A DataFrame that spares Great Expectations what is slow on good telemetry.

    A boolean mask copies only if it selects some rows and not others: for every check, Great Expectations selects the
    rows with a value, and then those that offend, from all columns, mostly all rows, and none. Rows in strictly
    ascending order are known to be unique. Text that is kept as categories has the type of text.
    """

    def __getitem__(self, key: Any) -> Any:
        """Select as in a DataFrame; a mask that selects all rows, or none, shares memory with this frame."""
        if isinstance(key, pd.Series) and key.dtype == bool and key.index.equals(self.index):
            selected = int(np.count_nonzero(key.to_numpy()))
            if selected in (0, len(self)):
                return self.iloc[:selected]
        return super().__getitem__(key)

    def duplicated(self, subset: Any = None, keep: Any = "first") -> pd.Series[bool]:
        """As of a DataFrame: whether another row has the same values."""
        rows = self if subset is None else self[list(subset)]
        numeric = all(isinstance(kind, np.dtype) and kind.kind in "iuf" for kind in rows.dtypes)
        if numeric and ascending([rows[name].to_numpy() for name in rows], strictly=True):
            return pd.Series(data=False, index=self.index)
        return super().duplicated(subset, keep)

    @property
    def dtypes(self) -> Any:
        """As of a DataFrame; the type of categories is that of their values."""
        found = super().dtypes
        kinds = [kind.categories.dtype if isinstance(kind, pd.CategoricalDtype) else kind for kind in found]
        return pd.Series(kinds, found.index, dtype=object)

    @property
    def _constructor(self) -> Any:
        return _Rows


def _evaluate(definition: Any, batch: Batch) -> dict[str, ExpectationValidationResult]:
    # Asking Great Expectations for row indices would cost a Python loop over every offending row.
    result_format = {"result_format": "SUMMARY", "partial_unexpected_count": 20, "return_unexpected_index_query": False}
    rows = _Rows(batch.frame) if isinstance(batch.frame, pd.DataFrame) else batch.frame
    run = definition.run(
        batch_parameters={"dataframe": rows}, result_format=result_format, run_id=RunIdentifier(run_name=batch.name)
    )
    if isinstance(rows, pd.DataFrame):
        # Great Expectations keeps the frame in reference cycles, until Python collects them.
        for name in batch.frame:
            del rows[name]
    else:
        rows.unpersist()
    return {result.expectation_config.meta["check"]: result for result in run.results}


def _outcome(check: Check, result: ExpectationValidationResult | None, frame: Any) -> Outcome:
    if result is None or result.exception_info.get("raised_exception") is not False:
        return Outcome(check, evaluated=False, passed=False, reason=_reason(check, frame))
    found = result.result
    unexpected = found.get("unexpected_count")
    failed_rows = _offending_rows(check, frame, found) if not result.success and unexpected else []
    return Outcome(
        check,
        evaluated=True,
        passed=bool(result.success),
        observed=_observed(check, found, frame),
        unexpected=unexpected,
        total=found.get("element_count"),
        examples=tuple(_examples(check, failed_rows)),
        hint=_hint(check, found),
    )


def _merge(a: Outcome, b: Outcome) -> Outcome:
    worse = b if a.passed and not b.passed else a
    rows = None
    if a.check.expectation == "ExpectTableRowCountToBeBetween":
        rows = _sum(*(each.observed if isinstance(each.observed, int) else None for each in (a, b)))
    return Outcome(
        a.check,
        evaluated=a.evaluated and b.evaluated,
        passed=a.passed and b.passed,
        observed=worse.observed if rows is None else rows,
        unexpected=_sum(a.unexpected, b.unexpected),
        total=_sum(a.total, b.total),
        examples=(*a.examples, *b.examples)[:EXAMPLES],
        hint=worse.hint,
        reason=a.reason or b.reason,
    )


def _sum(a: int | None, b: int | None) -> int | None:
    return b if a is None else a if b is None else a + b


def _reason(check: Check, frame: Any) -> str:
    needed = [*check.arguments.get("column_list", ()), check.arguments.get("column", check.column)]
    if any(name and name not in frame.columns for name in needed):
        return "a column it needs is missing or holds no numbers"
    return "the values are of the wrong type"


def _observed(check: Check, found: dict[str, Any], frame: Any) -> str | float | None:
    observed = found.get("observed_value")
    if check.expectation == "ExpectTableColumnsToMatchSet":
        return ", ".join(name for name in check.arguments["column_set"] if name not in frame.columns)
    if check.expectation == "ExpectColumnValuesToBeOfType":
        return "mixed" if observed is None else _TYPE_NAMES.get(observed, observed)
    if isinstance(observed, int | float | np.number):
        return observed.item() if isinstance(observed, np.number) else observed
    return None if observed is None else str(observed)


def _offending_rows(check: Check, frame: Any, found: dict[str, Any]) -> list[dict[str, Any]]:
    """Example rows: those with one of the unexpected values that Great Expectations lists."""
    if not isinstance(frame, pd.DataFrame):
        return spark.offending_rows(check, frame, EXAMPLES)
    offends = _offends(check, frame, found.get("partial_unexpected_list", []))
    rows = frame.loc[offends].head(EXAMPLES).to_dict("records")
    return [{str(name): value for name, value in row.items()} for row in rows]


def _offends(check: Check, frame: pd.DataFrame, values: list[Any]) -> pd.Series[Any]:
    if check.expectation == "ExpectCompoundColumnsToBeUnique":
        return frame.duplicated(check.arguments["column_list"], keep=False)
    column: pd.Series[Any] = frame[check.arguments["column"]]
    if check.expectation == "ExpectColumnValuesToNotBeNull":
        return column.isna()
    return column.isin(values)


def _examples(check: Check, rows: list[dict[str, Any]]) -> Iterable[dict[str, Any]]:
    shown = check.shows or check.arguments.get("column", "")
    for row in rows:
        key, time = {name: _plain(row.get(name)) for name in schema.LINK_KEY}, row.get("timestamp")
        told = format_timestamp(time) if isinstance(time, int | float) and not pd.isna(time) else None
        yield {**key, "timestamp": told, "value": _plain(row.get(shown))}


def _plain(value: Any) -> Any:
    """The value for JSON: infinity as text, null and NaN as None."""
    if value is None or pd.isna(value):
        return None
    if isinstance(value, float) and not np.isfinite(value):
        return str(value)
    return value if isinstance(value, int | float | str) else str(value)


def _hint(check: Check, found: dict[str, Any]) -> str:
    """A hint at the convention of a calendar column that is off by a constant."""
    offsets = found.get("partial_unexpected_list")
    if not check.id.endswith(".calendar") or not offsets or len(set(offsets)) != 1:
        return ""
    offset = offsets[0]
    if check.column == "day_of_week":
        first = ("Sunday", "Saturday", "Friday", "Thursday", "Wednesday", "Tuesday", "Monday")[int(offset)]
        return f"the values look as if 0 = {first}"
    return f"the values look like a clock {format_number(offset)} h ahead"
