"""Run the schema suite with Great Expectations' Spark engine, on a cluster or in this process (local mode).

Where Spark runs, and with how much memory, is Spark's own configuration (`spark-defaults.conf`, `SPARK_CONF_DIR`). It
reads the days' files itself, so its workers need to see the folder with the telemetry.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from bwpredict import schema
from bwpredict.errors import ConfigError
from bwpredict.profiling import batches as derived
from bwpredict.profiling.batches import Batch
from bwpredict.telemetry.description import Description
from bwpredict.validation.expectations import Check

TYPES = {"int64": "LongType", "float64": "DoubleType", "str": "StringType"}
"""Types of the suite, and what Great Expectations calls them on Spark."""
_NUMERIC = ("bigint", "int", "smallint", "tinyint", "double", "float")
_ORDER = ["date", *schema.LINK_KEY, "timestamp"]
"""The order of the rows of a snapshot."""


def spark_batches(telemetry: Path, days: Sequence[str], description: Description) -> Iterator[Batch]:
    """The days with the derived columns as Spark DataFrames: one, or one for each run of days alike in columns.

    Raises:
        ConfigError: PySpark is not installed, or it finds no Java.
    """
    spark = _session()
    for _, alike in groupby(days, lambda day: _columns_of(telemetry / f"date={day}")):
        group = list(alike)
        name = group[0] if len(group) == 1 else f"{group[0]} to {group[-1]}"
        paths = [str(telemetry / f"date={day}") for day in group]
        rows = spark.read.option("basePath", str(telemetry)).parquet(*paths)
        yield Batch(name, _with_derived_columns(_without_nan(rows), description))


def checkable(check: Check, frame: Any) -> bool:
    """Whether the columns that the check needs are there, and hold numbers where it compares numbers.

    Great Expectations sends all figures in one query, which fails as a whole.
    """
    kinds = dict(frame.dtypes)
    needed = [*check.arguments.get("column_list", ()), check.arguments.get("column")]
    there = all(name in kinds for name in needed if name)
    compared = check.expectation == "ExpectColumnValuesToBeBetween"
    return there and (not compared or kinds[check.arguments["column"]] in _NUMERIC)


def offending_rows(check: Check, frame: Any, most: int) -> list[dict[str, Any]]:
    """The first rows, in the order of day, link and time, that fail the check."""
    from pyspark.sql import Window
    from pyspark.sql import functions as F  # noqa: N812 - Spark's own name for it

    if check.expectation == "ExpectCompoundColumnsToBeUnique":
        same = Window.partitionBy(*check.arguments["column_list"])
        rows = frame.withColumn("_same", F.count(F.lit(1)).over(same)).where("_same > 1").drop("_same")
    else:
        rows = frame.where(_violation(check, F.col(check.arguments["column"]), F))
    order = [name for name in _ORDER if name in frame.columns]
    return [row.asDict() for row in rows.orderBy(*order).limit(most).collect()]


def _violation(check: Check, column: Any, functions: Any) -> Any:
    arguments = check.arguments
    if check.expectation == "ExpectColumnValuesToNotBeNull":
        return column.isNull()
    if "value_set" in arguments:
        return ~column.isin(arguments["value_set"])
    low, high = arguments.get("min_value"), arguments.get("max_value")
    nothing = functions.lit(False)  # noqa: FBT003 - PySpark names its argument `col`
    return (nothing if low is None else column < low) | (nothing if high is None else column > high)


def _session() -> Any:
    try:
        from pyspark.errors import PySparkRuntimeError
        from pyspark.sql import SparkSession
    except ImportError as error:
        raise ConfigError("validation_engine: 'spark' needs PySpark; install bwpredict[spark] and Java 17.") from error
    builder = SparkSession.builder.appName("bwpredict validation")
    try:
        spark = builder.config("spark.ui.showConsoleProgress", "false").getOrCreate()
    except PySparkRuntimeError as error:
        raise ConfigError(f"validation_engine: Spark does not start ({error}); it needs Java 17 or 21.") from error
    # As in pandas: hours of the calendar count in UTC, and a value that cannot be cast is missing instead of an error.
    spark.conf.set("spark.sql.session.timeZone", "UTC")
    spark.conf.set("spark.sql.ansi.enabled", "false")
    return spark


def _columns_of(folder: Path) -> list[list[tuple[str, str]]]:
    """Names and types of the columns of each file of a day."""
    return [
        [(field.name, str(field.type)) for field in pq.read_schema(path)] for path in sorted(folder.glob("*.parquet"))
    ]


def _without_nan(rows: Any) -> Any:
    """The rows with NaN as missing, as pandas has it."""
    from pyspark.sql import functions as F  # noqa: N812

    floats = [name for name, kind in rows.dtypes if kind in ("double", "float")]
    return rows.withColumns({name: F.when(~F.isnan(name), F.col(name)) for name in floats})


def _with_derived_columns(rows: Any, description: Description) -> Any:
    """As `profiling.batches` derives them, where the sources are there as numbers."""
    numeric = {name for name, kind in rows.dtypes if kind in _NUMERIC}
    cadence = description.cadence_seconds
    step = "timestamp - lag(timestamp) OVER (PARTITION BY date, node_id, peer_id ORDER BY timestamp NULLS LAST)"
    local = f"from_utc_timestamp(timestamp_seconds(timestamp), {_zone(description.calendar)})"
    sent, carried = (
        f"bytes_tx * 8D / {cadence} / 1e6D + {derived.IDLE_MBPS}D",
        f"throughput_mbps + {derived.IDLE_MBPS}D",
    )
    expressions = {
        derived.SECONDS_OFF_CADENCE: f"CASE WHEN node_id IS NULL OR peer_id IS NULL THEN 0D WHEN timestamp IS NULL"
        f" THEN NULL WHEN coalesce({step}, 0) = 0 THEN 0D"
        f" ELSE abs({step} - greatest(1D, rint(({step}) / {cadence})) * {cadence}) END",
        derived.TIME_OF_DAY_OFFSET: f"pmod(time_of_day - hour({local}), 24)",
        derived.DAY_OF_WEEK_OFFSET: f"pmod(day_of_week - (dayofweek({local}) - 1), 7)",
        derived.BYTES_RATIO: f"CASE WHEN {carried} = 0 THEN double('Infinity') ELSE ({sent}) / ({carried}) END",
    }
    there = [
        f"{expressions[name]} AS {name}" for name, (needed, _) in derived.DERIVED.items() if numeric >= set(needed)
    ]
    return rows.selectExpr("*", *there)


def _zone(calendar: schema.Calendar) -> str:
    """The time zone of a row's link, in SQL."""
    cases = "".join(
        f" WHEN node_id = {node} AND peer_id = {peer} THEN '{zone}'"
        for (node, peer), zone in calendar.link_zones.items()
    )
    return f"CASE{cases} ELSE '{calendar.time_zone}' END" if cases else f"'{calendar.time_zone}'"
